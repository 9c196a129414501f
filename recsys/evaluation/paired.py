"""Is one model better than another on the same users? Paired differences and their interval."""

from typing import NamedTuple

import numpy as np

from recsys.evaluation.metrics import PerUser

__all__ = ["Difference", "paired_difference"]

DRAWS = 10_000
BLOCK = 500  # draws of users in memory at a time


class Difference(NamedTuple):
    """How much better one model is, averaged over users."""

    mean: float
    low: float  # of the interval
    high: float


def paired_difference(
    ours: PerUser, theirs: PerUser, *, level: float = 0.95, seed: int = 0
) -> Difference:
    """The mean of ``ours - theirs`` with a percentile bootstrap interval over users.

    Users are drawn with replacement, each with both values (Efron and Tibshirani, *An Introduction
    to the Bootstrap*, 1993, chapter 13): what makes a user hard for both models cancels out.

    Args:
        ours: a metric of each user, ``(u,)``; with several seeds their mean.
        theirs: of the same users in the same order, ``(u,)``.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Raises:
        ValueError: there are no users, their numbers differ, or the level is out of range.
    """
    if ours.shape != theirs.shape or not len(ours) or not 0 < level < 1:
        raise ValueError(f"users {ours.shape} and {theirs.shape}, level {level}")
    differences, random = ours - theirs, np.random.default_rng(seed)
    means = [
        differences[random.integers(len(ours), size=(min(BLOCK, DRAWS - start), len(ours)))].mean(1)
        for start in range(0, DRAWS, BLOCK)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Difference(float(differences.mean()), float(low), float(high))
