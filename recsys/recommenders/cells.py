"""A table's cells as conditions ask for them: flags, numbers, moments, texts or labels.

What a column is depends on what it is asked for: ``"1"`` out of a csv is a number to ``stars > 0``
and a flag to ``stars``. Every answer comes with ``there``: which rows hold anything at all.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from recsys.content.columns import delimiters_of, labels
from recsys.errors import ConfigError

__all__ = ["Cells", "Codes", "Kind", "Labels", "Values"]

Kind = Literal["flags", "numbers", "moments", "lists", "text"]
Bools = NDArray[np.bool_]
Found = TypeVar("Found")

FLAGS = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0"), False),
}
KINDS_BY_TYPE: dict[str, Kind] = {  # in this order
    "is_bool_dtype": "flags",
    "is_numeric_dtype": "numbers",
    "is_datetime64_any_dtype": "moments",
}
KINDS_BY_CELL: tuple[tuple[Any, Kind], ...] = (
    (bool | np.bool_, "flags"),
    (int | float | np.number, "numbers"),
    (list | tuple | set | np.ndarray, "lists"),
)
SHOWN = 12  # names of columns in a message
TRIED = 100  # texts that are read as dates before all are


class Values(NamedTuple):
    """Flags, numbers, or moments (int64, microseconds since 1970), one a row."""

    values: NDArray[Any]  # (n,)
    there: Bools  # (n,)


class Codes(NamedTuple):
    """Texts, each distinct one once."""

    codes: NDArray[np.intp]  # (n,), -1 where there is none
    texts: pd.Index  # (n_distinct,)


class Labels(NamedTuple):
    """Which rows carry which labels, a pair for each."""

    rows: NDArray[np.int64]  # (m,)
    codes: NDArray[np.intp]  # (m,)
    texts: pd.Index  # (n_distinct,)
    there: Bools  # (n,), whether a row carries any


@dataclass(frozen=True, eq=False)
class Cells:
    """The columns of a table, each read once for each kind of question.

    Attributes:
        frame: the table, n rows.
        name: how messages call it.
        delimiters: of columns whose cells hold several labels, where they are known from another
            table; else they are found, see `recsys.content.columns.labels`.
    """

    frame: pd.DataFrame
    name: str
    delimiters: Mapping[str, tuple[str | None]] = field(default_factory=dict)
    _read: dict[tuple[str, str], Any] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.frame)

    def like(self, row: Mapping[str, Any], columns: Collection[str]) -> "Cells":
        """One row that is no part of the table, such as somebody new: ``{"age": 30}``.

        Args:
            row: what is told.
            columns: that will be asked for, each one of the table.
        """
        split = {name: self._once("split", name, _delimiter) for name in columns}
        cells = pd.DataFrame({name: [row.get(name)] for name in columns}, index=[0], dtype=object)
        return Cells(cells, self.name, split)

    def column(self, name: str) -> pd.Series:
        """A column.

        Raises:
            ConfigError: there is none of that name.
        """
        known = [str(column) for column in self.frame.columns]
        if name not in known:
            more = ", ..." if len(known) > SHOWN else ""
            there = ", ".join(known[:SHOWN]) + more if known else "none"
            raise ConfigError(f"the {self.name} has no column {name!r}; it has: {there}")
        return self.frame.iloc[:, known.index(name)]

    def kind(self, name: str) -> Kind:
        """What a column's cells are as they lie there; ``"text"`` where there is nothing."""
        return self._once("kind", name, self._kind)

    def flags(self, name: str) -> Values:
        """A column of true and false, as such, as words (yes, no) or as 1 and 0.

        Raises:
            ConfigError: it holds something else.
        """
        return self._once("flags", name, self._flags)

    def numbers(self, name: str) -> Values:
        """A column of numbers, as such or as texts.

        Raises:
            ConfigError: it holds something else.
        """
        return self._once("numbers", name, self._numbers)

    def moments(self, name: str) -> Values:
        """A column of dates or times, as such or as texts; without a zone they are UTC.

        Raises:
            ConfigError: it holds something else.
        """
        return self._once("moments", name, self._moments)

    def texts(self, name: str) -> Codes:
        """A column of texts, trimmed; empty ones are not there.

        Raises:
            ConfigError: it holds something else.
        """
        return self._once("texts", name, self._texts)

    def labels(self, name: str) -> Labels:
        """The labels in each cell, which is a list, a text between delimiters, or one label."""
        return self._once("labels", name, self._labels)

    def _once(self, what: str, name: str, read: Callable[[pd.Series], Found]) -> Found:
        """Read a column, or remember what was read, or why it could not be: texts are many."""
        found: Found | ConfigError | None = self._read.get((what, name))
        if found is None:  # two threads may do it twice, to the same end
            column = self.column(name)
            try:
                found = read(column)
            except ConfigError as error:
                found = error
            self._read[what, name] = found
        if isinstance(found, ConfigError):
            raise ConfigError(str(found))
        return found

    def _kind(self, column: pd.Series) -> Kind:
        for known, kind in KINDS_BY_TYPE.items():
            if getattr(types, known)(column):
                return kind
        held = {type(cell) for cell in column.dropna()} if column.dtype == object else set()
        for cells, kind in KINDS_BY_CELL:
            if held and all(issubclass(one, cells) for one in held):
                return kind
        return "text"

    def _flags(self, column: pd.Series) -> Values:
        if types.is_bool_dtype(column) and not column.isna().any():
            values = column.to_numpy(dtype=bool)
            return Values(values, np.ones(len(column), dtype=bool))
        codes, words = self._texts(column)
        known = [FLAGS.get(str(word).casefold()) for word in words]
        if None in known:
            first = column.iloc[np.argmax(codes == known.index(None))]
            wanted = f"true and false, or a comparison such as {column.name} == ..."
            raise self._mismatch(column, first, wanted)
        there = codes >= 0
        return Values(np.array([*known, False], dtype=bool)[codes] & there, there)

    def _numbers(self, column: pd.Series) -> Values:
        kind = self.kind(str(column.name))
        if kind in ("flags", "lists", "moments"):
            raise self._mismatch(column, column.dropna().iloc[0], "numbers")
        if types.is_integer_dtype(column) and not column.isna().any():
            return Values(column.to_numpy(), np.ones(len(column), dtype=bool))
        said = column.notna().to_numpy(dtype=bool)
        if kind == "text":
            said = self.texts(str(column.name)).codes >= 0
        read = pd.to_numeric(column, errors="coerce")
        values = read.to_numpy(dtype=np.float64, na_value=np.nan)
        there = ~np.isnan(values)
        if (said & ~there).any():
            raise self._mismatch(column, column.iloc[np.argmax(said & ~there)], "numbers")
        return Values(values, there)

    def _moments(self, column: pd.Series) -> Values:
        if self.kind(str(column.name)) in ("flags", "lists", "numbers"):
            raise self._mismatch(column, column.dropna().iloc[0], "dates")
        codes, texts = self._texts(column)
        for some in (texts[:TRIED], texts):  # a million titles take minutes to be found no dates
            try:
                read = pd.to_datetime(some, format="mixed", utc=True, errors="coerce")
            except (ValueError, OverflowError, TypeError) as error:
                raise ConfigError(f"column {column.name!r}: no dates ({error})") from None
            if read.isna().any():
                raise self._mismatch(column, some[read.isna()][0], "dates")
        since = np.append(read.as_unit("us").asi8, 0)
        return Values(since[codes], codes >= 0)

    def _texts(self, column: pd.Series) -> Codes:
        if self.kind(str(column.name)) == "lists":
            raise ConfigError(f"column {column.name!r} holds lists; write 'label' in {column.name}")
        trimmed = column.astype("string").str.strip()
        codes, texts = pd.factorize(trimmed.mask(trimmed == ""))
        return Codes(codes, pd.Index(texts, dtype=object))

    def _labels(self, column: pd.Series) -> Labels:
        name = str(column.name)
        known = self.delimiters.get(name) or _delimiter(column)
        if self.kind(name) == "lists":
            cells = np.arange(len(column))
            carried = labels(column.to_frame(), known)
        else:  # of cells that say the same, one is read
            cells, texts = self.texts(name)
            carried = [*labels(pd.DataFrame({name: texts}), known), ()]
        counts = np.array([len(cell) for cell in carried], dtype=np.int64)
        codes, distinct = pd.factorize(np.array([s for c in carried for s in c], dtype=object))
        of_rows = counts[cells]
        starts = np.cumsum(counts)[cells] - of_rows
        places = np.arange(of_rows.sum()) - np.repeat(np.cumsum(of_rows) - of_rows, of_rows)
        return Labels(
            np.repeat(np.arange(len(column)), of_rows),
            codes[np.repeat(starts, of_rows) + places],
            pd.Index(distinct, dtype=object),
            of_rows > 0,
        )

    def _mismatch(self, column: pd.Series, cell: Any, wanted: str) -> ConfigError:
        shown = repr(str(cell)[:40]) if isinstance(cell, str) else str(cell)[:40]
        return ConfigError(f"column {column.name!r} holds {shown}; expected {wanted}")


def _delimiter(column: pd.Series) -> tuple[str | None]:
    (found,) = delimiters_of(column.to_frame())
    return (found,)
