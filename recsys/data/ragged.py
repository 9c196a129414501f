"""Lists of different lengths in two arrays: one user's history after another."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Ragged"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of integers of different lengths, without padding.

    Attributes:
        indptr: where each row starts and the last one ends, int64 ``(n_rows + 1,)``.
        values: all rows after one another, int32 ``(indptr[-1],)``.
        times: when each value was taken, milliseconds, int64 ``(indptr[-1],)``; None: unknown.
    """

    indptr: NDArray[np.int64]
    values: NDArray[np.int32]
    times: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.indptr.ndim != 1 or self.indptr[0] != 0 or self.indptr[-1] != len(self.values):
            raise ValueError(f"indptr must run from 0 to {len(self.values)}")
        if np.any(np.diff(self.indptr) < 0):
            raise ValueError("indptr must not decrease")
        if self.times is not None and len(self.times) != len(self.values):
            raise ValueError(f"{len(self.times)} times of {len(self.values)} values")

    @classmethod
    def of(cls, rows: list[list[int]]) -> Self:
        """Build from lists (tests, single queries)."""
        lengths = [len(row) for row in rows]
        values = np.array([value for row in rows for value in row], dtype=np.int32)
        return cls(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), values)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        """One row, shape ``(length,)``."""
        return self.values[self.indptr[row] : self.indptr[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row, shape ``(n_rows,)``."""
        return np.diff(self.indptr)

    def lengths_of(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Length of each given row; not of all: a few of millions may be asked for."""
        lengths: NDArray[np.int64] = self.indptr[rows + 1] - self.indptr[rows]
        return lengths

    @property
    def row_numbers(self) -> NDArray[np.int64]:
        """The row of each value, shape ``(n_values,)``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def at(self, indptr: NDArray[np.int64], places: NDArray[Any]) -> "Ragged":
        """Other rows, out of the values at ``places`` (numbers or a mask), with their times."""
        times = None if self.times is None else self.times[places]
        return Ragged(indptr, self.values[places], times)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Ragged":
        """The given rows in the given order; -1 gives an empty row."""
        if rows.size and rows.max() >= len(self):
            raise IndexError(f"rows must be in -1..{len(self) - 1}, got {rows.max()}")
        rows = np.maximum(rows, -1)
        starts = self.indptr[rows]
        # Not of all rows: a block of users is taken out of millions.
        lengths = np.where(rows < 0, 0, self.indptr[rows + 1] - starts)
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        return self.at(indptr, np.repeat(starts, lengths) + within)

    def where(self, which: NDArray[np.bool_]) -> "Ragged":
        """Each row without the values that a mask ``(n_values,)`` leaves out."""
        counts = np.bincount(self.row_numbers[which], minlength=len(self))
        return self.at(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), which)

    def last(self, n: int) -> "Ragged":
        """The last ``n`` values of each row."""
        within_from_end = np.repeat(self.indptr[1:], self.lengths) - np.arange(len(self.values))
        kept = within_from_end <= n
        lengths = np.minimum(self.lengths, n)
        return self.at(np.concatenate([[0], np.cumsum(lengths)]), kept)

    def beside(self, other: "Ragged") -> "Ragged":
        """Each row followed by the other's row of the same number; times are not kept."""
        if len(self) != len(other):
            raise ValueError(f"{len(self)} rows beside {len(other)}")
        rows = np.concatenate([self.row_numbers, other.row_numbers])
        order = np.argsort(rows, kind="stable")
        values = np.concatenate([self.values, other.values])[order]
        return Ragged(self.indptr + other.indptr, values)

    def matrix(self, n_columns: int) -> sparse.csr_matrix:
        """Binary csr matrix ``(n_rows, n_columns)``; a repeated value counts once."""
        ones = np.ones(len(self.values), dtype=np.float32)
        columns = self.values.copy()  # scipy sorts them in place; our rows keep their order
        matrix = sparse.csr_matrix((ones, columns, self.indptr), (len(self), n_columns))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix
