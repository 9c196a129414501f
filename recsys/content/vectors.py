"""Vectors that came ready-made: a ``.npy`` with ids beside it, or a parquet with a list column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.content.encoder import Encoded
from recsys.data.ids import ItemIds
from recsys.errors import ConfigError, DataError

__all__ = ["read_vectors"]

IDS_CHOICES = 'a file with one id a line, a .npy of ids, "items" or "row"'


@dataclass(frozen=True, eq=False)
class _Table:
    """What a vector file holds.

    Attributes:
        matrix: ``(n, dim)``, maybe on disk.
        items: the item number of each row, -1 where the data set has no such item, ``(n,)``.
    """

    matrix: NDArray[Any]
    items: NDArray[np.int32]


def read_vectors(
    path: Path,
    ids: str | None,
    missing: Literal["nan", "zero"],
    item_ids: ItemIds,
    catalogue_rows: NDArray[np.int64],
) -> tuple[Encoded, tuple[str, ...]]:
    """Read one vector per item.

    Args:
        path: ``.npy`` of numbers ``(n, dim)``, or parquet with an id column and a list column.
        ids: for ``.npy``: a text file with one id a line, a ``.npy`` of ids, ``"items"`` (row i
            belongs to row i of the catalogue) or ``"row"`` (the row number is the item id); for
            parquet: the name of the id column, which may be left out if there is one other column.
        missing: what marks a row as absent: all NaN, or all zero.
        item_ids: the items of the data set.
        catalogue_rows: each item's row in the catalogue file, -1 where it lacks it, ``(n_items,)``.

    Returns:
        Vectors ``(n_items, dim)`` with presence, and notes; items without a row are absent.

    Raises:
        ConfigError: ``ids`` is needed and not given.
        DataError: the file is no such thing, counts differ, an id comes twice, a vector is partly
            NaN or infinite, or no id is an item.
    """
    if path.suffix in {".parquet", ".pq"}:
        table = _read_parquet(path, ids, missing, item_ids)
    else:
        table = _read_npy(path, ids, item_ids, catalogue_rows)
    known = np.flatnonzero(table.items >= 0)
    with np.errstate(over="ignore"):  # too large for float32: infinite, and refused below
        rows = np.asarray(table.matrix[known], dtype=np.float32)  # only now from disk
    present = _present(rows, known, missing, path)
    vectors = np.zeros((len(item_ids), rows.shape[1]), dtype=np.float32)
    vectors[table.items[known[present]]] = rows[present]
    is_present = np.zeros(len(item_ids), dtype=np.bool_)
    is_present[table.items[known[present]]] = True
    unknown = len(table.items) - len(known)
    note = f"{path.name}: {unknown:,} of {len(table.items):,} vectors are of no item of the data"
    return Encoded(vectors, is_present), (note,) if unknown else ()


def _read_npy(
    path: Path, ids: str | None, item_ids: ItemIds, catalogue_rows: NDArray[np.int64]
) -> _Table:
    """A ``.npy`` and the items of its rows."""
    matrix = _load_npy(path)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.shape[1] == 0:
        raise DataError(
            f"{path}: expected numbers of shape (rows, width), "
            f"got {matrix.dtype} of shape {matrix.shape}"
        )
    if ids is None:
        raise ConfigError(f"{path}: whose vectors are these? give ids = {IDS_CHOICES}")
    if ids == "items":
        n_rows = int(catalogue_rows.max(initial=-1)) + 1
        _check_count(path, matrix, n_rows, "rows in the catalogue")
        items = np.full(len(matrix), -1, dtype=np.int32)
        listed = np.flatnonzero(catalogue_rows >= 0)
        items[catalogue_rows[listed]] = listed
        return _Table(matrix, items)
    if ids == "row":
        names: Sequence[Any] = range(len(matrix))
    else:
        names = _read_ids(Path(ids))
        _check_count(path, matrix, len(names), f"ids in {ids}")
    return _Table(matrix, _find_items(path, names, item_ids))


def _read_parquet(path: Path, id_column: str | None, missing: str, item_ids: ItemIds) -> _Table:
    """The list column of a parquet as a matrix, null marked as missing, and its rows' items."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as parquet: {_first_line(error)}") from None
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    lists = [field.name for field in table.schema if any(is_a(field.type) for is_a in kinds)]
    others = [name for name in table.column_names if name not in lists]
    id_column = others[0] if id_column is None and len(others) == 1 else id_column
    if len(lists) != 1 or id_column not in others:
        raise DataError(
            f"{path}: expected one list column and an id column (name it with ids = ...), "
            f"got lists {lists} and {others}"
        )
    column = table.column(lists[0]).combine_chunks()
    widths = np.asarray(column.value_lengths().drop_null())
    if not len(widths) or widths.min() != widths.max() or widths[0] == 0:
        raise DataError(
            f"{path}: all lists of {lists[0]!r} must have one width, got "
            f"{sorted(set(widths.tolist()))[:5]}"
        )
    matrix = np.full((len(column), int(widths[0])), np.nan if missing == "nan" else 0.0)
    there = np.asarray(column.is_valid())
    matrix[there] = np.asarray(column.drop_null().flatten(), dtype=float).reshape(-1, widths[0])
    names = table.column(id_column).to_pylist()
    return _Table(matrix, _find_items(path, names, item_ids))


def _load_npy(path: Path) -> NDArray[Any]:
    """A ``.npy``, not read into memory, and never unpickled."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be read as a .npy of plain numbers or text ({_first_line(error)}); "
            "write it with numpy.save(path, array.astype('float32'))"
        ) from None
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path}: is an .npz; write one array with numpy.save")
    return loaded


def _read_ids(path: Path) -> list[Any]:
    """The ids of a file, one a line, or of a ``.npy``."""
    if path.suffix == ".npy":
        loaded = _load_npy(path)
        if loaded.ndim != 1 or loaded.dtype.kind not in "iuU":
            raise DataError(
                f"{path}: expected a row of integers or text, "
                f"got {loaded.dtype} of shape {loaded.shape}"
            )
        listed: list[Any] = loaded.tolist()
        return listed
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as ids ({_first_line(error)}); ids = {IDS_CHOICES}"
        ) from None
    names = [line.strip() for line in lines]
    if "" in names:
        raise DataError(f"{path}: line {names.index('') + 1} is empty; one id a line")
    return names


def _find_items(path: Path, names: Sequence[Any], item_ids: ItemIds) -> NDArray[np.int32]:
    """The item number of each id, -1 where unknown, ``(n,)``; each item at most once."""
    items = item_ids.find(names)
    known = np.flatnonzero(items >= 0)
    if not len(known):
        first = names[0] if len(names) else "none at all"
        raise DataError(
            f"{path}: none of its {len(names):,} ids is an item of the data set; "
            f"the first is {first!r}, items are such as {str(item_ids.values[0])!r}"
        )
    _, firsts, counts = np.unique(items[known], return_index=True, return_counts=True)
    twice = firsts[counts > 1]
    if len(twice):
        raise DataError(
            f"{path}: {len(twice):,} ids come more than once, first: {names[known[twice[0]]]!r}; "
            "keep one vector an item"
        )
    return items


def _present(
    rows: NDArray[np.float32], places: NDArray[np.intp], missing: str, path: Path
) -> NDArray[np.bool_]:
    """Which rows ``(n, dim)`` are there, ``(n,)``; a row is wholly there or wholly missing."""
    is_bad = ~np.isfinite(rows)
    absent = np.isnan(rows).all(axis=1) if missing == "nan" else (rows == 0).all(axis=1)
    broken = np.flatnonzero(is_bad.any(axis=1) & ~absent)
    if len(broken):
        raise DataError(
            f"{path}: {len(broken):,} vectors hold NaN or infinity, first: row "
            f'{places[broken[0]]}; expected numbers, or with missing = "nan" rows that are wholly '
            f'NaN (now missing = "{missing}")'
        )
    return np.asarray(~absent)


def _check_count(path: Path, matrix: NDArray[Any], expected: int, what: str) -> None:
    """One vector for each of ``what``."""
    if len(matrix) != expected:
        raise DataError(
            f"{path}: {len(matrix):,} vectors for {expected:,} {what}; they must be as many"
        )


def _first_line(error: Exception) -> str:
    """An error's message without its further lines."""
    return str(error).strip().partition("\n")[0]
