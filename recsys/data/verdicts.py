"""The rules that judge a row by itself, and the record of which rows are still in.

`recsys.data.clean` applies them to a whole log, `recsys.data.disk` to one piece after another.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_numbers, as_text, is_missing, with_points
from recsys.data.read import Table
from recsys.data.times import TimeKind, TimesSeen, parse_times
from recsys.data.wording import counted
from recsys.errors import DataError

__all__ = [
    "DUPLICATE",
    "Counts",
    "Verdicts",
    "check_enough",
    "empty_id",
    "read_times",
    "read_weights",
    "too_few",
    "too_light",
]

DUPLICATE = "duplicate of user and item"  # a reason


@dataclass(frozen=True)
class Counts:
    """What came in and what became of it: ``read == kept + sum(rejected.values())``."""

    read: int
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows

    def __post_init__(self) -> None:
        if self.read != self.kept + sum(self.rejected.values()):
            raise DataError(f"rows are lost: read {self.read}, {self.kept} kept, {self.rejected}")


class Verdicts:
    """Which rows are still in, and the reason why each other one is not."""

    def __init__(self, n: int) -> None:
        self._reason_of = np.zeros(n, dtype=np.int16)  # 0: kept
        self._reasons: list[str] = ["kept"]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``."""
        kept: NDArray[np.bool_] = self._reason_of == 0
        return kept

    def reject(self, where: NDArray[np.bool_], reason: str) -> bool:
        """Reject those of ``where`` that are still in; return whether there were any."""
        newly = where & self.kept
        if not newly.any():
            return False
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._reason_of[newly] = self._reasons.index(reason)
        return True

    def by_reason(self) -> dict[str, NDArray[np.int64]]:
        """The places of the rejected rows by their reason, ``(n,)`` each."""
        return {
            reason: np.flatnonzero(self._reason_of == number)
            for number, reason in enumerate(self._reasons)
            if number
        }

    def reasons(self, rows: NDArray[np.int64]) -> list[str]:
        """The reason of each row, "kept" for those that are in."""
        return [self._reasons[number] for number in self._reason_of[rows]]


def empty_id(kind: str) -> str:
    """A reason: no id of a user or an item."""
    return f"empty {kind} id"


def too_light(least: float) -> str:
    """A reason: the weight is below the threshold."""
    return f"weight below {least}"


def too_few(kind: str, core: int) -> str:
    """A reason: a user or an item has fewer rows than the core asks for."""
    return f"{kind} with fewer than {core} rows"


def read_times(
    table: Table,
    column: str | None,
    now: int | None,
    verdicts: Verdicts,
    seen: TimesSeen | None = None,
) -> tuple[NDArray[np.int64], TimeKind]:
    """Times ``(n,)``, and what they are; bad ones are rejected.

    Args:
        table: the log, or a piece of it.
        column: of times; None: the row numbers are.
        now: milliseconds since 1970; by default the clock's.
        verdicts: of the table's rows.
        seen: of a piece, what the whole column says.
    """
    if column is None:
        return table.rows, "row"
    clock = int(time.time() * 1000) if now is None else now
    times = parse_times(table.column(column, "time"), clock, seen)
    for reason, where in times.bad.items():
        verdicts.reject(where, reason)
    return times.values, times.kind


def read_weights(table: Table, column: str | None, verdicts: Verdicts) -> NDArray[np.float64]:
    """Weights ``(n,)``; bad ones are rejected.

    In double precision, so that a threshold of 4.1 takes in 4.1.
    """
    if column is None:
        return np.ones(len(table.rows))
    values = table.column(column, "weight")
    if pa.types.is_integer(values.type) or pa.types.is_float64(values.type):
        weights = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        verdicts.reject(np.isnan(weights), "empty weight")  # as it prints
        finite = np.isfinite(weights)
        verdicts.reject(~finite, "weight is not a number")
        return np.where(finite, weights, 0.0)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    text = pc.utf8_trim_whitespace(as_text(values))
    verdicts.reject(is_missing(text), "empty weight")
    weights = as_numbers(with_points(text))
    finite = np.isfinite(weights)
    verdicts.reject(~finite, "weight is not a number")
    return np.where(finite, weights, 0.0)


def check_enough(
    name: str, counts: Counts, distinct: tuple[int, int], rejected: pd.DataFrame
) -> None:
    """Refuse a log of which fewer than two users or two items are left.

    Args:
        name: of the log.
        counts: rows read, kept and rejected.
        distinct: how many users and items are left.
        rejected: the first of the rows that are not.

    Raises:
        DataError: there is nothing to learn from.
    """
    n_users, n_items = distinct
    if n_users >= 2 and n_items >= 2:
        return
    why = ""
    if len(rejected):
        first = rejected.iloc[0]
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in counts.rejected.items())
        why = f" (rejected: {reasons}; first: {first['file']} row {first['row']})"
    raise DataError(
        f"{name}: of {counted(counts.read, 'row')} {counts.kept:,} can be used{why}, with "
        f"{counted(n_users, 'user')} and {counted(n_items, 'item')}: nothing to learn from; "
        "at least 2 of each are needed"
    )
