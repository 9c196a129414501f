"""How much each vote of a blend weighs, learnt on validation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.metrics import judge, ndcg
from recsys.recommenders.blend import fuse

__all__ = ["LEARNT_FROM", "learn_weights", "some_users"]

LEARNT_FROM = 10_000  # users: of five models, 100 places each, 20 MB of lists
STEPS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
ROUNDS = 3


def some_users(task: Task, most: int, seed: int = 0) -> Task:
    """The task of at most so many of its users, drawn at random: as many lists are kept at once."""
    if len(task.users) <= most:
        return task
    drawn = np.random.default_rng(seed).choice(task.users, most, replace=False)
    return replace(task, truth=task.truth.take(np.isin(task.truth.users, drawn)))


def learn_weights(
    lists: Sequence[NDArray[np.integer[Any]]], truth: Ragged, *, k: int = 10
) -> tuple[float, ...]:
    """Non-negative weights of the lists whose fusion has the best NDCG@k: coordinate ascent.

    From equal weights, each in turn takes the best of eight values from 0 to 1, others as they
    are, at most three times round: NDCG of a fusion is a step function, without a gradient.

    Args:
        lists: of the users of a validation task, ``(u, d)`` each; see `fuse`.
        truth: what would have been right, ``u`` rows, none empty.
        k: of the NDCG.

    Returns:
        As many weights as lists, which add up to 1.
    """

    def score(weights: Sequence[float]) -> float:
        return float(ndcg(judge(fuse(lists, weights, k).items, truth), k).mean())

    weights, best = [0.5] * len(lists), score([0.5] * len(lists))
    for _ in range(ROUNDS):
        before = best
        for part in range(len(lists)):
            for step in STEPS:
                tried = [*weights[:part], step, *weights[part + 1 :]]
                if sum(tried) > 0 and (found := score(tried)) > best:
                    weights, best = tried, found
        if best == before:
            break
    return tuple(weight / sum(weights) for weight in weights)
