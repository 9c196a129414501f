"""Who took what, when: numbers in arrays, user by user, oldest first."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.data.blocks import count, in_blocks, let_go
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
            if any(block.min() < 0 or block.max() >= n for block in in_blocks(numbers)):
                raise DataError(f"{name} numbers must be in 0..{n - 1}")
        if any(np.any(block[1:] < block[:-1]) for block in in_blocks(self.users, overlap=1)):
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

    def of_users(self, users: NDArray[np.integer[Any]]) -> "Interactions":
        """The rows of some users ``(u,)``, by user: nothing else of the log is read."""
        users = np.unique(users).astype(self.users.dtype)  # else searching would copy the log
        starts = np.searchsorted(self.users, users)
        lengths = np.searchsorted(self.users, users, side="right") - starts
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found = self.take(np.repeat(starts, lengths) + within)
        for column in (self.users, self.items, self.times, self.weights, self.rows):
            let_go(column)
        return found

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
        return count(self.users, self.n_users)

    def item_counts(self) -> NDArray[np.int64]:
        """How many rows each item has, shape ``(n_items,)``."""
        return count(self.items, self.n_items)
