"""Splits: which rows are learnt from, which choose, which test. A split is a partition."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions

__all__ = ["Split", "Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """What a recommender is asked and what would have been right.

    Attributes:
        history: what is known of the users when they are asked; never recommended again.
        truth: the held-out rows, only of users and items that can be answered.
        candidates: items that may be recommended, bool ``(n_items,)``.
        dropped: why held-out rows and users are not in ``truth`` -> how many.
    """

    history: Interactions
    truth: Interactions
    candidates: NDArray[np.bool_]
    dropped: dict[str, int]


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a data set's log under a protocol."""

    protocol: str
    train: Interactions
    validation: Interactions
    test: Interactions
