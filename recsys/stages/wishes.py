"""The files a user may hand to ``recommend``: users, exclusions, candidates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_text
from recsys.data.filetypes import decode, format_of, read_bytes
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.data.read import Table, read_table
from recsys.errors import DataError

__all__ = ["read_exclusions", "read_ids"]


def read_ids(path: Path, known: UserIds | ItemIds, *names: str) -> list[str]:
    """Read distinct ids, in their order, from a table or from a ``.txt`` with one id a line.

    Args:
        path: of the file.
        known: the ids that there are.
        names: what the column may be called, the best name first.

    Raises:
        DataError: the file is missing, holds no id, or one that is unknown.
    """
    if path.suffix == ".txt":
        text, _ = decode(path, read_bytes(path))
        lines = [line.strip() for line in text.splitlines()]
        ids = {n: line for n, line in enumerate(lines, 1) if line and line not in names}
    else:
        table = read_table((path,))
        rows = zip(_places(table), _column(table, names), strict=True)
        ids = {n: value for n, value in rows if value}
    if not ids:
        raise DataError(f"{path}: holds no {names[0]}; expected one id a line, or a column of them")
    _numbers(path, list(ids), list(ids.values()), known)
    return list(dict.fromkeys(ids.values()))


def read_exclusions(
    path: Path | None,
    user_ids: UserIds,
    item_ids: ItemIds,
    *,
    user_names: tuple[str, ...],
    item_names: tuple[str, ...],
) -> tuple[list[str], Ragged | None]:
    """Read what is not to be recommended: to anybody, or (with a column of users) to one user.

    Returns:
        Item ids for nobody, and item numbers per user, ``n_users`` rows, or None.

    Raises:
        DataError: the file cannot be read, a row lacks its user or item, or names an unknown one.
    """
    if path is None:
        return [], None
    table = None if path.suffix == ".txt" else read_table((path,))
    if table is None or not set(user_names) & set(table.columns.column_names):
        return read_ids(path, item_ids, *item_names), None
    users, items = _column(table, user_names), _column(table, item_names)
    places = _places(table)
    for place, *pair in zip(places, users, items, strict=True):
        if not all(pair):
            raise DataError(f"{path}: {_at(path, place)} is {pair}, expected a user and an item")
    user_numbers = _numbers(path, places, users, user_ids)
    item_numbers = _numbers(path, places, items, item_ids)
    order = np.argsort(user_numbers, kind="stable")
    counts = np.bincount(user_numbers, minlength=len(user_ids))
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return [], Ragged(indptr, item_numbers[order])


def _places(table: Table) -> list[int]:
    """The number of each row, from 0."""
    return [int(row) for row in table.rows]


def _at(path: Path, place: int) -> str:
    """A place as an editor shows it; rows of Parquet count from 0. Empty lines do not count."""
    before = {"delimited": 2, "jsonl": 1, "parquet": None}[format_of(path)]  # a header, and from 1
    if path.suffix == ".txt":
        return f"line {place}"
    return f"row {place}" if before is None else f"line {place + before}"


def _numbers(
    path: Path, places: Sequence[int], ids: Sequence[str], known: UserIds | ItemIds
) -> NDArray[np.int32]:
    """The numbers of ids, or an error that says where in the file the first unknown one is."""
    numbers = known.find(ids)
    unknown = np.flatnonzero(numbers < 0)
    if len(unknown):
        first = int(unknown[0])
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise DataError(
            f"{path}: {_at(path, places[first])}: unknown {known.kind} {ids[first]!r}{more}; known "
            f"are {len(known):,} such as {str(next(iter(known.values), ''))!r}"
        )
    return numbers


def _column(table: Table, names: tuple[str, ...]) -> list[Any]:
    """The trimmed text of the first of the named columns that is there; None where missing."""
    there = [name for name in names if name in table.columns.column_names]
    column = table.column(there[0] if there else names[0], "ids")
    values: list[Any] = pc.utf8_trim_whitespace(as_text(column)).to_pylist()
    return values
