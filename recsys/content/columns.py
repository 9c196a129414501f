"""What the columns of a catalogue become before an encoder reads them: texts, labels, numbers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = ["delimiters_of", "labels", "number_rows", "paths", "texts"]

DELIMITERS = "|;,"  # tried in this order
DELIMITED_SHARE = 0.05  # of the cells must hold a delimiter before cells are split at it


def texts(columns: pd.DataFrame) -> list[str | None]:
    """Join each item's cells into one text: ``"Heat. 1995. Action, Crime"``.

    Missing cells are skipped, lists joined by ", " (and so is text delimited by "|"), whole
    floats lose their ".0".

    Args:
        columns: one row an item.

    Returns:
        One text an item, None where all its cells are missing or blank.
    """
    pieces = [[_piece(cell) for cell in columns[name]] for name in columns]
    return [". ".join(filter(None, cells)) or None for cells in zip(*pieces, strict=True)]


def paths(columns: pd.DataFrame, folder: Path) -> list[Path | None]:
    """Read each item's cell as the path of a file, None where it is missing or blank.

    Args:
        columns: one row an item, one column.
        folder: where relative paths begin.

    Raises:
        DataError: there are several columns, cells that are no text, or addresses in the web.
    """
    if columns.shape[1] != 1:
        raise DataError(
            f"catalogue: columns {list(columns.columns)}: files are read from one column; "
            "make a [content.NAME] of each"
        )
    (name,) = columns.columns
    strange = [cell for cell in columns[name].dropna() if not isinstance(cell, str)]
    if strange:
        raise DataError(
            f"catalogue: column {name!r} holds {strange[0]!r}; expected paths of files, as text"
        )
    cells = [cell.strip() if isinstance(cell, str) else "" for cell in columns[name]]
    named = [cell for cell in cells if cell]
    if named and all(cell.startswith(("http://", "https://")) for cell in named):
        raise DataError(
            f"catalogue: column {name!r} holds web addresses ({named[0]}); download the files and "
            "give their paths"
        )
    return [folder / cell if cell else None for cell in cells]


def delimiters_of(columns: pd.DataFrame) -> tuple[str | None, ...]:
    """What the cells of each column are delimited by, None where they are one label each."""
    return tuple(_delimiter(columns[name].tolist()) for name in columns)


def labels(
    columns: pd.DataFrame, delimiters: Sequence[str | None] | None = None
) -> list[tuple[str, ...]]:
    """Collect each item's labels, in the order of its cells, ``()`` where it has none.

    A cell is a list, one label, or text delimited by "|", ";" or ",": the first of these that at
    least one cell in twenty of that column holds. Labels of several columns are kept apart by the
    column's name: ``"genre=Drama"``.

    Args:
        columns: one row an item.
        delimiters: of each column, where they are known from other rows.
    """
    lists = []
    known = delimiters_of(columns) if delimiters is None else delimiters
    for name, delimiter in zip(columns, known, strict=True):
        prefix = f"{name}=" if columns.shape[1] > 1 else ""
        cells = columns[name].tolist()
        lists.append([[prefix + label for label in _labels(cell, delimiter)] for cell in cells])
    return [tuple(label for cell in cells for label in cell) for cells in zip(*lists, strict=True)]


def number_rows(columns: pd.DataFrame) -> list[tuple[float, ...]]:
    """Read each item's cells as numbers, NaN where a cell is missing, infinite or no number.

    A column of dates ("01-Jan-1995", 1995-01-01) counts in years: 1995.0.

    Args:
        columns: one row an item.

    Raises:
        DataError: a column has cells, but none is a number or a date.
    """
    read = []
    for name in columns:
        column = _with_points(columns[name])
        numbers = _years(column)
        if numbers is None:
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        if np.isnan(numbers).all() and column.notna().any():
            first = column[column.notna()].iloc[0]
            raise DataError(
                f"catalogue: column {name!r} has no numbers, its first cell is {first!r}; "
                'name a column of numbers or dates, or use encoder = "categories"'
            )
        read.append(numbers.tolist())
    return list(zip(*read, strict=True))


def _with_points(column: pd.Series) -> pd.Series:
    """A column of decimal commas ("47,28") with points; any other as it is."""
    there = column.dropna()
    if not pd.api.types.is_string_dtype(there) or not len(there):
        return column
    cells = there.str.strip()
    has_comma = cells.str.fullmatch(r"[-+]?\d+,\d+")
    if not has_comma.any() or not (has_comma | cells.str.fullmatch(r"[-+]?\d*")).all():
        return column
    return column.str.strip().str.replace(",", ".", regex=False)


def _years(column: pd.Series) -> NDArray[np.float64] | None:
    """A column of dates in years, NaN where there is none; None when it holds no dates."""
    is_moment = pd.api.types.is_datetime64_any_dtype(column)
    if not is_moment and pd.to_numeric(column, errors="coerce").notna().any():
        return None
    dates = pd.to_datetime(column, errors="coerce", format="mixed", utc=True)
    if not dates.notna().any():
        return None
    years = dates.dt.year + (dates.dt.day_of_year - 1) / 366
    return np.asarray(years.to_numpy(na_value=np.nan), dtype=np.float64)


def _piece(cell: Any) -> str:
    """One cell as text, "" where it is missing."""
    if isinstance(cell, str):
        return ", ".join(cell.split("|")).strip() if "|" in cell else cell.strip()
    if isinstance(cell, list | tuple | set | np.ndarray):
        return ", ".join(filter(None, map(_piece, _ordered(cell))))
    if pd.isna(cell):
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))  # 1995.0: an integer column with gaps is read as floats
    return str(cell).removesuffix(" 00:00:00")  # a date that was read as a moment


def _labels(cell: Any, delimiter: str | None) -> list[str]:
    """The labels in one cell."""
    if isinstance(cell, list | tuple | set | np.ndarray):
        return [piece for piece in map(_piece, _ordered(cell)) if piece]
    if isinstance(cell, str):
        found = cell.split(delimiter) if delimiter else [cell]
        return [label.strip() for label in found if label.strip()]
    piece = _piece(cell)
    return [piece] if piece else []


def _ordered(cell: "list[Any] | tuple[Any, ...] | set[Any] | np.ndarray") -> Iterable[Any]:
    """The members of a cell in an order that does not change from run to run."""
    return sorted(cell, key=str) if isinstance(cell, set) else cell


def _delimiter(cells: list[Any]) -> str | None:
    """What a column's cells are delimited by, None where they are one label each."""
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    for delimiter in DELIMITERS:
        if sum(delimiter in cell for cell in filled) > DELIMITED_SHARE * len(filled):
            return delimiter
    return None
