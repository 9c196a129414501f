"""Tuning: every setting is tried on the training rows, the best on validation is chosen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.tuning import tune
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries, Ranker

ABILITIES = Abilities(new_users=True, new_items=True)
Setting = dict[str, float | int]


@dataclass(frozen=True)
class Favourite:
    """Puts one item first, then the others by number."""

    item: int
    name: str = "favourite"
    abilities: Abilities = ABILITIES

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        scores = np.zeros((len(queries), 40), dtype=np.float32)
        scores[:, self.item] = 1
        return top_k_of_scores(scores, k, exclude=exclude, candidates=candidates)


@dataclass(frozen=True)
class Baseline:
    name: str
    fit: Callable[..., Ranker]
    grid: tuple[Setting, ...]


def rows_of(users: list[int], items: list[int]) -> Interactions:
    numbers = np.arange(len(users), dtype=np.int64)
    return Interactions(
        np.array(users, dtype=np.int32),
        np.array(items, dtype=np.int32),
        numbers,
        np.ones(len(users), dtype=np.float32),
        numbers,
        20,
        40,
    )


TRAIN = rows_of([11, 12, 13], [31, 32, 33])
TASK = Task.of(TRAIN, rows_of([11, 12, 13], [35, 35, 36]), np.ones(40, dtype=np.bool_))


def test_chooses_the_best_on_validation() -> None:
    seen: list[tuple[Interactions, int, int]] = []

    def fit(interactions: Interactions, *, seed: int, item: int) -> Ranker:
        seen.append((interactions, seed, item))
        return Favourite(item)

    grid: tuple[Setting, ...] = ({"item": 30}, {"item": 36}, {"item": 35}, {"item": 35})
    tuned = tune(Baseline("favourite", fit, grid), TRAIN, TASK, seed=5)
    assert seen == [(TRAIN, 5, 30), (TRAIN, 5, 36), (TRAIN, 5, 35), (TRAIN, 5, 35)]
    assert tuned.params == {"item": 35}
    assert tuned.best is tuned.trials[2]  # of equal ones the first
    scores = [trial.score for trial in tuned.trials]
    assert scores == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3])
    assert [trial.params for trial in tuned.trials] == list(grid)
    assert tuned.metric == "ndcg@10"


def test_k_is_that_of_the_ndcg() -> None:
    baseline = Baseline("favourite", lambda _rows, seed: Favourite(seed), ({},))
    tuned = tune(baseline, TRAIN, TASK, k=40)
    assert tuned.metric == "ndcg@40"
    assert 0 < tuned.best.score < 1
