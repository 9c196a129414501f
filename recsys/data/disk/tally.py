"""The distinct ids of a log that passes by, and how many rows each has."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_text, is_missing
from recsys.data.disk.parquet import is_integer
from recsys.data.ids import parse_ids

__all__ = ["Ids", "Tally", "cleaned", "count_ids"]

LEAST = 1 << 22  # values that are gathered before they are counted together

Counted = tuple[Any, NDArray[np.int64]]  # distinct ids, int64 or Arrow strings, and their rows


def cleaned(column: Any) -> Any:
    """Ids (Arrow array) as integers or trimmed text; empty ones are missing."""
    if is_integer(column.type):
        return column.cast(pa.int64())
    text = pc.utf8_trim_whitespace(as_text(column))
    return pc.if_else(pa.array(is_missing(text)), None, text)


def count_ids(column: Any) -> Counted:
    """The distinct ids of a block and how often each comes."""
    ids = cleaned(column).drop_null()
    if is_integer(ids.type):
        values, counts = np.unique(ids.to_numpy(), return_counts=True)
        return values, counts
    pairs = pc.value_counts(ids)
    return pairs.field(0), pairs.field(1).to_numpy()


class Tally:
    """Counts of ids, gathered block by block; memory is bounded by the number of distinct ids."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._known: Counted | None = None
        self._more: list[Counted] = []

    def add(self, counted: Counted) -> None:
        """Take in what `count_ids` gives for a block."""
        self._more.append(counted)
        held = 0 if self._known is None else len(self._known[1])
        if sum(len(counts) for _, counts in self._more) > max(LEAST, held):
            self._merge()

    def _merge(self) -> Counted:
        parts = [*([] if self._known is None else [self._known]), *self._more]
        counts = np.concatenate([part[1] for part in parts])
        if all(isinstance(part[0], np.ndarray) for part in parts):
            values, places = np.unique(np.concatenate([p[0] for p in parts]), return_inverse=True)
        else:
            encoded = pa.concat_arrays([part[0] for part in parts]).dictionary_encode()
            values, places = encoded.dictionary, encoded.indices.to_numpy()
        summed = np.bincount(places, counts, minlength=len(values)).astype(np.int64)
        self._known, self._more = (values, summed), []
        return self._known

    def ids(self) -> "Ids":
        """All of them, in the order that they have as ids of a data set."""
        values, counts = self._merge()
        if not isinstance(values, np.ndarray):
            values = values.to_numpy(zero_copy_only=False).astype(object)
        return Ids.sorted(values, counts)


class Ids:
    """Distinct ids with numbers, their places."""

    def __init__(self, values: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Take distinct ids, int64 or text ``(n,)``, and the rows that each has, ``(n,)``."""
        self.values, self.counts = values, counts
        self._index: Any = pd.Index(values)
        if values.dtype == object:
            self._index = pa.array(values, pa.string())
        elif len(values):
            self._index.get_indexer(values[:1])  # makes its table, before threads look up

    @classmethod
    def sorted(cls, values: NDArray[Any], counts: NDArray[np.int64]) -> "Ids":
        """Take them in the order of a data set: by number where all are integers, else as text."""
        order = np.argsort(parse_ids(pd.Series(values)))
        return cls(values[order], counts[order])

    def left(self, used: NDArray[np.bool_]) -> "Ids | None":
        """The order in which those that are ``used`` are in the order of a data set; None: so now.

        That may differ where only text went: what is left may be integers.
        """
        order = np.argsort(parse_ids(pd.Series(self.values[used])))
        if bool((np.diff(order) > 0).all()):
            return None
        places = np.concatenate([np.flatnonzero(used)[order], np.flatnonzero(~used)])
        return Ids(self.values[places], self.counts[places])

    def __len__(self) -> int:
        return len(self.values)

    def numbers(self, column: Any) -> NDArray[np.int32]:
        """The number of each of a block's ids, int32 ``(n,)``; -1 where it is empty."""
        ids = cleaned(column)
        numbers: NDArray[np.int32]
        if self.values.dtype == object:
            places = pc.index_in(ids, self._index)
            numbers = pc.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int32)
            return numbers
        there = ids.is_valid().to_numpy(zero_copy_only=False)
        found = self._index.get_indexer(pc.fill_null(ids, 0).to_numpy())
        numbers = np.where(there, found, -1).astype(np.int32)
        return numbers
