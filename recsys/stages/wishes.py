"""The files a user may hand to ``recommend``: users, exclusions, candidates."""

from pathlib import Path
from typing import Any

import numpy as np

from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.data.read import Table, read_table
from recsys.errors import DataError

__all__ = ["read_exclusions", "read_ids"]


def read_ids(path: Path, column: str) -> list[Any]:
    """Read ids from a table with the given column, or from a text file with one id a line.

    Raises:
        DataError: the file is missing or holds no id.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a list of {column}s, one a line")
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        ids = [line.strip() for line in lines if line.strip()]
    else:
        ids = _ids(read_table((path,)), column)
    if not ids:
        raise DataError(f"{path}: holds no {column}")
    return ids


def read_exclusions(
    path: Path | None, user_ids: UserIds, item_ids: ItemIds
) -> tuple[list[Any], Ragged | None]:
    """Read what is not to be recommended: to anybody, or (with a ``user_id`` column) to one user.

    Returns:
        Item ids for nobody, and item numbers per user, ``n_users`` rows, or None.

    Raises:
        DataError: the file cannot be read, or names an unknown user or item.
    """
    if path is None:
        return [], None
    table = None if path.suffix == ".txt" else read_table((path,))
    if table is None or "user_id" not in table.columns.column_names:
        return read_ids(path, "item_id"), None
    users = user_ids.numbers(_ids(table, "user_id"))
    items = item_ids.numbers(_ids(table, "item_id"))
    order = np.argsort(users, kind="stable")
    counts = np.bincount(users, minlength=len(user_ids))
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return [], Ragged(indptr, items[order])


def _ids(table: Table, column: str) -> list[Any]:
    ids: list[Any] = table.column(column, "ids").drop_null().to_pylist()
    return ids
