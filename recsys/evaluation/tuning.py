"""Baselines get a fair chance: a small grid, chosen on the validation part, never on the test."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recsys.data.interactions import Interactions
from recsys.data.tasks import Task
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.progress import track
from recsys.recommenders.ranker import Ranker

__all__ = ["Trial", "Tunable", "Tuned", "tune"]

Params = Mapping[str, float | int]


class Tunable(Protocol):
    """What tuning needs of a baseline: how to fit it, and which settings to try."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def fit(self) -> Callable[..., Ranker]:
        """``fit(interactions, seed=seed, **params) -> Ranker``."""
        ...

    @property
    def grid(self) -> Sequence[Params]:
        """The settings to try; at least one, which may be empty."""
        ...


@dataclass(frozen=True)
class Trial:
    """One setting and how it did on validation."""

    params: dict[str, float | int]
    score: float  # mean of the metric over the users of the task
    seconds: float  # to fit and to evaluate


@dataclass(frozen=True)
class Tuned:
    """All settings tried of a baseline, in grid order."""

    name: str
    metric: str
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the highest score; of equal ones the first in the grid."""
        return max(self.trials, key=lambda trial: trial.score)

    @property
    def params(self) -> dict[str, float | int]:
        """The chosen setting."""
        return self.best.params


def tune(
    baseline: Tunable,
    train: Interactions,
    task: Task,
    *,
    seed: int = 0,
    k: int = 10,
    batch_size: int = 256,
    description: str | None = None,
) -> Tuned:
    """Fit every setting of the grid on ``train`` and measure its NDCG@k on ``task``.

    Args:
        baseline: what to fit; its grid says with which settings.
        train: the rows to fit on, without those of the task.
        task: the validation task, ``split.task("validation")``.
        seed: given to every fit.
        k: of the NDCG that chooses.
        batch_size: users ranked at a time.
        description: of the progress bar over the grid; None shows none.

    Raises:
        DataError: no user of the task has truth, so that nothing can be chosen.
    """
    metric = f"ndcg@{k}"
    trials = []
    grid = baseline.grid
    for params in track(grid, description, len(grid)) if description else grid:
        started = time.perf_counter()
        ranker = baseline.fit(train, seed=seed, **params)
        score = evaluate_ranker(ranker, task, ks=(k,), batch_size=batch_size).means[metric]
        trials.append(Trial(dict(params), score, time.perf_counter() - started))
    return Tuned(baseline.name, metric, tuple(trials))
