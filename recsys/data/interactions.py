"""Who took what, when: numbers in arrays, user by user, oldest first."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import DataError

__all__ = ["Interactions"]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Positive interactions, sorted by user and within a user from oldest to newest.

    Attributes:
        users: user numbers, int32 ``(n,)``, not decreasing.
        items: item numbers, int32 ``(n,)``.
        times: int64 ``(n,)``: milliseconds since 1970 (UTC), or an order.
        weights: rating or count, float32 ``(n,)``; 1 where the log has none.
        rows: the row of the log each came from, int64 ``(n,)``, counted in file-name order from 0
            before anything was removed.
        n_users: how many users the data set has (with or without a row here).
        n_items: how many items the data set has.

    Raises:
        DataError: lengths differ, users are not sorted, or a number is out of range.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    rows: NDArray[np.int64]
    n_users: int
    n_items: int

    def __post_init__(self) -> None:
        columns = (self.users, self.items, self.times, self.weights, self.rows)
        if len({len(column) for column in columns}) != 1:
            raise DataError(f"columns differ in length: {[len(column) for column in columns]}")
        for name, numbers, n in (
            ("user", self.users, self.n_users),
            ("item", self.items, self.n_items),
        ):
            if len(numbers) and (numbers.min() < 0 or numbers.max() >= n):
                raise DataError(f"{name} numbers must be in 0..{n - 1}")
        if np.any(np.diff(self.users) < 0):
            raise DataError("interactions must be sorted by user")

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} rows, {self.n_users:,} users, {self.n_items:,} items)"

    def take(self, which: NDArray[Any]) -> "Interactions":
        """The rows of a boolean mask ``(n,)`` or of row numbers; users must stay sorted."""
        return Interactions(
            self.users[which],
            self.items[which],
            self.times[which],
            self.weights[which],
            self.rows[which],
            self.n_users,
            self.n_items,
        )

    def ordered(self, ties: Literal["item", "row"]) -> "Interactions":
        """Sort by user, then time, then item number or row of the log."""
        tie = self.items if ties == "item" else self.rows
        return self.take(np.lexsort((self.rows, tie, self.times, self.users)))

    def histories(self) -> Ragged:
        """Every user's items with their times, oldest first: one row a user, ``n_users`` rows."""
        indptr = np.zeros(self.n_users + 1, dtype=np.int64)
        np.cumsum(self.user_counts(), out=indptr[1:])
        return Ragged(indptr, self.items, self.times)

    def user_counts(self) -> NDArray[np.int64]:
        """How many rows each user has, shape ``(n_users,)``."""
        return np.bincount(self.users, minlength=self.n_users)

    def item_counts(self) -> NDArray[np.int64]:
        """How many rows each item has, shape ``(n_items,)``."""
        return np.bincount(self.items, minlength=self.n_items)
