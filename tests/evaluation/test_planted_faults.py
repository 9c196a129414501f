"""Faults that public systems have shipped, planted one at a time: the checks find every one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from suites.evaluation_suite import (
    LOOP_CHECKS,
    METRIC_CHECKS,
    TRUE,
    Broken,
    Evaluate,
    Lists,
    Metric,
    Scored,
    System,
    check_all_candidates_are_ranked,
    check_batch_size_does_not_show,
    check_by_hand,
    check_last_place,
    check_only_users_with_truth_count,
    check_perfect_list,
    check_refuses_duplicates,
    check_refuses_nan,
    check_rows_are_users,
    check_seen_items_are_left_out,
    check_ties_go_by_item_number,
    plain,
)

from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.metrics import PerUser, judge
from recsys.recommenders.ranker import Queries

CHECKS = (*METRIC_CHECKS, *LOOP_CHECKS)

Check = Callable[[System], None]


def fails(check: Check, system: System) -> bool:
    """Whether a check finds something wrong."""
    try:
        check(system)
    except (AssertionError, pytest.fail.Exception):
        return True
    return False


# metrics


def natural_logarithm(lists: Lists, truth: Ragged, k: int) -> PerUser:
    """The gains with another base than the ideal ones, with which the base would cancel."""
    hits = judge(lists, truth).hits[:, :k]
    discounts = 1 / np.log(np.arange(2, k + 2))
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    best = ideal[np.minimum(judge(lists, truth).relevant, k) - 1]
    return np.asarray((hits * discounts).sum(axis=1) / best, dtype=np.float64)


def ideal_of_all_relevant(lists: Lists, truth: Ragged, k: int) -> PerUser:
    judged = judge(lists, truth)
    discounts = 1 / np.log2(np.arange(2, 1_000))
    gains = (judged.hits[:, :k] * discounts[:k]).sum(axis=1)
    return np.asarray(gains / np.cumsum(discounts)[judged.relevant - 1], dtype=np.float64)


def precision_by_recall(lists: Lists, truth: Ragged, k: int) -> PerUser:
    judged = judge(lists, truth)
    return np.asarray(judged.hits[:, :k].sum(axis=1) / judged.relevant, dtype=np.float64)


def one_place_more(metric: Metric) -> Metric:
    return lambda lists, truth, k: metric(lists, truth, min(k + 1, lists.shape[1]))


def one_place_less(metric: Metric) -> Metric:
    return lambda lists, truth, k: metric(
        np.where(np.arange(lists.shape[1]) < k - 1, lists, -1), truth, k
    )


def with_metrics(**faulty: Metric) -> System:
    return replace(TRUE, metrics={**TRUE.metrics, **faulty})


# the loop


def loop(fault: str = "") -> Evaluate:
    """A plain evaluation, user by user; right without a fault."""

    def evaluate(
        ranker: Scored | Broken, task: Task, k: int, batch_size: int
    ) -> dict[str, PerUser]:
        users = task.users
        if fault == "users without truth are 0":
            users = np.unique(task.history.users)
        values: dict[str, list[float]] = {}
        for place, user in enumerate(users):
            # the mask of a user's place in the batch, made once, for the first batch
            masked = users[place % batch_size] if fault == "mask of the first batch" else user
            known = task.history.items[task.history.users == masked]
            if fault == "seen items are kept":
                known = known[:0]
            truth = set(task.truth.items[task.truth.users == user].tolist())
            allowed = np.setdiff1d(np.flatnonzero(task.candidates), known)
            ranked = ranked_by(ranker, int(user), allowed, truth, k, fault)
            found = plain(ranked, truth, k) if truth else dict.fromkeys(TRUE.metrics, 0.0)
            for name, value in found.items():
                values.setdefault(name, []).append(value)
        return {name: np.array(one) for name, one in values.items()}

    return evaluate


def ranked_by(
    ranker: Scored | Broken,
    user: int,
    allowed: NDArray[np.int64],
    truth: set[int],
    k: int,
    fault: str,
) -> list[int]:
    """A ranker's list for one user; of fixed scores all of it."""
    if isinstance(ranker, Broken):
        asked = Queries(np.array([user], dtype=np.int32), Ragged.of([[]]))
        answer = ranker.top_k(asked, k)
        ranked: list[int] = answer.items[0].tolist()
        if not np.isfinite(answer.scores).all() and fault != "NaN ranks first":
            raise ValueError("a score that is not finite")
        if len(set(ranked)) < len(ranked) and fault != "duplicates count twice":
            raise ValueError("an item twice")
        return ranked
    scores = ranker.scores.T[user] if fault == "transposed matrix" else ranker.scores[user]
    if fault == "sampled candidates":
        others = np.setdiff1d(allowed, list(truth))
        drawn = np.random.default_rng(user).choice(others, 10, replace=False)
        allowed = np.union1d(drawn, np.array(sorted(truth)))
    if fault == "NaN ranks first":
        scores = np.where(np.isnan(scores), np.inf, scores)  # nothing is greater than NaN
    elif not np.isfinite(scores[allowed]).all():
        raise ValueError("a score that is not finite")
    favoured = fault == "ties favour the target"
    return sorted(
        allowed.tolist(), key=lambda item: (-scores[item], favoured and item not in truth, item)
    )


def with_loop(fault: str) -> System:
    return replace(TRUE, evaluate=loop(fault))


FAULTS: dict[str, tuple[System, Check]] = {
    "wrong log base": (with_metrics(ndcg=natural_logarithm), check_by_hand),
    "ideal DCG over all relevant": (with_metrics(ndcg=ideal_of_all_relevant), check_perfect_list),
    "precision by recall": (with_metrics(precision=precision_by_recall), check_by_hand),
    "one place more": (
        with_metrics(**{name: one_place_more(one) for name, one in TRUE.metrics.items()}),
        check_last_place,
    ),
    "one place less": (
        with_metrics(**{name: one_place_less(one) for name, one in TRUE.metrics.items()}),
        check_last_place,
    ),
    "ties favour the target": (
        with_loop("ties favour the target"),
        check_ties_go_by_item_number,
    ),
    "NaN ranks first": (with_loop("NaN ranks first"), check_refuses_nan),
    "seen items are kept": (with_loop("seen items are kept"), check_seen_items_are_left_out),
    "users without truth are 0": (
        with_loop("users without truth are 0"),
        check_only_users_with_truth_count,
    ),
    "duplicates count twice": (with_loop("duplicates count twice"), check_refuses_duplicates),
    "sampled candidates": (with_loop("sampled candidates"), check_all_candidates_are_ranked),
    "transposed matrix": (with_loop("transposed matrix"), check_rows_are_users),
    "mask of the first batch": (
        with_loop("mask of the first batch"),
        check_batch_size_does_not_show,
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_the_fault_is_found(fault: str) -> None:
    system, check = FAULTS[fault]
    assert fails(check, system), f"{check.__name__} lets it pass"


@pytest.mark.parametrize("fault", list(FAULTS))
def test_random_data_find_it_too(fault: str) -> None:
    """What nobody thought of is left to the comparison with loops, and to what must be refused."""
    system, check = FAULTS[fault]
    general = (METRIC_CHECKS[-1], LOOP_CHECKS[-1])
    refusals = (check_refuses_nan, check_refuses_duplicates)
    assert check in refusals or any(fails(one, system) for one in general)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_right_passes(check: Check) -> None:
    """The real evaluation, and the loop that the faults were planted in."""
    check(TRUE)
    check(with_loop(""))
