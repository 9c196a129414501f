"""TABLE -> ATTRIBUTES: what is known of items (the catalogue) and of users, one row an id."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_text, is_missing, mask, to_frame
from recsys.data.ids import ItemIds, UserIds, parse_ids
from recsys.data.read import Table
from recsys.data.wording import counted
from recsys.errors import DataError

__all__ = ["Attributes", "align", "read_attributes"]

INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"  # no leading zeros: a postal code is text
DECIMAL = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?$"


@dataclass(frozen=True, eq=False)
class Attributes:
    """A catalogue, or the same for users, with distinct ids.

    Attributes:
        name: how messages call it.
        ids: int64 or object (text) ``(n,)``.
        rows: the row number of each in its file, int64 ``(n,)``.
        columns: all columns but the key, ``n`` rows.
        notes: rows that could not be used.
    """

    name: str
    ids: NDArray[Any]
    rows: NDArray[np.int64]
    columns: pa.Table
    notes: tuple[str, ...] = ()


def read_attributes(table: Table, key: str, kind: str) -> Attributes:
    """Take the ids out of a table and type its columns.

    A text column of whole numbers becomes integers and one of decimal numbers floats, unless one
    has leading zeros ("007" is text) or too many digits. Empty is missing.

    Raises:
        DataError: there is no such column, or an id comes twice.
    """
    text = pc.utf8_trim_whitespace(as_text(table.column(key, f"{kind} id")))
    empty = is_missing(text)
    there = np.flatnonzero(~empty)
    ids = text.take(pa.array(there)).to_pandas()
    rows = table.rows[there]
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].iloc[0]
        places = " and ".join(str(row) for row in rows[(ids == twice).to_numpy()][:2])
        repeated = counted(int(ids.duplicated().sum()), "repeated id")
        raise DataError(
            f"{table.name}: column {key!r} has {repeated}, first {twice!r} in rows {places}; "
            f"expected one row for each {kind}: leave only one"
        )
    notes = list(table.notes)
    if empty.any():
        first = f"first row {table.rows[empty][0]}"
        n = counted(int(empty.sum()), "row")
        notes.append(f"{table.files[0]}: {n} without an id left out, {first}")
    if table.malformed:
        first = f"first row {table.malformed[0].row}, {table.malformed[0].reason}"
        n = counted(len(table.malformed), "line")
        notes.append(f"{table.files[0]}: {n} left out, {first}")
    columns = table.columns.drop_columns([key]).take(pa.array(there))
    typed = [_typed(column.combine_chunks()) for column in columns.columns]
    columns = pa.table(typed, names=columns.column_names)
    return Attributes(table.files[0], parse_ids(ids), rows, columns, tuple(notes))


def _typed(column: Any) -> Any:
    """The narrowest of integers, floats and text that holds a column; lists stay lists."""
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64()) if kind != pa.uint64() else column
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_boolean(kind) or pa.types.is_list(kind) or pa.types.is_temporal(kind):
        return column
    text = as_text(column)
    missing = is_missing(text)
    text = pc.if_else(pa.array(missing), None, text)
    for pattern, target in ((INTEGER, pa.int64()), (DECIMAL, pa.float64())):
        if not missing.all() and mask(pc.match_substring_regex(text, pattern))[~missing].all():
            return text.cast(target)
    return text


def align(
    attributes: Attributes | None, ids: ItemIds | UserIds, n_logged: int
) -> tuple[pd.DataFrame, NDArray[np.int64], tuple[str, ...]]:
    """Bring attributes into the order of ids, ``n_logged`` of which are in the log.

    Returns:
        A frame of ``len(ids)`` rows, missing where the table has no such id; the row number of each
        id in its file, -1 where there is none, int64 ``(len(ids),)``; notes. Without a table: no
        columns, and the numbers of the ids.

    Raises:
        DataError: the log and the table have no id in common.
    """
    if attributes is None:
        rows = np.arange(len(ids), dtype=np.int64)
        return pd.DataFrame(index=pd.RangeIndex(len(ids))), rows, ()
    numbers = ids.find(attributes.ids)  # -1: a user who is not in the log
    place = np.full(len(ids), -1, dtype=np.int64)
    place[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)
    absent = place < 0
    columns = attributes.columns.take(pa.array(place, mask=absent))
    notes = list(attributes.notes)
    if absent.sum() == n_logged:
        examples = ", ".join(map(str, attributes.ids[:3])) or "none"
        logged = ", ".join(map(str, ids.values[absent][:3]))
        raise DataError(
            f"{attributes.name}: has no {ids.kind} of the log; its ids are {examples}..., those of "
            f"the log {logged}...: name the columns that hold the same ids"
        )
    if absent.any():
        first = repr(str(ids.values[absent][0]))
        n = counted(int(absent.sum()), ids.kind)
        notes.append(f"{attributes.name}: lacks {n} of the log, first {first}")
    rows = np.where(absent, -1, attributes.rows[place]) if len(attributes.rows) else place
    return to_frame(columns), rows.astype(np.int64), tuple(notes)
