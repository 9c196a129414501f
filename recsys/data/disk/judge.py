"""BLOCKS -> ROWS by user: ids are numbers, and what cannot be read by itself is rejected."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import DataConfig
from recsys.data.disk.parquet import ParquetLog
from recsys.data.disk.pieces import Pieces, in_order
from recsys.data.disk.tally import Ids, Tally, count_ids
from recsys.data.read import Table
from recsys.data.times import TimeKind, TimesSeen, look_at_times
from recsys.data.verdicts import Verdicts, empty_id, read_times, read_weights

__all__ = ["OUT", "ROW", "WEIGHED", "Groups", "Looked", "Reasons", "group"]

GROUP_ROWS = 1 << 20  # about how many rows the users of a group have together
ROW = np.dtype([("user", "<i4"), ("item", "<i4"), ("time", "<i8"), ("row", "<i8")])
WEIGHED = np.dtype([*ROW.descr, ("weight", "<f8")])
OUT = np.dtype([("row", "<i8"), ("reason", "<i2")])  # a rejected row

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Looked:
    """What a first pass over a log says.

    Attributes:
        users: their ids and how many rows each has.
        items: likewise.
        times: how the column of times is to be read.
    """

    users: Ids
    items: Ids
    times: TimesSeen

    @classmethod
    def at(cls, log: ParquetLog, config: DataConfig) -> Self:
        """Read the ids and the times once."""

        def look(block: Table) -> tuple[Any, Any, TimesSeen]:
            return (
                count_ids(block.column(config.user, "user")),
                count_ids(block.column(config.item, "item")),
                TimesSeen()
                if config.time is None
                else look_at_times(block.column(config.time, "time")),
            )

        users, items, times = Tally(), Tally(), TimesSeen()
        columns = _columns(config, weight=False)
        for of_users, of_items, seen in in_order(look, log.blocks(columns, as_they_print=columns)):
            users.add(of_users)
            items.add(of_items)
            times += seen
        return cls(users.ids(), items.ids(), times)


def _columns(config: DataConfig, *, weight: bool = True) -> list[str]:
    names = (config.user, config.item, config.time, config.weight if weight else None)
    return [name for name in names if name is not None]


class Reasons:
    """The rejected rows, in pieces of ``span`` row numbers."""

    def __init__(self, folder: Path, span: int) -> None:
        """Begin with nothing."""
        self.pieces, self.span = Pieces(folder, OUT), span
        self.names: list[str] = []
        self.counts: list[int] = []
        self._sorted: dict[int, NDArray[Any]] = {}  # the pieces that were asked for last

    def add(self, reason: str, rows: NDArray[np.int64]) -> None:
        """Reject rows by their numbers ``(n,)``."""
        if not len(rows):
            return
        if reason not in self.names:
            self.names.append(reason)
            self.counts.append(0)
        records = np.empty(len(rows), OUT)
        records["row"], records["reason"] = rows, self.names.index(reason)
        self.counts[self.names.index(reason)] += len(rows)
        self.pieces.add(rows // self.span, records)

    def between(self, first: int, stop: int) -> NDArray[Any]:
        """What is rejected of the rows from ``first`` up to ``stop``, in order, as `OUT`."""
        numbers = range(first // self.span, (stop - 1) // self.span + 1)
        held = self._sorted
        self._sorted = {n: held[n] if n in held else self._piece(n) for n in numbers}
        found = np.concatenate(list(self._sorted.values()))
        start, end = np.searchsorted(found["row"], [first, stop])
        return found[start:end]

    def _piece(self, number: int) -> NDArray[Any]:
        records = self.pieces.get(number)
        return records.take(np.argsort(records["row"]))


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows that can be read, in pieces by user.

    Attributes:
        pieces: the rows of each group, in the order of the files; `ROW` or `WEIGHED`.
        n: how many groups there are.
        time_kind: what their times are.
    """

    pieces: Pieces
    n: int
    time_kind: TimeKind

    def __len__(self) -> int:
        return self.n

    @property
    def weighed(self) -> bool:
        """Whether rows have weights."""
        return "weight" in (self.pieces.kind.names or ())


@dataclass(frozen=True, eq=False)
class _Judged:
    """A block's rows that can be read, and the others by reason."""

    groups: NDArray[np.int64]
    rows: NDArray[Any]
    rejected: list[tuple[str, NDArray[np.int64]]]
    time_kind: TimeKind


def group(
    log: ParquetLog,
    config: DataConfig,
    looked: Looked,
    reasons: Reasons,
    folder: Path,
    *,
    group_rows: int = GROUP_ROWS,
    now: int | None = None,
) -> Groups:
    """Write the rows of each group of users into a piece of its own.

    Args:
        log: read once.
        config: names the columns.
        looked: what a first pass said.
        reasons: takes the rows that cannot be read.
        folder: for the pieces.
        group_rows: about how many rows of users go into a group; one user is never parted.
        now: milliseconds since 1970; by default the clock's.
    """
    clock = int(time.time() * 1000) if now is None else now
    behind = np.cumsum(looked.users.counts)
    group_of = (behind - looked.users.counts) // group_rows  # of each user
    groups, group_of = np.unique(group_of, return_inverse=True)
    kind = ROW if config.weight is None and config.duplicates != "sum" else WEIGHED

    def judge(block: Table) -> _Judged:
        verdicts = Verdicts(len(block.rows))
        users = looked.users.numbers(block.column(config.user, "user"))
        items = looked.items.numbers(block.column(config.item, "item"))
        verdicts.reject(users < 0, empty_id("user"))
        verdicts.reject(items < 0, empty_id("item"))
        times, time_kind = read_times(block, config.time, clock, verdicts, looked.times)
        weights = read_weights(block, config.weight, verdicts)
        kept = np.flatnonzero(verdicts.kept)
        rows = np.empty(len(kept), kind)
        columns: dict[str, NDArray[Any]] = {"user": users, "item": items}
        columns |= {"time": times, "weight": weights, "row": block.rows}
        for name, values in columns.items():
            if name in (kind.names or ()):
                rows[name] = values[kept]
        rejected = [(r, block.rows[where]) for r, where in verdicts.by_reason().items()]
        return _Judged(group_of[users[kept]], rows, rejected, time_kind)

    pieces = Pieces(folder, kind)
    time_kind: TimeKind = "row"
    columns = _columns(config)
    printed = [name for name in columns if name != config.weight]
    for judged in in_order(judge, log.blocks(columns, as_they_print=printed)):
        pieces.add(judged.groups, judged.rows)
        time_kind = judged.time_kind
        for reason, rows in judged.rejected:
            reasons.add(reason, rows)
    return Groups(pieces, len(groups), time_kind)
