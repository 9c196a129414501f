"""Tasks: what a recommender is asked, and what would have been right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions

__all__ = ["Task"]


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

    @classmethod
    def of(
        cls,
        history: Interactions,
        asked: Interactions,
        candidates: NDArray[np.bool_],
        *,
        new_users: bool = False,
    ) -> "Task":
        """Keep what can be answered of the ``asked`` rows; count the others by the first reason.

        Args:
            history: what is known when the question is put.
            asked: the held-out rows.
            candidates: items that may be recommended, bool ``(n_items,)``; no other is truth.
            new_users: ask users without history, too.
        """
        keys = _pairs(asked)
        first = np.zeros(len(asked), dtype=np.bool_)
        first[np.unique(keys, return_index=True)[1]] = True
        reasons = {
            "rows of users without history": ~(np.isin(asked.users, history.users) | new_users),
            "rows of items that are no candidates": ~candidates[asked.items],
            "rows of items in the history": np.isin(keys, _pairs(history)),
            "rows that repeat an item": ~first,
        }
        kept = np.ones(len(asked), dtype=np.bool_)
        dropped = {}
        for reason, applies in reasons.items():
            dropped[reason] = int((kept & applies).sum())
            kept &= ~applies
        truth = asked.take(kept)
        lost = len(np.unique(asked.users)) - len(np.unique(truth.users))
        return cls(history, truth, candidates, {**dropped, "users left without truth": lost})

    @property
    def users(self) -> NDArray[np.int32]:
        """The users with truth, in order, shape ``(u,)``: those who are asked."""
        return np.unique(self.truth.users)

    def __repr__(self) -> str:
        return (
            f"Task({len(self.truth):,} rows of {len(self.users):,} users to be found among "
            f"{self.candidates.sum():,} items)"
        )


def _pairs(interactions: Interactions) -> NDArray[np.int64]:
    """One number for each user and item, shape ``(n,)``."""
    return interactions.users.astype(np.int64) * interactions.n_items + interactions.items
