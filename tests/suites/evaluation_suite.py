"""What every evaluation must get right: checks that take the metrics and the loop as an argument.

`test_metrics.py` and `test_evaluate.py` run them on the real ones, `test_planted_faults.py` on
faulty ones, each of which a check must find.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.metrics import METRICS, PerUser, judge
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries

N = 40  # users and items: a transposed matrix has the right shape
ABILITIES = Abilities(new_users=False, new_items=False)

Lists = NDArray[np.int32]
Metric = Callable[[Lists, Ragged, int], PerUser]


@dataclass(frozen=True)
class Scored:
    """Ranks by fixed scores, ``(n_users, n_items)``."""

    scores: NDArray[np.float32]
    name: str = "scored"
    abilities: Abilities = ABILITIES

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        return top_k_of_scores(
            self.scores[queries.users], k, exclude=exclude, candidates=candidates
        )


@dataclass(frozen=True)
class Broken:
    """Answers with the same list, right or wrong, whatever is asked."""

    items: list[int]
    scores: list[float]
    name: str = "broken"
    abilities: Abilities = ABILITIES

    def top_k(
        self,
        queries: Queries,
        k: int,  # noqa: ARG002  (the contract's names)
        *,
        exclude: Ragged | None = None,  # noqa: ARG002
        candidates: NDArray[np.bool_] | None = None,  # noqa: ARG002
    ) -> TopK:
        items = np.tile(np.array(self.items, dtype=np.int32), (len(queries), 1))
        return TopK(items, np.tile(np.array(self.scores, dtype=np.float32), (len(queries), 1)))


Evaluate = Callable[[Scored | Broken, Task, int, int], Mapping[str, PerUser]]


@dataclass(frozen=True)
class System:
    """What is under test."""

    metrics: Mapping[str, Metric]  # of lists, truth and k
    evaluate: Evaluate  # of ranker, task, k and batch size -> values of each user


def metric(name: str) -> Metric:
    return lambda lists, truth, k: METRICS[name](judge(lists, truth), k)


def evaluate(ranker: Scored | Broken, task: Task, k: int, batch_size: int) -> dict[str, PerUser]:
    found = evaluate_ranker(ranker, task, ks=(k,), batch_size=batch_size)
    return {name.removesuffix(f"@{k}"): values for name, values in found.per_user.items()}


TRUE = System({name: metric(name) for name in METRICS}, evaluate)


# what is right


def plain(ranked: list[int], truth: set[int], k: int) -> dict[str, float]:
    """All metrics of one user, as their definitions read."""
    hits = [item in truth for item in ranked[:k]]
    places = [place for place, hit in enumerate(hits, start=1) if hit]
    possible = min(k, len(truth))
    ideal = sum(1 / math.log2(place + 1) for place in range(1, possible + 1))
    return {
        "ndcg": sum(1 / math.log2(place + 1) for place in places) / ideal,
        "recall": len(places) / len(truth),
        "recall_capped": len(places) / possible,
        "hr": 1.0 if places else 0.0,
        "mrr": 1 / places[0] if places else 0.0,
        "map": sum(sum(hits[:place]) / place for place in places) / possible,
        "precision": len(places) / k,
    }


def plain_evaluation(scored: Scored, task: Task, k: int) -> dict[str, list[float]]:
    """The same of every user with truth, from the whole matrix of scores."""
    values: dict[str, list[float]] = {}
    for user in np.unique(task.truth.users):
        known = set(task.history.items[task.history.users == user].tolist())
        truth = set(task.truth.items[task.truth.users == user].tolist())
        allowed = [i for i in range(len(task.candidates)) if task.candidates[i] and i not in known]
        ranked = sorted(allowed, key=lambda item: (-scored.scores[user, item], item))
        for name, value in plain(ranked, truth, k).items():
            values.setdefault(name, []).append(value)
    return values


# what is asked


def rows_of(pairs: list[tuple[int, int]], n_users: int = N, n_items: int = N) -> Interactions:
    users, items = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2).T
    numbers = np.arange(len(pairs), dtype=np.int64)
    ones = np.ones(len(pairs), dtype=np.float32)
    return Interactions(users, items, numbers, ones, numbers, n_users, n_items)


def random_task(seed: int = 2) -> Task:
    """Users 4..39 of 40, a third of them without truth; items 8..39, three no candidates."""
    generator = np.random.default_rng(seed)
    history, truth = [], []
    for user in range(4, N):
        drawn = generator.choice(np.arange(8, N), 16, replace=False).tolist()
        cut = int(generator.integers(1, 15))
        history += [(user, item) for item in drawn[:cut]]
        truth += [(user, item) for item in drawn[cut:] if user % 3]
    return Task.of(rows_of(history), rows_of(truth), np.arange(N) >= 11)


def one_user(history: list[int], truth: list[int], user: int = 9) -> Task:
    known, asked = (rows_of([(user, item) for item in items]) for items in (history, truth))
    return Task.of(known, asked, np.ones(N, dtype=np.bool_))


def tied_scores(seed: int = 3) -> Scored:
    generator = np.random.default_rng(seed)
    return Scored(generator.integers(0, 12, size=(N, N)).astype(np.float32))


# the checks


def check_by_hand(system: System) -> None:
    """Hits in places 2 and 4 of 5, three items relevant."""
    lists, truth = np.array([[11, 12, 13, 14, 15]], dtype=np.int32), Ragged.of([[12, 14, 99]])
    gains = [1 / math.log2(place + 1) for place in range(1, 6)]
    expected = {
        "ndcg": (gains[1] + gains[3]) / sum(gains[:3]),
        "recall": 2 / 3,
        "recall_capped": 2 / 3,
        "hr": 1.0,
        "mrr": 1 / 2,
        "map": (1 / 2 + 2 / 4) / 3,
        "precision": 2 / 5,
    }
    for name, value in expected.items():
        assert system.metrics[name](lists, truth, 5)[0] == pytest.approx(value, abs=1e-15), name
    assert system.metrics["recall_capped"](lists, truth, 2)[0] == 1 / 2  # two places, not three


def check_perfect_list(system: System) -> None:
    """A list of nothing but relevant items is worth 1, however many more there are."""
    lists, truth = np.array([[5, 6, 7]], dtype=np.int32), Ragged.of([[7, 5, 6, 20, 21, 22, 23]])
    for name in ("ndcg", "recall_capped", "hr", "mrr", "map", "precision"):
        assert system.metrics[name](lists, truth, 3)[0] == pytest.approx(1.0, abs=1e-15), name


def check_last_place(system: System) -> None:
    """A hit in place k counts, one in place k + 1 does not."""
    lists, truth = np.array([[11, 12, 13, 14, 15]], dtype=np.int32), Ragged.of([[13]])
    for name, value in system.metrics.items():
        assert value(lists, truth, 3)[0] > 0, name
        assert value(lists, truth, 2)[0] == 0, name


def check_metrics_equal_loops(system: System) -> None:
    generator = np.random.default_rng(5)
    lists = np.stack([generator.permutation(N)[:12] for _ in range(30)]).astype(np.int32)
    lists[np.arange(12) >= generator.integers(0, 15, size=(30, 1))] = -1
    truth = [generator.permutation(N)[: generator.integers(1, 20)].tolist() for _ in range(30)]
    for k in (1, 5, 12):
        for name, value in system.metrics.items():
            expected = [plain(lists[u].tolist(), set(truth[u]), k)[name] for u in range(30)]
            found = value(lists, Ragged.of(truth), k)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12, err_msg=name)


def check_ties_go_by_item_number(system: System) -> None:
    """Equal scores everywhere: items 0, 1, 2, ... come first, whatever is relevant."""
    alike = Scored(np.zeros((N, N), dtype=np.float32))
    assert system.evaluate(alike, one_user([0], [30]), 5, 8)["hr"].tolist() == [0.0]
    assert system.evaluate(alike, one_user([0], [5]), 5, 8)["mrr"].tolist() == [1 / 5]


def check_refuses_nan(system: System) -> None:
    scores = np.zeros((N, N), dtype=np.float32)
    scores[:, 30] = np.nan
    for ranker in (Scored(scores), Broken([30, 31], [np.nan, 1.0])):
        with pytest.raises(ValueError, match="finite"):
            system.evaluate(ranker, one_user([0], [30]), 2, 8)


def check_refuses_duplicates(system: System) -> None:
    with pytest.raises(ValueError, match="twice"):
        system.evaluate(Broken([30, 30], [2.0, 1.0]), one_user([0], [30, 31]), 2, 8)


def check_seen_items_are_left_out(system: System) -> None:
    """What was taken has the highest scores and no place in the list."""
    scores = np.zeros((N, N), dtype=np.float32)
    scores[:, [20, 21, 22]], scores[:, 30] = 9.0, 5.0
    task = one_user([20, 21, 22], [30])
    assert system.evaluate(Scored(scores), task, 2, 8)["mrr"].tolist() == [1.0]


def check_only_users_with_truth_count(system: System) -> None:
    """Two users are known, one is asked: the mean is that one's."""
    history = rows_of([(9, 20), (12, 20)])
    task = Task.of(history, rows_of([(12, 30)]), np.ones(N, dtype=np.bool_))
    scores = np.zeros((N, N), dtype=np.float32)
    scores[:, 30] = 5.0
    values = system.evaluate(Scored(scores), task, 2, 8)["hr"]
    assert float(np.mean(values)) == 1.0


def check_all_candidates_are_ranked(system: System) -> None:
    """Half of the 39 other items are better than the relevant one: it is in no top 10."""
    scores = np.tile(np.arange(N, dtype=np.float32), (N, 1))
    task = Task.of(
        rows_of([(user, 0) for user in range(N)]),
        rows_of([(user, 20) for user in range(N)]),
        np.ones(N, dtype=np.bool_),
    )
    assert system.evaluate(Scored(scores), task, 10, 8)["hr"].sum() == 0
    assert system.evaluate(Scored(scores), task, 20, 8)["mrr"].tolist() == [1 / 20] * N


def check_rows_are_users(system: System) -> None:
    """User 9 likes item 30; item 9 is liked by user 30, which says nothing of user 9."""
    scores = np.zeros((N, N), dtype=np.float32)
    scores[9, 30], scores[31, 9] = 5.0, 5.0
    assert system.evaluate(Scored(scores), one_user([0], [30]), 1, 8)["hr"].tolist() == [1.0]
    assert system.evaluate(Scored(scores), one_user([0], [31]), 1, 8)["hr"].tolist() == [0.0]


def check_batch_size_does_not_show(system: System) -> None:
    ranker, task = tied_scores(), random_task()
    whole = system.evaluate(ranker, task, 10, 1_000)
    for batch_size in (1, 7):
        blocks = system.evaluate(ranker, task, 10, batch_size)
        assert {name: one.tolist() for name, one in blocks.items()} == {
            name: one.tolist() for name, one in whole.items()
        }


def check_evaluation_equals_loops(system: System) -> None:
    ranker, task = tied_scores(), random_task()
    found = system.evaluate(ranker, task, 5, 7)
    for name, values in plain_evaluation(ranker, task, 5).items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12, err_msg=name)


METRIC_CHECKS = (
    check_by_hand,
    check_perfect_list,
    check_last_place,
    check_metrics_equal_loops,
)
LOOP_CHECKS = (
    check_ties_go_by_item_number,
    check_refuses_nan,
    check_refuses_duplicates,
    check_seen_items_are_left_out,
    check_only_users_with_truth_count,
    check_all_candidates_are_ranked,
    check_rows_are_users,
    check_batch_size_does_not_show,
    check_evaluation_equals_loops,
)
