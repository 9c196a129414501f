"""The parquet files of a log, read block by block: the same columns as `read_table` gives at once.

Types are those of the files together. Where they differ between files, or where floats may all be
whole, a column is text that depends on more than a block: that is looked up in the whole of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.arrow import all_whole, as_text
from recsys.data.filetypes import format_of
from recsys.data.read import (
    Table,
    all_columns_of,
    expand,
    missing_column,
    name_of,
    open_parquet,
)
from recsys.errors import ConfigError, DataError

__all__ = ["BLOCK_ROWS", "ParquetLog", "is_integer", "rows_of_parquet"]

BLOCK_ROWS = 1 << 20


def is_integer(kind: Any) -> bool:
    """Whether 64 bits with a sign hold all values of an Arrow type: ids that need no text."""
    return bool(pa.types.is_integer(kind)) and kind != pa.uint64()


def rows_of_parquet(paths: Sequence[Path]) -> int | None:
    """How many rows the files of a log have, by what they say themselves; None: not all parquet."""
    files, _ = expand(paths)
    if any(not path.is_file() or format_of(path) != "parquet" for path in files):
        return None
    rows = 0
    for path in files:
        with open_parquet(path) as opened:
            rows += int(opened.metadata.num_rows)
    return rows


@dataclass(frozen=True, eq=False)
class ParquetLog:
    """The files of a log.

    Attributes:
        paths: in the order in which rows are counted.
        schemas: of each.
        first_rows: the row number at which each file begins, int64 ``(n_files,)``.
        n_rows: of all.
        columns: the names that any file has.
        notes: what a user should know.
        block_rows: how many rows are read at a time, at most.
    """

    paths: tuple[Path, ...]
    schemas: tuple[Any, ...]
    first_rows: NDArray[np.int64]
    n_rows: int
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    block_rows: int = BLOCK_ROWS
    _whole: dict[tuple[str, int], bool] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Sequence[Path], *, block_rows: int = BLOCK_ROWS) -> Self:
        """Look at the files, not at their rows.

        Raises:
            DataError: a file is missing, damaged, or not what its name says.
            ConfigError: one is not parquet.
        """
        files, notes = expand(paths)
        schemas, sizes = [], []
        for path in files:
            if path.is_file() and format_of(path) != "parquet":
                raise ConfigError(
                    f'data.storage = "disk": {path} is not parquet; write it as parquet (such as '
                    "with pyarrow.csv.open_csv and pyarrow.parquet.ParquetWriter, block by block), "
                    'or take storage = "memory"'
                )
            with open_parquet(path) as opened:
                schemas.append(opened.schema_arrow)
                sizes.append(opened.metadata.num_rows)
        columns, more = all_columns_of([path.name for path in files], [s.names for s in schemas])
        first_rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(
            tuple(files),
            tuple(schemas),
            first_rows[:-1],
            int(first_rows[-1]),
            tuple(columns),
            (*more, *notes),
            block_rows,
        )

    @property
    def name(self) -> str:
        """How messages call it."""
        return name_of(self.paths)

    def check_column(self, name: str, used_as: str) -> None:
        """Refuse a column that no file has.

        Raises:
            DataError: the message lists those there are.
        """
        if name not in self.columns:
            raise DataError(f"{self.name}: {missing_column(name, used_as, list(self.columns))}")

    def type_of(self, column: str) -> Any:
        """The type that all files have a column in; text where they differ."""
        kinds = {s.field(column).type for s in self.schemas if column in s.names}
        kinds = {kind for kind in kinds if not pa.types.is_null(kind)}
        return kinds.pop() if len(kinds) == 1 else pa.string()

    def blocks(
        self, columns: Sequence[str], *, as_they_print: Sequence[str] = (), rows: int | None = None
    ) -> Iterator[Table]:
        """Yield the rows in their order, some at a time.

        Args:
            columns: which.
            as_they_print: those of them whose floats are text, or integers where all are whole.
            rows: how many at a time, at most; None: ``block_rows``.

        Raises:
            DataError: a file is damaged.
        """
        columns = list(dict.fromkeys(columns))
        for number, path in enumerate(self.paths):
            first = int(self.first_rows[number])
            there = [name for name in columns if name in self.schemas[number].names]
            for batch in self._batches(path, there, rows or self.block_rows):
                values = {
                    name: self._uniform(batch, name, number, name in as_they_print)
                    for name in columns
                }
                n = batch.num_rows
                numbers = np.arange(first, first + n)
                names = (path.name,)
                yield Table(self.name, pa.table(values), numbers, (), names, numbers[:1], n)
                first += n

    @staticmethod
    def _batches(path: Path, columns: list[str], rows: int) -> Iterator[Any]:
        with open_parquet(path) as opened:
            if columns:
                yield from (
                    batch for batch in opened.iter_batches(rows, columns=columns) if batch.num_rows
                )
                return
            for start in range(0, opened.metadata.num_rows, rows):  # the file has none of them
                n = min(rows, opened.metadata.num_rows - start)
                yield pa.record_batch([pa.nulls(n)], ["none"])

    def _uniform(self, batch: Any, name: str, file: int, prints: bool) -> Any:
        """A column of a block in the type that it has in all files."""
        target = self.type_of(name)
        there = name in batch.schema.names and not pa.types.is_null(batch.schema.field(name).type)
        column = batch.column(name) if there else pa.nulls(batch.num_rows, target)
        if there and (column.type != target or self._differs(name)):
            whole = pa.types.is_floating(column.type) and self.whole(name, (file,))
            return as_text(column, whole=whole)
        if prints and pa.types.is_floating(target):
            text = as_text(column, whole=self.whole(name))
            return text.cast(pa.int64()) if self.whole(name) else text
        return column

    def _differs(self, name: str) -> bool:
        """Whether the files have a column in several types."""
        kinds = {s.field(name).type for s in self.schemas if name in s.names}
        return len({kind for kind in kinds if not pa.types.is_null(kind)}) > 1

    def whole(self, column: str, files: Sequence[int] | None = None) -> bool:
        """Whether the floats of a column are all whole, in some files or in all."""
        return all(
            self._is_whole(column, file)
            for file in (range(len(self.paths)) if files is None else files)
        )

    def _is_whole(self, column: str, file: int) -> bool:
        if column not in self.schemas[file].names:
            return True
        if (column, file) not in self._whole:
            batches = self._batches(self.paths[file], [column], self.block_rows)
            self._whole[column, file] = all(
                pa.types.is_null(b.column(0).type) or all_whole(b.column(0)) for b in batches
            )
        return self._whole[column, file]
