"""Delimited text: which delimiter, which columns, which lines are no rows."""

import csv
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from recsys.errors import DataError

__all__ = ["Malformed", "Part", "detect_delimiter", "read_delimited", "read_plain"]

DELIMITERS = (",", ";", "\t", "|", " ")
LOOK_AT = 20  # lines, to detect the delimiter
BLOCK = 1 << 26  # bytes parsed at a time: no row may be longer


@dataclass(frozen=True)
class Malformed:
    """A line that is not a row of its table."""

    row: int
    reason: str
    text: str


@dataclass(frozen=True, eq=False)
class Part:
    """What one file holds: its rows, and the lines that are none (numbers from 0 in the file)."""

    columns: pa.Table
    malformed: tuple[Malformed, ...]
    notes: tuple[str, ...] = ()


def detect_delimiter(text: str) -> str:
    """Return the delimiter that cuts most of the first lines into as many fields as the header.

    Of several that do, the one that gives more fields; the space only where nothing else cuts the
    header; a comma for a text of one column.
    """
    lines = list(islice(io.StringIO(text[: 1 << 20], newline=""), LOOK_AT))
    best, best_score = ",", (False, 0.0, 1)
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        agreeing = widths.count(widths[0]) / len(widths)
        score = (delimiter != " ", agreeing, widths[0])
        if delimiter == " " and agreeing <= 0.5:
            continue  # the name of a single column may have spaces
        if widths[0] > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


def read_delimited(path: Path, text: str, delimiter: str | None) -> Part:
    """Read delimited text with a header line; every column is text.

    A given delimiter that the header does not have is another file's: it is detected then.

    Raises:
        DataError: the header names a column twice, or a quotation mark is never closed.
    """
    if delimiter is not None and len(delimiter) != 1:
        raise DataError(f"{path}: delimiter {delimiter!r}; expected one character, such as ; or |")
    if delimiter is None or delimiter not in text.partition("\n")[0]:
        delimiter = detect_delimiter(text)
    names = _header(path, text, delimiter)
    bad: list[Malformed] = []

    def keep_bad(line: pyarrow.csv.InvalidRow) -> str:
        amount = "many" if line.actual_columns > line.expected_columns else "few"
        reason = f"malformed line: too {amount} fields"
        bad.append(Malformed(line.number - 2, reason, line.text))  # it counts from 1, header too
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader((text + "\n").encode()),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, skip_rows_after_names=1, use_threads=False, block_size=BLOCK
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep_bad
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: cannot be cut into rows ({error}); check its quotes") from None
    _check_quotes(path, text, table, bad)
    return Part(table, tuple(bad))


def _header(path: Path, text: str, delimiter: str) -> list[str]:
    """Return the columns' names; one without a name is called by its place."""
    rows = csv.reader(io.StringIO(text[:BLOCK], newline=""), delimiter=delimiter)
    try:
        fields = next(row for row in rows if row)
    except csv.Error as error:
        raise DataError(f"{path}: the header cannot be read ({error}); check its quotes") from None
    names = [field.strip() or f"column {n}" for n, field in enumerate(fields, start=1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the header has {twice!r} twice; give each column its own name")
    return names


def _check_quotes(path: Path, text: str, table: pa.Table, bad: list[Malformed]) -> None:
    """Raise where a quotation mark swallows the rest of the file into its last row."""
    n_rows = table.num_rows + len(bad)
    if n_rows == 0 or text.count('"') % 2 == 0:
        return
    if bad and bad[-1].row == n_rows - 1:
        last = [bad[-1].text]
    else:
        last = list(table.slice(table.num_rows - 1).to_pylist()[0].values())
    if any("\n" in value for value in last):
        raise DataError(f'{path}: a " in row {n_rows - 1} is never closed; close it or take it out')


def read_plain(
    content: bytes, delimiter: str, names: tuple[str, ...], *, header: bool = False
) -> pa.Table:
    """Read text whose columns are known and whose quotation marks are only text.

    UTF-8, else Latin-1. Raises DataError where a line has not as many fields as there are names.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(names), skip_rows_after_names=int(header)
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"expected columns {', '.join(names)}: {error}; get the file again"
        ) from None
