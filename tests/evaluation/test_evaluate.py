"""Evaluation: against plain loops, whatever the batch size; and what it refuses to measure."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from suites.evaluation_suite import LOOP_CHECKS, TRUE, Broken, Scored, System
from suites.evaluation_suite import rows_of as any_rows

from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.protocols import cold_items, leave_last_out, user_time
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import DataError
from recsys.evaluation.aspects import Aspects
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.metrics import METRICS

N_USERS, N_ITEMS = 30, 50

rows_of = partial(any_rows, n_users=N_USERS, n_items=N_ITEMS)


@pytest.fixture(scope="module")
def task() -> Task:
    """Users 4..29 of 30 with histories and truth, items 8..49 of 50, a few no candidates."""
    generator = np.random.default_rng(2)
    history, truth = [], []
    for user in range(4, N_USERS):
        drawn = generator.choice(np.arange(8, N_ITEMS), 16, replace=False).tolist()
        cut = int(generator.integers(1, 15))
        history += [(user, item) for item in drawn[:cut]]
        truth += [(user, item) for item in drawn[cut:]]
    candidates = np.isin(np.arange(N_ITEMS), np.arange(11, N_ITEMS))
    return Task.of(rows_of(history), rows_of(truth), candidates)


@pytest.fixture(scope="module")
def scores() -> NDArray[np.float32]:
    """Many equal scores, so that ties matter."""
    generator = np.random.default_rng(3)
    return generator.integers(0, 20, size=(N_USERS, N_ITEMS)).astype(np.float32)


@pytest.mark.parametrize("check", LOOP_CHECKS, ids=lambda check: check.__name__)
def test_checks_that_find_planted_faults(check: Callable[[System], None]) -> None:
    check(TRUE)


def test_equals_a_plain_loop(task: Task, scores: NDArray[np.float32]) -> None:
    found = evaluate_ranker(Scored(scores), task, ks=(5, 20))
    ndcg, recalled, shown = [], [], set()
    for user in task.users:
        known = set(task.history.items[task.history.users == user].tolist())
        truth = set(task.truth.items[task.truth.users == user].tolist())
        allowed = [i for i in range(N_ITEMS) if task.candidates[i] and i not in known]
        ranked = sorted(allowed, key=lambda item: (-scores[user, item], item))[:20]
        gains = [1 / np.log2(place + 2) for place in range(20)]
        best = sum(gains[: min(20, len(truth))])
        ndcg.append(sum(g for g, item in zip(gains, ranked, strict=False) if item in truth) / best)
        recalled.append(len(truth & set(ranked[:5])) / len(truth))
        shown |= set(ranked[:5])
    np.testing.assert_allclose(found.per_user["ndcg@20"], ndcg, atol=1e-12)
    np.testing.assert_allclose(found.per_user["recall@5"], recalled, atol=1e-12)
    assert found.means["ndcg@20"] == pytest.approx(np.mean(ndcg), abs=1e-12)
    assert found.means["coverage@5"] == len(shown) / 39
    assert found.users.tolist() == task.users.tolist()
    assert found.n_users == len(task.users)


def test_names_every_metric_at_every_k(task: Task, scores: NDArray[np.float32]) -> None:
    found = evaluate_ranker(Scored(scores), task)
    assert set(found.per_user) == {f"{n}@{k}" for n in (*METRICS, "lauc") for k in (10, 20)}
    assert set(found.means) == {*found.per_user, "coverage@10", "coverage@20"}
    assert found.beyond == {}
    assert all(type(value) is float and 0 <= value <= 1 for value in found.means.values())
    assert repr(found).startswith(f"Evaluation(scored, {len(task.users)} users: ndcg@10 0.")


@pytest.mark.parametrize("batch_size", [1, 7, 26, 1000])
def test_does_not_depend_on_the_batch_size(
    task: Task, scores: NDArray[np.float32], batch_size: int
) -> None:
    found = evaluate_ranker(Scored(scores), task, batch_size=batch_size)
    whole = evaluate_ranker(Scored(scores), task)
    assert found.means == whole.means
    assert found.ranked.items.tolist() == whole.ranked.items.tolist()


def test_beyond_accuracy_comes_with_the_aspects(task: Task, scores: NDArray[np.float32]) -> None:
    found = evaluate_ranker(Scored(scores), task, ks=(5, 10), aspects=Aspects.of(task.history))
    names = ("novelty", "arp", "serendipity", "new_items")  # items 8 to 49 are taken, not all
    known = np.unique(task.history.items)
    new = np.setdiff1d(np.flatnonzero(task.candidates), known)
    kept = names if len(new) else names[:3]
    assert set(found.beyond) == {f"{name}@{k}" for name in kept for k in (5, 10)}
    for name in ("gini@5", "arp_lift@10", "coverage@5", "lauc@10", "novelty@5"):
        assert np.isfinite(found.means[name])
    bits = [
        np.mean([np.log2(26 / max(1, (task.history.items == item).sum())) for item in row])
        for row in found.ranked.items[:, :5]
    ]
    np.testing.assert_allclose(found.beyond["novelty@5"], bits, atol=1e-12)


def test_limited_auc_with_room_for_all_is_the_auc(task: Task, scores: NDArray[np.float32]) -> None:
    distinct = (scores - np.arange(N_ITEMS) / 100).astype(np.float32)
    found = evaluate_ranker(Scored(distinct), task, ks=(N_ITEMS + 5,))
    for user, value in zip(task.users, found.per_user[f"lauc@{N_ITEMS + 5}"], strict=True):
        open_to = task.candidates.copy()
        open_to[task.history.items[task.history.users == user]] = False
        truth = np.isin(np.arange(N_ITEMS), task.truth.items[task.truth.users == user])
        expected = roc_auc_score(truth[open_to], distinct[user][open_to])
        assert value == pytest.approx(expected, abs=1e-12)


def test_short_lists_are_measured_as_they_are() -> None:
    """Two of 50 items are allowed, one of them is known: one answer, 19 empty places."""
    candidates = np.isin(np.arange(N_ITEMS), [20, 21])
    task = Task.of(rows_of([(9, 20)]), rows_of([(9, 21)]), candidates)
    found = evaluate_ranker(Scored(np.zeros((N_USERS, N_ITEMS), dtype=np.float32)), task)
    assert found.ranked.items.tolist() == [[21] + [-1] * 19]
    assert found.means["ndcg@10"] == 1.0
    assert found.means["precision@10"] == 0.1
    ids = UserIds(np.arange(900, 900 + N_USERS)), ItemIds(np.arange(100, 100 + N_ITEMS))
    assert found.table(*ids).to_dict("list") == {
        "user_id": [909],
        "rank": [1],
        "item_id": [121],
        "score": [0.0],
    }


@pytest.mark.parametrize(
    ("items", "scores", "fault"),
    [
        ([30, 31, 32], [3.0, np.nan, 1.0], "score that is not finite"),
        ([30, 31, 32], [np.inf, 2.0, 1.0], "score that is not finite"),
        ([30, 31, -1], [3.0, 2.0, np.nan], "padded place whose score is not -inf"),
        ([30, -1, 31], [3.0, -np.inf, 1.0], "item after a padded place"),
        ([30, 31, 30], [3.0, 2.0, 1.0], "item twice"),
        ([30, 31, 20], [3.0, 2.0, 1.0], "item that is excluded"),
        ([30, 31, 40], [3.0, 2.0, 1.0], "item that is no candidate"),
        ([30, 31, N_ITEMS], [3.0, 2.0, 1.0], "item number out of range"),
        ([30, 31, -2], [3.0, 2.0, 1.0], "item number out of range"),
        ([30, 31], [3.0, 2.0], "asked for 3 items of 1 users"),
    ],
)
def test_refuses_answers_that_break_the_contract(
    items: list[int], scores: list[float], fault: str
) -> None:
    task = Task.of(rows_of([(9, 20)]), rows_of([(9, 30)]), np.arange(N_ITEMS) < 40)
    fine = evaluate_ranker(Broken([30, 31, -1], [3.0, 2.0, -np.inf]), task, ks=(3,))
    assert fine.means["hr@3"] == 1.0
    with pytest.raises(ValueError, match=f"broken: .*{fault}"):
        evaluate_ranker(Broken(items, scores), task, ks=(3,))


def test_the_user_named_in_a_complaint_is_the_one() -> None:
    task = Task.of(
        rows_of([(9, 20), (12, 31)]), rows_of([(9, 30), (12, 33)]), np.ones(N_ITEMS, np.bool_)
    )
    with pytest.raises(ValueError, match="user number 12 has an item that is excluded"):
        evaluate_ranker(Broken([30, 31], [2.0, 1.0]), task, ks=(2,), batch_size=1)


def test_refuses_a_task_that_nobody_can_answer(scores: NDArray[np.float32]) -> None:
    nothing = Task.of(rows_of([(9, 20)]), rows_of([(9, 20)]), np.ones(N_ITEMS, dtype=np.bool_))
    with pytest.raises(DataError, match="nobody to ask"):
        evaluate_ranker(Scored(scores), nothing)


def movielens_100k(shared_data: Path, ties: str) -> Interactions:
    table = pd.read_csv(shared_data / "ml-100k-mm" / "ratings.csv.gz")
    table["row"] = np.arange(len(table))
    table = table.sort_values(["user", "timestamp", ties])  # the ids are 1..n without gaps
    return Interactions(
        table["user"].to_numpy(np.int32) - 1,
        table["item"].to_numpy(np.int32) - 1,
        table["timestamp"].to_numpy(),
        table["rating"].to_numpy(np.float32),
        table["row"].to_numpy(),
        943,
        1682,
    )


def ease(rows: Interactions, penalty: float) -> NDArray[np.float32]:
    """Scores of EASE (Steck, 2019), ``(n_users, n_items)``; no two are equal by chance."""
    taken = rows.histories().matrix(rows.n_items).toarray().astype(np.float64)
    inverse = np.linalg.inv(taken.T @ taken + penalty * np.eye(rows.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return (taken @ weights).astype(np.float32)


@pytest.mark.real_data
def test_known_figures_of_movielens_100k(shared_data: Path) -> None:
    """Rankers without randomness, measured elsewhere: order, split, candidates, ties, metrics."""
    log = movielens_100k(shared_data, "item")
    warm = np.zeros(log.n_items, dtype=np.int8)
    by_time = Split("user-time", log, user_time(log, 0.2, 0.1), warm)
    learnt = by_time.learnable(refit=True)
    found = evaluate_ranker(Scored(ease(learnt, 300)), by_time.task("test"))
    assert found.n_users == 943
    assert found.means["ndcg@10"] == pytest.approx(0.1913, abs=5e-5)
    assert found.means["recall_capped@20"] == pytest.approx(0.2358, abs=5e-5)

    by_row = movielens_100k(shared_data, "row")
    last = Split("leave-last-out", by_row, leave_last_out(by_row), warm)
    found = evaluate_ranker(Scored(ease(last.learnable(refit=True), 500)), last.task("test"))
    assert found.means["hr@10"] == pytest.approx(0.1453, abs=5e-5)
    assert found.means["ndcg@10"] == pytest.approx(0.0737, abs=5e-5)

    cold = cold_items(np.arange(log.n_items), 0.2, 0.1, 0)
    oracle = np.tile(log.item_counts().astype(np.float32), (943, 1))  # popularity with the test
    task = Split("cold-items", log, cold[log.items], cold).task("test")
    found = evaluate_ranker(Scored(oracle), task)
    assert found.means["ndcg@10"] == pytest.approx(0.4653, abs=5e-5)
    assert found.means["recall_capped@20"] == pytest.approx(0.5129, abs=5e-5)
