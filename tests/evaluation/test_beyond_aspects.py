"""Beyond accuracy: what holds for all lists, and what is left out where it cannot be had."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from suites.beyond_suite import EVERYBODY, K, full_aspects, genres, learnt, texts
from suites.evaluation_suite import N, Scored, random_task, rows_of, tied_scores

from recsys.content.encoder import ContentBlock
from recsys.data.tasks import Task
from recsys.evaluation import beyond_accuracy
from recsys.evaluation.aspects import Aspects, measure_beyond
from recsys.evaluation.beyond_accuracy import (
    diversity,
    gini,
    novelty,
)
from recsys.evaluation.evaluate import Evaluation, evaluate_ranker


@pytest.fixture(scope="module")
def task() -> Task:
    return random_task()


@pytest.fixture(scope="module")
def found(task: Task) -> Evaluation:
    return evaluate_ranker(tied_scores(), task, ks=(K, 12), aspects=full_aspects())


# properties


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 50))
@settings(deadline=None, max_examples=25)
def test_ranges_and_permutations_of_users(seed: int, k: int) -> None:
    """Also with empty places, k beyond the catalogue, and users whose lists are empty."""
    task, random = random_task(), np.random.default_rng(seed)
    users = task.users
    lists = np.stack([random.permutation(np.arange(11, N)) for _ in users]).astype(np.int32)
    lists = np.pad(lists, ((0, 0), (0, 50 - lists.shape[1])), constant_values=-1)
    lists[np.arange(50) >= random.integers(0, 35, size=(len(users), 1))] = -1
    measured = measure_beyond(lists, task, full_aspects(), (k,))
    n_users = full_aspects().n_users
    most = {"novelty": math.log2(n_users), "calibration_kl": math.log(100), "diversity": 2.0}
    for name, values in measured.per_user.items():
        said = values[~np.isnan(values)]
        assert ((said >= 0) & (said <= most.get(name.partition("@")[0], 1.0) + 1e-12)).all(), name
        empty = lists[:, 0] < 0
        assert np.isnan(values[empty]).all() or name.startswith("serendipity")
    assert all(np.isfinite(value) for value in measured.means.values())
    order = random.permutation(N)  # of the user numbers
    moved = measure_beyond(
        lists[np.argsort(order[users])], renumbered(task, order), full_aspects(), (k,)
    )
    for name, value in measured.means.items():
        assert moved.means[name] == pytest.approx(value, abs=1e-12)


def renumbered(task: Task, order: NDArray[np.int64]) -> Task:
    """The same task with user n called ``order[n]``."""
    history, truth = (
        rows_of(list(zip(order[one.users].tolist(), one.items.tolist(), strict=True)))
        for one in (task.history, task.truth)
    )
    return Task(history, truth, task.candidates, task.dropped)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_order_within_the_list_does_not_matter_but_membership_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(N)[:8] for _ in range(5)])
    shuffled = random.permuted(lists, axis=1)
    block, counts = texts(), random.integers(0, 20, N)
    for one, other in (
        (novelty(lists, counts, 20, 8), novelty(shuffled, counts, 20, 8)),
        (
            diversity(lists, block.vectors, block.present, 8),
            diversity(shuffled, block.vectors, block.present, 8),
        ),
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert gini(lists, EVERYBODY, 8) == gini(shuffled, EVERYBODY, 8)
    rarer = counts.copy()
    rarer[lists[0, 0]] = 0
    assert (novelty(lists, rarer, 20, 8) >= novelty(lists, counts, 20, 8)).all()


def test_blocks_of_users_do_not_show(
    found: Evaluation, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beyond_accuracy, "BLOCK", 200)
    monkeypatch.setattr("recsys.evaluation.aspects.BLOCK", 20)
    again = measure_beyond(found.ranked.items, task, full_aspects(), (K, 12))
    assert again.means == {name: found.means[name] for name in again.means}


def test_the_popularity_list_is_worth_no_serendipity_and_the_least_novelty(task: Task) -> None:
    counts = learnt().item_counts().astype(np.float32)
    aspects = full_aspects()
    popular = evaluate_ranker(Scored(np.tile(counts, (N, 1))), task, ks=(K,), aspects=aspects)
    assert popular.means[f"serendipity@{K}"] == 0.0
    assert popular.means[f"hr@{K}"] > 0
    other = evaluate_ranker(tied_scores(), task, ks=(K,), aspects=aspects)
    least, more = popular.beyond[f"novelty@{K}"], other.beyond[f"novelty@{K}"]
    assert (least <= more + 1e-12).all()
    assert popular.means[f"arp_lift@{K}"] > other.means[f"arp_lift@{K}"]
    assert popular.means[f"gini@{K}"] > other.means[f"gini@{K}"]


# what is measured


def test_what_lacks_its_data_is_left_out(task: Task) -> None:
    lists = evaluate_ranker(tied_scores(), task, ks=(K,)).ranked.items
    plain = measure_beyond(lists, task, Aspects.of(learnt()), (K,)).means
    assert {name.partition("@")[0] for name in plain} == {
        *("novelty", "arp", "arp_lift", "gini", "serendipity", "new_items", "new_items_truth")
    }
    bare = ContentBlock("none", np.zeros((N, 3), np.float32), np.zeros(N, np.bool_))
    empty = Aspects.of(learnt(), blocks=(bare,), categories=bare)
    assert set(measure_beyond(lists, task, empty, (K,)).means) == set(plain)
    with_genres = Aspects.of(learnt(), categories=genres(), measured=("diversity", "calibration"))
    only = measure_beyond(lists, task, with_genres, (K,)).means
    assert set(only) == {f"diversity@{K}", f"calibration_kl@{K}"}


def test_no_share_of_new_items_where_there_are_none() -> None:
    task = Task.of(rows_of([(9, 20), (8, 30)]), rows_of([(9, 30)]), np.isin(np.arange(N), [20, 30]))
    lists = np.array([[30, -1]], dtype=np.int32)
    aspects = Aspects.of(task.history, measured=("new_items",))
    assert measure_beyond(lists, task, aspects, (2,)).means == {}


def test_users_without_history_have_no_calibration_nor_lift() -> None:
    task = Task.of(rows_of([(8, 30)]), rows_of([(9, 31)]), EVERYBODY, new_users=True)
    lists = np.array([[31, 32]], dtype=np.int32)
    aspects = Aspects.of(task.history, categories=genres())
    means = measure_beyond(lists, task, aspects, (2,)).means
    assert "novelty@2" in means
    assert "arp_lift@2" not in means
    assert "calibration_kl@2" not in means


def test_a_repeated_row_makes_an_item_no_more_popular() -> None:
    aspects = Aspects.of(rows_of([(4, 20), (4, 20), (5, 20), (5, 21)]))
    assert aspects.counts[[20, 21]].tolist() == [2, 1]
    assert aspects.n_users == 2
