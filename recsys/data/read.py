"""FILES -> TABLE: csv, tsv, jsonl and parquet, plain or in parts, as they are.

Text formats hold text and stay text here: "007" is not 7. Nothing is dropped: a line that is no row
of the table is kept as ``Malformed``, and every row remembers its number over all files.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.arrow import as_text, from_values
from recsys.data.delimited import Malformed, Part, read_delimited
from recsys.data.filetypes import (
    SUFFIXES,
    decode,
    format_of,
    has_table_name,
    looks_like,
    read_bytes,
)
from recsys.data.wording import counted
from recsys.errors import DataError

__all__ = [
    "Malformed",
    "Table",
    "all_columns_of",
    "expand",
    "missing_column",
    "name_of",
    "open_parquet",
    "read_table",
]

BUFFER = 1 << 20  # bytes that are read of a column at a time


@dataclass(frozen=True, eq=False)
class Table:
    """What files hold, before anything is judged.

    Attributes:
        name: how messages call it: the file, or the first of several.
        columns: the rows that could be read, ``n`` of them; text formats hold text.
        rows: the number of each, int64 ``(n,)``, counted from 0 over all files in their order,
            malformed lines included, header and empty lines not.
        malformed: the lines that are no rows.
        files: the names of the files in their order.
        first_rows: the row number at which each file begins, int64 ``(n_files,)``.
        n_rows: rows and malformed lines together.
        notes: what a user should know, such as a text that was not UTF-8.
    """

    name: str
    columns: pa.Table
    rows: NDArray[np.int64]
    malformed: tuple[Malformed, ...]
    files: tuple[str, ...]
    first_rows: NDArray[np.int64]
    n_rows: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, columns: pa.Table, notes: tuple[str, ...] = ()) -> "Table":
        """A table that does not come from files of rows (built-in sources)."""
        n = columns.num_rows
        files, first_rows = (Path(name).name,), np.zeros(1, np.int64)
        return cls(name, columns, np.arange(n), (), files, first_rows, n, notes)

    def column(self, name: str, used_as: str) -> pa.Array:
        """Return a column.

        Raises:
            DataError: there is none of this name; the message lists those there are.
        """
        if name in self.columns.column_names:
            return self.columns[name].combine_chunks()
        raise DataError(f"{self.name}: {missing_column(name, used_as, self.columns.column_names)}")

    def file_of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The name of the file that each row number lies in, object ``(n,)``."""
        place = np.searchsorted(self.first_rows, rows, side="right") - 1
        return np.array(self.files, dtype=object)[place]

    def with_column(self, name: str, values: pa.Array) -> "Table":
        """The table with one more column of ``n`` values."""
        return replace(self, columns=self.columns.append_column(name, values))

    def with_notes(self, notes: Sequence[str]) -> "Table":
        """The table with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def missing_column(name: str, used_as: str, columns: list[str]) -> str:
    """What to say of a column that is not there."""
    lower = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    hint = f"; did you mean {lower[near[0]]!r}?" if near else f"; name the {used_as} column"
    if columns and all(column.replace(".", "").isdigit() for column in columns):
        hint = "; the first line must be a header with the columns' names"
    return f"no {used_as} column {name!r}; there are {', '.join(columns)}{hint}"


def expand(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files to read in file-name order, folders taken apart, and notes.

    Raises:
        DataError: a path is missing, or a folder holds no table.
    """
    files, notes = [], []
    for path in paths:
        if not path.is_dir():
            files.append((path.name, path))
            continue
        inside = sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] not in "._")
        tables = [(str(p.relative_to(path)), p) for p in inside if has_table_name(p)]
        others = [p for p in inside if not has_table_name(p)]
        if not tables:
            raise DataError(f"{path}: the folder holds no table; expected {' '.join(SUFFIXES)}")
        if others:
            n = counted(len(others), "other file")
            notes.append(f"{path.name}: {n} not read, first {others[0].name}")
        files += tables
    return [path for _, path in sorted(files)], notes


def read_table(paths: Sequence[Path], *, delimiter: str | None = None) -> Table:
    """Read files or folders of parts as one table.

    Args:
        paths: in the order in which rows are counted; see ``expand``.
        delimiter: of delimited text; detected among ``, ; tab | space`` where it is None.

    Raises:
        DataError: a file is missing, empty, damaged, not what its name says, or without rows.
    """
    if not paths:
        raise DataError("no file given; name at least one")
    parts = [_read_file(path, delimiter) for path in paths]
    sizes = [part.columns.num_rows + len(part.malformed) for part in parts]
    first_rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    malformed = tuple(
        Malformed(line.row + int(first), line.reason, line.text)
        for part, first in zip(parts, first_rows, strict=False)
        for line in part.malformed
    )
    n_rows = int(first_rows[-1])
    is_row = np.ones(n_rows, dtype=bool)
    is_row[[line.row for line in malformed]] = False
    columns, notes = _concatenate([path.name for path in paths], [part.columns for part in parts])
    return Table(
        name=name_of(paths),
        columns=columns,
        rows=np.flatnonzero(is_row),
        malformed=malformed,
        files=tuple(path.name for path in paths),
        first_rows=first_rows[:-1],
        n_rows=n_rows,
        notes=(*(note for part in parts for note in part.notes), *notes),
    )


def _concatenate(names: list[str], tables: list[pa.Table]) -> tuple[pa.Table, list[str]]:
    """Put parts below one another; a column of differing types becomes text."""
    all_columns, notes = all_columns_of(names, [table.column_names for table in tables])
    columns = [
        _stack([_column_or_nulls(table, column) for table in tables]) for column in all_columns
    ]
    return pa.table(columns, names=all_columns), notes


def name_of(paths: Sequence[Path]) -> str:
    """What messages call files that are one table."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def all_columns_of(names: list[str], columns: list[list[str]]) -> tuple[list[str], list[str]]:
    """The columns that any of several files has, and a note of each that one lacks."""
    every = list(dict.fromkeys(column for some in columns for column in some))
    notes = []
    for column in every:
        having = [name for name, some in zip(names, columns, strict=True) if column in some]
        if len(having) < len(columns):
            lacking = next(name for name in names if name not in having)
            notes.append(f"{lacking}: no column {column!r}, which {having[0]} has")
    return every, notes


def _column_or_nulls(table: pa.Table, name: str) -> Any:
    if name in table.column_names:
        return table[name].combine_chunks()
    return pa.nulls(table.num_rows)


def _stack(parts: list[Any]) -> Any:
    """One array of several; text where their types differ."""
    types = {part.type for part in parts if not pa.types.is_null(part.type)}
    if len(types) > 1:
        return pa.concat_arrays([as_text(part) for part in parts])
    target = types.pop() if types else pa.string()
    return pa.concat_arrays([part.cast(target) for part in parts])


def _read_file(path: Path, delimiter: str | None) -> Part:
    kind = format_of(path)
    if kind == "parquet":
        return _read_parquet(path)
    text, note = decode(path, read_bytes(path))
    part = _read_jsonl(path, text) if kind == "jsonl" else read_delimited(path, text, delimiter)
    return Part(part.columns, part.malformed, (note,) if note else ())


def _read_parquet(path: Path) -> Part:
    with open_parquet(path) as file:
        return Part(file.read(), ())


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a parquet file; what is read of it while it is open may fail in the same way.

    Raises:
        DataError: it is missing, damaged, or not what its name says.
    """
    try:
        with path.open("rb") as file:
            kind = looks_like(file.read(4096))
        if kind == "empty":
            raise DataError(f"{path}: is empty; expected Parquet: copy it again, or take it out")
        if kind != "a Parquet file":
            raise DataError(f"{path}: is {kind}; expected Parquet as its name says: rename it")
        # no buffers of whole row groups: one may be larger than memory
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as opened:
            yield opened
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: damaged or truncated Parquet ({reason}); copy it again") from None


def _read_jsonl(path: Path, text: str) -> Part:
    lines = [line for line in text.split("\n") if line.strip()]  # splitlines cuts inside strings
    if lines[0].lstrip().startswith("["):
        raise DataError(f"{path}: is a JSON array; expected one object a line (JSON Lines)")
    objects = _parse_lines(lines)
    rows = [value for value in objects if isinstance(value, dict)]
    if not rows:
        raise DataError(f"{path}: no line is a JSON object; the first is {lines[0][:60]!r}")
    bad = [n for n, value in enumerate(objects) if not isinstance(value, dict)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [from_values([row.get(name) for row in rows]) for name in names]
    malformed = tuple(Malformed(n, "malformed line: not a JSON object", lines[n]) for n in bad)
    return Part(pa.table(columns, names=names), malformed)


def _parse_lines(lines: list[str]) -> list[Any]:
    """Return the value of each line, None where it is not JSON."""
    try:  # all at once is several times faster than line by line
        values = json.loads("[" + ",".join(lines) + "]")
        if len(values) == len(lines):
            return list(values)
    except ValueError:
        pass
    return [_parse_line(line) for line in lines]


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
