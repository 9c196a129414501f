"""What is done of a batch: one line when it begins, one when a part is written.

The journal lies beside the parts, or on the machine that drives while the parts go elsewhere. A
line is on the disk only after its part is, so a kill loses at most the parts that were being made.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.batch.places import Place
from recsys.files import atomic_file, sync

__all__ = ["Journal", "Written"]


@dataclass(frozen=True)
class Written:
    """A part that was written.

    Attributes:
        part: its number, from 0.
        name: of its file.
        size: of the file, bytes.
        users: that it holds.
        rows: that it holds.
        short: users in it with fewer than k items, because fewer were allowed.
    """

    part: int
    name: str
    size: int
    users: int
    rows: int
    short: int


class Journal:
    """The lines of one batch, in a file that only grows."""

    def __init__(self, path: Path) -> None:
        """Read the journal, which need not be there; a line that was cut by a kill ends it."""
        self.path = path
        self.plan: dict[str, Any] = {}
        self.parts: dict[int, Written] = {}
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for number, line in enumerate(lines):
            try:
                value = json.loads(line)
            except ValueError:
                break
            if number == 0:
                self.plan = value
            else:
                self.parts[value["part"]] = Written(**value)

    def begin(self, plan: dict[str, Any]) -> None:
        """Start again with another plan; what was noted of parts is forgotten."""
        self.plan, self.parts = plan, {}
        self._write_anew()

    def add(self, written: Written) -> None:
        """Note that a part is written."""
        self.parts[written.part] = written
        self._append(asdict(written))

    def keep_sound(self, place: Place) -> None:
        """Forget the parts whose files are not what was noted.

        A file must have its size, and a parquet file must end in a footer with its rows.
        """
        sizes = place.sizes()
        self.parts = {n: one for n, one in self.parts.items() if _is_sound(one, place, sizes)}
        self._write_anew()  # without the line that a kill has cut, too

    def _write_anew(self) -> None:
        with atomic_file(self.path) as partial:
            partial.write_bytes(
                b"".join(map(_line, [self.plan, *map(asdict, self.parts.values())]))
            )
            sync(partial)

    def _append(self, value: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(_line(value))
            file.flush()
            os.fsync(file.fileno())


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _is_sound(written: Written, place: Place, sizes: dict[str, int]) -> bool:
    if sizes.get(written.name) != written.size:
        return False
    if not written.name.endswith(".parquet"):
        return True
    try:
        with place.open(written.name) as file:
            return bool(pq.read_metadata(file).num_rows == written.rows)
    except (pa.ArrowInvalid, OSError):
        return False
