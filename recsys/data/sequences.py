"""Files of sequences: a line is a user and then the user's items, oldest first."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.filetypes import decode, format_of, read_bytes
from recsys.data.read import Table
from recsys.data.wording import counted
from recsys.errors import DataError

__all__ = ["looks_like_sequences", "read_sequences"]


def looks_like_sequences(path: Path) -> bool:
    """Whether a text's first lines are words between blanks, more in some than in others."""
    if path.is_dir() or format_of(path) != "delimited":
        return False
    lines = decode(path, read_bytes(path))[0][: 1 << 16].split("\n")[:50]
    widths = {len(line.split()) for line in lines[:-1] if line.strip()}
    return (
        len(widths) > 1 and min(widths) > 1 and not any(set(line) & set(",;\t|") for line in lines)
    )


def read_sequences(paths: Sequence[Path]) -> Table:
    """Return ``user_id``, ``item_id`` and ``position``, which counts all rows from 0.

    Blanks or commas are between the fields. Raises DataError where no line has an item.
    """
    notes: list[str] = []
    lines: list[str] = []
    for path in paths:
        text, note = decode(path, read_bytes(path))
        notes += [note] if note else []
        lines += [line for line in text.replace(",", " ").split("\n") if line.strip()]
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pa.array(lines)))
    lengths = pc.list_value_length(fields).to_numpy() - 1  # without the user
    if not lengths.any():
        raise DataError(f"{paths[0]}: no line has an item; expected lines: USER ITEM ITEM ...")
    alone = np.flatnonzero(lengths == 0)
    if len(alone):
        n = counted(len(alone), "user")
        notes.append(f"{paths[0].name}: {n} without items, first {lines[alone[0]]!r}")
    users = pc.list_element(fields, 0).take(pa.array(np.repeat(np.arange(len(lines)), lengths)))
    is_item = np.ones(int(lengths.sum()) + len(lines), dtype=bool)
    is_item[np.cumsum(lengths + 1) - lengths - 1] = False  # where each line begins
    items = pc.list_flatten(fields).filter(pa.array(is_item))
    columns = {"user_id": users, "item_id": items, "position": np.arange(len(users))}
    return Table.of(str(paths[0]), pa.table(columns), tuple(notes))
