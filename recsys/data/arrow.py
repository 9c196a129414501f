"""Columns as Arrow arrays: text of anything, arrays of anything, frames and back."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.files import atomic_file

__all__ = [
    "all_whole",
    "as_numbers",
    "as_text",
    "first_rows",
    "from_frame",
    "from_values",
    "is_missing",
    "mask",
    "read_parquet",
    "to_frame",
    "with_points",
    "write_parquet",
]

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
DECIMAL_COMMA = r"^([+-]?[0-9]+),([0-9]{1,2})$"  # 4,5; but 1,000 is no number here
EXACT = 2**53  # floats hold every integer below
MISSING = pa.array(["", "NaN", "nan", "NA", "<NA>", "NULL", "null", "None", "NaT"])


def as_text(column: Any, *, whole: bool | None = None) -> Any:
    """Return a column (Arrow array) as strings of the same length; missing stays missing.

    Floats that are all whole (how pandas writes integers with gaps) print as integers; lists and
    objects print as json.

    Args:
        column: of any type.
        whole: whether the floats are, where ``column`` is a piece of a longer one; None: look.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type), whole=whole)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
        if all_whole(column) if whole is None else whole:
            column = column.cast(pa.int64())
        return column.cast(pa.string())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([_text(value) for value in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def all_whole(column: Any) -> bool:
    """Whether floats are whole numbers that integers hold exactly; missing and NaN are skipped."""
    column = pc.if_else(pc.is_nan(column), None, column)
    small = pc.all(pc.less(pc.abs(column), EXACT), min_count=0).as_py()
    return bool(small and pc.all(pc.equal(column, pc.floor(column)), min_count=0).as_py())


def _text(value: Any) -> str | None:
    """Print one value; what is not text prints as json, what UTF-8 cannot hold as ``?``."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")


def with_points(text: Any) -> Any:
    """Strings (Arrow array) with a decimal comma, such as "4,5", with a point; others as is."""
    return pc.replace_substring_regex(text, DECIMAL_COMMA, r"\1.\2")


def as_numbers(text: Any) -> NDArray[np.float64]:
    """Strings such as "5", "-0.5" or "1e9" as floats ``(n,)``, NaN where it is no number."""
    number = mask(pc.match_substring_regex(text, NUMBER))
    values: NDArray[np.float64] = (
        pc.if_else(pa.array(number), text, "nan").cast(pa.float64()).to_numpy()
    )
    return values


def mask(column: Any) -> NDArray[np.bool_]:
    """Return truth values as bool ``(n,)``; missing is false."""
    result: NDArray[np.bool_] = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return result


def is_missing(text: Any) -> NDArray[np.bool_]:
    """Which strings say that nothing is there: missing, empty, or how programs print that."""
    return mask(pc.is_in(text, MISSING)) | mask(pc.is_null(text))


def from_values(values: list[Any]) -> Any:
    """Return Python values as an Arrow array; values of mixed types become text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return pa.array([_text(value) for value in values], pa.string())


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a frame: pandas' nullable types for integers with gaps, Python's lists for lists."""
    frame = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_nested(column.type):
            frame[name] = pd.Series(column.to_pylist(), dtype=object)
            continue
        types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame[name] = column.to_pandas(types_mapper=types.get if column.null_count else None)
    return pd.DataFrame(frame, index=pd.RangeIndex(table.num_rows))


def from_frame(frame: pd.DataFrame) -> pa.Table:
    """Return a table of the frame's columns, without its index."""
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all; the same table gives the same bytes."""
    with atomic_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table that this project wrote, or some of its columns.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    with _artifact(path):
        return pq.ParquetFile(path).read(None if columns is None else list(columns))


def first_rows(path: Path, most: int) -> pa.Table:
    """Read the first rows of a table that this project wrote.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    with _artifact(path):
        file, groups, n = pq.ParquetFile(path), [], 0
        for number in range(file.metadata.num_row_groups):
            if n >= most:
                break
            groups.append(number)
            n += file.metadata.row_group(number).num_rows
        return file.read_row_groups(groups).slice(0, most)


@contextmanager
def _artifact(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run the stage that writes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: is damaged ({reason}); run its stage again") from None
