"""Ids become numbers here, and come back here; nowhere else.

Public calls take and return the user's own ids; inside, users and items are numbers 0..n-1 in id
order. ``UserIds`` and ``ItemIds`` are different types, so that mixing them up is a type error.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = ["ItemIds", "UserIds", "parse_ids"]

CANONICAL_INTEGER = r"(?:0|-?[1-9][0-9]{0,18})"  # as str(int(x)) prints it
INT64 = np.iinfo(np.int64)
FEW = 200  # ids up to which looking each up takes less than what pandas sets up for a column


def parse_ids(column: pd.Series) -> NDArray[Any]:
    """Return ids as int64 when the whole column is integers, else as strings, shape ``(n,)``.

    "007" is text, not 7: a column counts as integers only when printing them gives it back. So is
    a column with a number that 64 bits cannot hold.
    """
    if pd.api.types.is_integer_dtype(column.dtype) and (
        not len(column) or column.max() <= INT64.max
    ):
        return column.to_numpy(dtype=np.int64)
    text = column.astype("str")
    if len(text) and text.str.fullmatch(CANONICAL_INTEGER).all():
        integers = [int(printed) for printed in text]  # Python's do not overflow
        if INT64.min <= min(integers) and max(integers) <= INT64.max:
            return np.array(integers, dtype=np.int64)
    return text.to_numpy(dtype=object)


class _Ids:
    """Distinct ids in order; an id's number is its place. Not used directly."""

    kind = "id"

    def __init__(self, values: NDArray[Any], *, appended: int = 0) -> None:
        """Take distinct ids of shape ``(n,)``, int64 or object (strings).

        Args:
            values: sorted, but for the last ones.
            appended: how many of the last came later, in any order.

        Raises:
            DataError: the ids are not sorted or not distinct.
        """
        first = values[: len(values) - appended]
        if len(first) > 1 and not bool(np.all(first[1:] > first[:-1])):
            raise DataError(f"{self.kind}s must be sorted and distinct; build them with of()")
        self._values = values
        self.appended = appended
        if appended and not self._index.is_unique:
            raise DataError(f"{self.kind}s must be distinct")

    @classmethod
    def of(cls, *columns: NDArray[Any]) -> Self:
        """Collect the distinct ids of several columns; if any column is text, all are text."""
        if any(column.dtype == object for column in columns):
            # Not numpy's own strings: they lose a NUL at the end.
            columns = tuple(np.array([str(x) for x in c.tolist()], dtype=object) for c in columns)
        # unique first: sorting the distinct strings only is many times faster for a long log
        return cls(np.sort(pd.unique(np.concatenate(columns))))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        kind = "integer" if self.is_integer else "text"
        return f"{type(self).__name__}({len(self):,} {kind} ids)"

    def with_more(self, ids: Iterable[Any]) -> Self:
        """These ids with new ones after them: nobody's number changes.

        Raises:
            DataError: one is known already or comes twice, or these ids are integers and one is
                not.
        """
        more = list(ids)
        if self.is_integer:
            text = pd.Series(more, dtype=object).astype(str)
            wrong = np.flatnonzero(~text.str.fullmatch(CANONICAL_INTEGER).to_numpy(dtype=bool))
            if len(wrong):
                raise DataError(
                    f"{self.kind} {more[wrong[0]]!r} is no integer, as the {len(self):,} known are"
                )
            values = np.array([int(printed) for printed in text], dtype=np.int64)
        else:
            values = np.array([str(one) for one in more], dtype=object)
        return type(self)(
            np.concatenate([self._values, values]), appended=self.appended + len(values)
        )

    @property
    def values(self) -> NDArray[Any]:
        """All ids in order, shape ``(n,)``; a copy would be wasteful, so do not write to it."""
        return self._values

    @property
    def is_integer(self) -> bool:
        """Whether ids are integers (else text)."""
        return self._values.dtype != object

    @property
    def digest(self) -> str:
        """The sha256 of all ids in order: what an index must have been built for."""
        text = "\n".join(map(str, self._values.tolist()))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _index(self) -> "pd.Index[Any]":
        """Made when an id is first looked for: who only writes ids does without it."""
        # not pandas' own kind of text, which it converts at every look-up
        index: pd.Index[Any] = pd.Index(self._values, dtype=self._values.dtype)
        return index

    def find(self, ids: Iterable[Any]) -> NDArray[np.int32]:
        """Return the number of each id, shape ``(n,)``, -1 where it is unknown.

        Integers and their printed form are the same id: 7 and "7" both find 7.
        """
        if self.is_integer and isinstance(ids, np.ndarray) and ids.dtype.kind == "i":
            return self._find(pd.Index(ids))
        wanted_ids = list(ids)
        if len(wanted_ids) <= FEW and {type(one) for one in wanted_ids} <= {str, int}:
            return np.array([self._find_one(str(one)) for one in wanted_ids], dtype=np.int32)
        text = pd.Series(wanted_ids, dtype=object).astype(str)
        if not self.is_integer:
            return self._find(pd.Index(text.astype(object), dtype=object))
        numbers = np.full(len(text), -1, dtype=np.int32)
        integers = text.str.fullmatch(CANONICAL_INTEGER).to_numpy(dtype=bool)
        wanted = pd.Index([int(printed) for printed in text[integers]])  # beyond 64 bits: unknown
        numbers[integers] = self._find(wanted)
        return numbers

    def _find_one(self, printed: str) -> int:
        """The number of an id, or -1: microseconds, where `find` takes pandas' setting up."""
        if self.is_integer and not re.fullmatch(CANONICAL_INTEGER, printed):
            return -1
        try:
            place: Any = self._index.get_loc(int(printed) if self.is_integer else printed)
        except (KeyError, OverflowError):  # beyond 64 bits
            return -1
        return int(place)

    def _find(self, ids: "pd.Index[Any]") -> NDArray[np.int32]:
        numbers: NDArray[np.int32] = self._index.get_indexer(ids).astype(np.int32)
        return numbers

    def numbers(self, ids: Iterable[Any]) -> NDArray[np.int32]:
        """Return the number of each id, shape ``(n,)``.

        Raises:
            DataError: an id is unknown.
        """
        wanted = list(ids)
        numbers = self.find(wanted)
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            raise DataError(
                f"{len(unknown)} unknown {self.kind}s, first: {str(wanted[unknown[0]])!r}; "
                f"known are {len(self):,} such as {str(next(iter(self._values), ''))!r}"
            )
        return numbers

    def ids(self, numbers: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the ids of numbers, any shape.

        Raises:
            DataError: a number is outside 0..n-1.
        """
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise DataError(f"{self.kind} numbers must be in 0..{len(self) - 1}")
        result: NDArray[Any] = self._values[numbers]
        return result


class UserIds(_Ids):
    """The users' ids in order."""

    kind = "user id"


class ItemIds(_Ids):
    """The items' ids in order."""

    kind = "item id"
