"""Beyond accuracy: by hand, and against plain loops and scipy."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial.distance import pdist
from scipy.special import rel_entr
from suites.beyond_suite import K, full_aspects, genres, learnt, texts
from suites.evaluation_suite import N, Scored, random_task, tied_scores

from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.beyond_accuracy import (
    category_mix,
    divergence,
    diversity,
    gini,
    mean_over_places,
    novelty,
    popularity_lift,
    popularity_places,
    serendipity,
)
from recsys.evaluation.evaluate import Evaluation, evaluate_ranker
from recsys.evaluation.metrics import judge
from recsys.recommenders.popularity import fit_popularity


@pytest.fixture(scope="module")
def task() -> Task:
    return random_task()


@pytest.fixture(scope="module")
def found(task: Task) -> Evaluation:
    return evaluate_ranker(tied_scores(), task, ks=(K, 12), aspects=full_aspects())


# by hand


def test_novelty_by_hand() -> None:
    """Taken by 4 of 8 users: 1 bit; by one: 3 bits; by nobody: as if by one."""
    lists = np.array([[0, 1, 2], [0, -1, -1], [-1, -1, -1]])
    values = novelty(lists, np.array([4, 1, 0]), 8, 3)
    np.testing.assert_allclose(values, [7 / 3, 1.0, np.nan])
    assert novelty(lists, np.array([4, 1, 0]), 8, 1).tolist()[:2] == [1.0, 1.0]


def test_mean_over_places_by_hand() -> None:
    lists = np.array([[0, 1], [1, -1], [-1, -1]])
    np.testing.assert_allclose(mean_over_places(lists, np.array([0.2, 0.6]), 2), [0.4, 0.6, np.nan])


@pytest.mark.parametrize(
    ("lists", "value"),
    [
        ([[0], [1], [2], [3]], 0.0),  # each item once
        ([[2], [2], [2], [2]], 1.0),  # all to one
        ([[0, 1], [1, 0]], 2 / 3),  # (-3 0 - 1 0 + 1 2 + 3 2) / (3 4)
        ([[-1, -1]], math.nan),
    ],
)
def test_gini_by_hand(lists: list[list[int]], value: float) -> None:
    candidates = np.arange(6) < 4
    assert gini(np.array(lists), candidates, 2) == pytest.approx(value, nan_ok=True)
    assert gini(np.array([[0], [0]]), np.arange(6) < 1, 1) == 0.0


def test_diversity_by_hand() -> None:
    """Two equal vectors and one at a right angle: distances 0, 1, 1. Lengths do not matter."""
    vectors = np.array([[1, 0], [5, 0], [0, 2], [0, 0], [-1, 0]], dtype=np.float32)
    present = np.array([True, True, True, False, True])
    lists = np.array([[0, 1, 2], [0, 1, 3], [0, 3, -1], [0, 4, -1], [-1, -1, -1]])
    values = diversity(lists, vectors, present, 3)
    np.testing.assert_allclose(values, [2 / 3, 0.0, np.nan, 2.0, np.nan], atol=1e-15)


def test_serendipity_by_hand() -> None:
    """Popular are 5, 4, 3, 2; the user has 4: the popularity list is 5, 3."""
    histories, counts = Ragged.of([[4, 4]]), np.array([0, 0, 1, 2, 3, 3, 0])
    lists = np.array([[3, 2, 5, -1]])
    counts[5] = 4
    candidates = np.arange(7) != 0
    places = popularity_places(lists, histories, counts, candidates)
    assert places.tolist() == [[1, 2, 0, -1]]
    judged = judge(lists, Ragged.of([[2, 3]]))
    assert serendipity(judged, places, 2).tolist() == [1 / 2]  # 2 is a hit, and not expected
    assert serendipity(judged, places, 3).tolist() == [0.0]  # among three 2 is expected, too
    assert serendipity(judged, places, 1).tolist() == [1.0]  # 3 is second in popularity


def test_lift_by_hand() -> None:
    """Users without a list or a history count on neither side."""
    lists = np.array([0.6, 0.2, np.nan, 0.9])
    own = np.array([0.3, 0.1, 0.5, np.nan])
    assert popularity_lift(lists, own) == pytest.approx(1.0)
    assert popularity_lift(own, own) == 0.0
    assert np.isnan(popularity_lift(lists, np.zeros(4)))
    assert np.isnan(popularity_lift(lists[:0], own[:0]))


def test_calibration_by_hand() -> None:
    """Half drama, half comedy against nothing but drama, and against the same."""
    own = np.array([[0.5, 0.5]] * 3 + [[np.nan, np.nan]])
    shown = np.array([[1.0, 0.0], [0.5, 0.5], [np.nan, np.nan], [1.0, 0.0]])
    worst = 0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    np.testing.assert_allclose(divergence(own, shown), [worst, 0.0, np.nan, np.nan], atol=1e-15)
    apart = divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert apart[0] == pytest.approx(math.log(100))  # the most it can be


def test_an_item_shares_its_weight_among_its_categories() -> None:
    carries = sparse.csr_matrix(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]))
    mix = category_mix(Ragged.of([[0, 1], [1, 2], [2], []]), carries)
    np.testing.assert_allclose(mix, [[0.75, 0.25], [0.5, 0.5], [np.nan] * 2, [np.nan] * 2])


# plain loops and scipy


def rows(ranked: NDArray[np.int32]) -> list[list[int]]:
    return [[item for item in row if item >= 0] for row in ranked[:, :K].tolist()]


def test_popularity_measures_equal_loops(found: Evaluation, task: Task) -> None:
    known = learnt()
    takers = {i: len(set(known.users[known.items == i].tolist())) for i in range(N)}
    n_users = len(set(known.users.tolist()))
    lists = rows(found.ranked.items)
    bits = [np.mean([math.log2(n_users / max(takers[i], 1)) for i in row]) for row in lists]
    np.testing.assert_allclose(found.beyond[f"novelty@{K}"], bits, atol=1e-12)
    arp = [np.mean([takers[i] / n_users for i in row]) for row in lists]
    np.testing.assert_allclose(found.beyond[f"arp@{K}"], arp, atol=1e-12)
    own = [
        np.mean([takers[i] / n_users for i in task.history.items[task.history.users == user]])
        for user in task.users
    ]
    assert found.means[f"arp_lift@{K}"] == pytest.approx(np.mean(arp) / np.mean(own) - 1, abs=1e-12)
    new = [np.mean([takers[i] == 0 for i in row]) for row in lists]
    np.testing.assert_allclose(found.beyond[f"new_items@{K}"], new, atol=1e-12)
    truth = [
        np.mean([takers[i] == 0 for i in task.truth.items[task.truth.users == user]])
        for user in task.users
    ]
    assert 0 < np.mean(truth) < 1
    assert found.means["new_items_truth"] == pytest.approx(np.mean(truth), abs=1e-12)


def test_gini_equals_the_mean_difference(found: Evaluation, task: Task) -> None:
    """Half the mean absolute difference over the mean, with n - 1 in place of n."""
    shown = Counter(item for row in rows(found.ranked.items) for item in row)
    x = np.array([shown[i] for i in np.flatnonzero(task.candidates).tolist()], dtype=float)
    differences = np.abs(x[:, None] - x).sum() / (len(x) * (len(x) - 1))
    assert found.means[f"gini@{K}"] == pytest.approx(differences / (2 * x.mean()), abs=1e-12)


def test_diversity_equals_scipy(found: Evaluation) -> None:
    values = []
    for row in rows(found.ranked.items):
        of_blocks = []
        for block in (texts(), genres()):
            there = [item for item in row if block.present[item]]
            if len(there) > 1:
                distances = pdist(block.vectors[there].astype(float), "cosine")
                assert len(distances) == len(list(combinations(there, 2)))
                of_blocks.append(distances.mean())
        values.append(np.mean(of_blocks))
    np.testing.assert_allclose(found.beyond[f"diversity@{K}"], values, atol=1e-6)


def test_serendipity_equals_the_popularity_baseline(found: Evaluation, task: Task) -> None:
    """The list that would have been expected is the one that the baseline gives."""
    popular = evaluate_ranker(
        Scored(np.tile(learnt().item_counts().astype(np.float32), (N, 1))), task, ks=(K,)
    )
    assert fit_popularity(learnt()).counts.tolist() == learnt().item_counts().tolist()
    values = []
    for row, user in enumerate(task.users):
        truth = set(task.truth.items[task.truth.users == user].tolist())
        mine, expected = (set(one.ranked.items[row, :K].tolist()) for one in (found, popular))
        values.append(len((mine - expected) & truth) / K)
    assert sum(values) > 0
    np.testing.assert_allclose(found.beyond[f"serendipity@{K}"], values, atol=1e-12)


def test_calibration_equals_scipy(found: Evaluation, task: Task) -> None:
    carried = genres().vectors > 0

    def mix(items: list[int]) -> NDArray[np.float64]:
        shares = [carried[i] / carried[i].sum() for i in items if carried[i].any()]
        return np.asarray(np.mean(shares, axis=0), dtype=np.float64)

    values = []
    for row, user in zip(rows(found.ranked.items), task.users, strict=True):
        history = task.history.items[task.history.users == user].tolist()
        if not carried[history].any() or not carried[row].any():
            values.append(np.nan)
            continue
        p, q = mix(history), mix(row)
        values.append(rel_entr(p, 0.99 * q + 0.01 * p).sum())
    np.testing.assert_allclose(found.beyond[f"calibration_kl@{K}"], values, atol=1e-12)
