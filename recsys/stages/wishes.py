"""The files a user may hand to ``recommend``: users, exclusions, candidates."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from recsys.data.arrow import as_text
from recsys.data.filetypes import decode, read_bytes
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.data.read import Table, read_table
from recsys.errors import DataError

__all__ = ["read_exclusions", "read_ids"]


def read_ids(path: Path, *names: str) -> list[str]:
    """Read distinct ids, in their order, from a table or from a ``.txt`` with one id a line.

    Args:
        path: of the file.
        names: what the column may be called, the best name first.

    Raises:
        DataError: the file is missing or holds no id.
    """
    if path.suffix == ".txt":
        text, _ = decode(path, read_bytes(path))
        lines = [line.strip() for line in text.splitlines()]
        ids = [line for line in lines if line and line not in names]
    else:
        ids = [value for value in _column(read_table((path,)), names) if value]
    if not ids:
        raise DataError(f"{path}: holds no {names[0]}; expected one id a line, or a column of them")
    return list(dict.fromkeys(ids))


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
        return read_ids(path, *item_names), None
    users, items = _column(table, user_names), _column(table, item_names)
    for row, pair in enumerate(zip(users, items, strict=True)):
        if not all(pair):
            raise DataError(f"{path}: row {row} is {pair}, expected a user and an item")
    user_numbers, item_numbers = user_ids.numbers(users), item_ids.numbers(items)
    order = np.argsort(user_numbers, kind="stable")
    counts = np.bincount(user_numbers, minlength=len(user_ids))
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return [], Ragged(indptr, item_numbers[order])


def _column(table: Table, names: tuple[str, ...]) -> list[Any]:
    """The trimmed text of the first of the named columns that is there; None where missing."""
    there = [name for name in names if name in table.columns.column_names]
    column = table.column(there[0] if there else names[0], "ids")
    values: list[Any] = pc.utf8_trim_whitespace(as_text(column)).to_pylist()
    return values
