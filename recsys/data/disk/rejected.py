"""What was not kept, in the order of the files: the ``rejected.parquet`` of a data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.arrow import all_whole, as_text, from_frame, to_frame
from recsys.data.clean import OWN_COLUMNS
from recsys.data.disk.judge import Reasons
from recsys.data.disk.parquet import ParquetLog
from recsys.data.disk.pieces import in_order
from recsys.data.read import Table
from recsys.files import atomic_file

__all__ = ["write_rejected"]

Rejected = tuple[Table, NDArray[np.int16]]  # rows of a block, and the numbers of their reasons

ROWS = 1 << 16  # that are read at a time: of all columns, which may be long texts


def write_rejected(path: Path, log: ParquetLog, reasons: Reasons) -> dict[str, int]:
    """Read the log once more and write the rejected rows as text, with the reason of each.

    Returns:
        How many rows each reason has, the most frequent first; of equals that which came first.
    """
    floats = [name for name in log.columns if pa.types.is_floating(log.type_of(name))]
    whole = dict.fromkeys(floats, True)
    if floats and any(reasons.counts):  # of the rejected rows only, as they are printed
        for block, _ in _rejected(log, floats, reasons):
            for name in floats:
                whole[name] = whole[name] and all_whole(block.column(name, ""))
    first: dict[int, int] = {}  # reason -> the row that it comes with first
    empty = _printed(log, _nothing(log), np.empty(0, np.int16), reasons, whole)
    schema = from_frame(to_frame(empty)).schema  # the types of a data set that is saved

    def work(rejected: Rejected) -> tuple[dict[int, int], Any]:
        block, why = rejected
        numbers, places = np.unique(why, return_index=True)
        seen = dict(zip(numbers.tolist(), block.rows[places].tolist(), strict=True))
        return seen, _printed(log, block, why, reasons, whole).cast(schema)

    with atomic_file(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as out:
        for seen, printed in in_order(work, _rejected(log, log.columns, reasons)):
            first = seen | first
            out.write_table(printed)
    order = sorted(first, key=lambda number: (-reasons.counts[number], first[number]))
    return {reasons.names[number]: reasons.counts[number] for number in order}


def _rejected(log: ParquetLog, columns: Any, reasons: Reasons) -> Iterator[Rejected]:
    """The rejected rows of each block, and the numbers of their reasons."""
    if not any(reasons.counts):
        return
    for block in log.blocks(columns, rows=ROWS):
        found = reasons.between(int(block.rows[0]), int(block.rows[0]) + block.n_rows)
        if not len(found):
            continue
        taken = block.columns.take(pa.array(found["row"] - block.rows[0]))
        yield (
            Table(block.name, taken, found["row"].copy(), (), block.files, block.first_rows, 0),
            found["reason"],
        )


def _nothing(log: ParquetLog) -> Table:
    none = pa.table({name: pa.nulls(0, log.type_of(name)) for name in log.columns})
    return Table(log.name, none, np.empty(0, np.int64), (), ("",), np.zeros(1, np.int64), 0)


def _printed(
    log: ParquetLog,
    block: Table,
    why: NDArray[np.int16],
    reasons: Reasons,
    whole: dict[str, bool],
) -> pa.Table:
    """Rejected rows as a data set keeps them, see `recsys.data.clean.Log`."""
    names = pa.array(reasons.names, pa.string())
    columns: dict[str, Any] = {
        "row": pa.array(block.rows),
        "file": pa.array(block.file_of(block.rows), pa.string()),
        "reason": names.take(pa.array(why)),
    }
    for name in log.columns:
        text = as_text(block.column(name, ""), whole=whole.get(name))
        columns[f"{name} (log)" if name in OWN_COLUMNS else name] = text
    columns["line"] = pa.nulls(len(block.rows), pa.string())
    return pa.table(columns)
