"""TABLE -> LOG: which rows are kept, and why the others are not.

The rules, in this order: a row that cannot be read (malformed line, empty id, empty, unreadable or
future time, weight that is no number, unknown label), duplicates of one user and item, weights
below the threshold, users and items with too few rows. The first that applies is the reason given;
every row is either kept or in ``rejected``.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.config import DataConfig
from recsys.data.arrow import as_numbers, as_text, is_missing, to_frame, with_points
from recsys.data.read import Table
from recsys.data.times import TimeKind, parse_times
from recsys.data.wording import counted
from recsys.errors import ConfigError, DataError

__all__ = ["LABELS", "Codes", "Counts", "Log", "clean_log"]

LABELS = ("train", "validation", "test")
LABEL_WORDS = {name: name for name in LABELS} | dict.fromkeys(("valid", "val", "dev"), "validation")
OWN_COLUMNS = ("row", "file", "reason", "line")  # of ``rejected``


@dataclass(frozen=True)
class Counts:
    """What came in and what became of it: ``read == kept + sum(rejected.values())``."""

    read: int
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows

    def __post_init__(self) -> None:
        if self.read != self.kept + sum(self.rejected.values()):
            raise DataError(f"rows are lost: read {self.read}, {self.kept} kept, {self.rejected}")


@dataclass(frozen=True, eq=False)
class Codes:
    """Ids as numbers into their distinct values.

    Attributes:
        numbers: int32 ``(n,)``.
        values: text, object ``(n_values,)``.
    """

    numbers: NDArray[np.int32]
    values: NDArray[Any]

    def take(self, rows: NDArray[np.int64]) -> "Codes":
        """The given rows, and only the values that they use."""
        numbers = self.numbers[rows]
        used = np.zeros(len(self.values), dtype=bool)
        used[numbers] = True
        renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return Codes(renumbered[numbers], self.values[used])


@dataclass(frozen=True, eq=False)
class Log:
    """The kept rows in the order of their files, and what became of the others.

    Attributes:
        users: whose row it is.
        items: which item.
        times: int64 ``(n,)``, see ``times.parse_times``; the row number without a time column.
        weights: float32 ``(n,)``, 1 without a weight column.
        rows: the row number in the files, int64 ``(n,)``.
        labels: one of ``LABELS`` each, object ``(n,)``; None without a label column.
        time_kind: what ``times`` are.
        rejected: ``row``, ``file``, ``reason``, the log's columns as text (one that is called like
            these has " (log)" after its name), and ``line``, the text of a malformed line.
        counts: rows read, kept and rejected.
    """

    users: Codes
    items: Codes
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    rows: NDArray[np.int64]
    labels: NDArray[np.object_] | None
    time_kind: TimeKind
    rejected: pd.DataFrame
    counts: Counts


class _Verdicts:
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

    def reasons(self, rows: NDArray[np.int64]) -> list[str]:
        """The reason of each row, "kept" for those that are in."""
        return [self._reasons[number] for number in self._reason_of[rows]]


def clean_log(
    table: Table, config: DataConfig, *, label: str | None = None, now: int | None = None
) -> Log:
    """Apply the rules of this module to a log.

    Args:
        table: the log as its files hold it.
        config: names the columns, the threshold, the rule for duplicates, and the cores.
        label: the column that says train, validation (valid, val, dev) or test.
        now: milliseconds since 1970; by default the clock's.

    Raises:
        DataError: a column is missing, or fewer than two users or two items are left.
        ConfigError: a threshold without a weight column.
    """
    if table.n_rows == 0:
        raise DataError(f"{table.name}: the log is empty; expected rows below the header")
    if config.positive_from is not None and config.weight is None:
        raise ConfigError("positive_from needs weight = COLUMN: which column is to be compared?")
    verdicts = _Verdicts(len(table.rows))
    users = _read_ids(table, config.user, "user", verdicts)
    items = _read_ids(table, config.item, "item", verdicts)
    times, time_kind = _read_times(table, config.time, now, verdicts)
    weights = _read_weights(table, config.weight, verdicts)
    labels = _read_labels(table, label, verdicts)
    weights = _settle_duplicates(users, items, times, weights, config.duplicates, verdicts)
    if config.positive_from is not None:
        verdicts.reject(weights < config.positive_from, f"weight below {config.positive_from}")
    _cut_to_core(users, items, config, verdicts)
    kept = np.flatnonzero(verdicts.kept)
    rejected = _rejected(table, verdicts)
    reasons = {str(reason): int(n) for reason, n in rejected["reason"].value_counts().items()}
    log = Log(
        users.take(kept),
        items.take(kept),
        times[kept],
        weights[kept].astype(np.float32),
        table.rows[kept],
        None if labels is None else labels[kept],
        time_kind,
        rejected,
        Counts(table.n_rows, len(kept), reasons),
    )
    _check_enough(table, log)
    return log


def _read_ids(table: Table, column: str, kind: str, verdicts: _Verdicts) -> Codes:
    text = pc.utf8_trim_whitespace(as_text(table.column(column, kind)))
    verdicts.reject(is_missing(text), f"empty {kind} id")
    encoded = pc.fill_null(text, "").dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    return Codes(encoded.indices.to_numpy(), values)


def _read_times(
    table: Table, column: str | None, now: int | None, verdicts: _Verdicts
) -> tuple[NDArray[np.int64], TimeKind]:
    if column is None:
        return table.rows, "row"
    clock = int(time.time() * 1000) if now is None else now
    times = parse_times(table.column(column, "time"), clock)
    for reason, where in times.bad.items():
        verdicts.reject(where, reason)
    return times.values, times.kind


def _read_weights(table: Table, column: str | None, verdicts: _Verdicts) -> NDArray[np.float64]:
    """Weights in double precision, so that a threshold of 4.1 takes in 4.1."""
    if column is None:
        return np.ones(len(table.rows))
    values = table.column(column, "weight")
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    text = pc.utf8_trim_whitespace(as_text(values))
    verdicts.reject(is_missing(text), "empty weight")
    weights = as_numbers(with_points(text))
    finite = np.isfinite(weights)
    verdicts.reject(~finite, "weight is not a number")
    return np.where(finite, weights, 0.0)


def _read_labels(
    table: Table, column: str | None, verdicts: _Verdicts
) -> NDArray[np.object_] | None:
    if column is None:
        return None
    text = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(table.column(column, "split"))))
    place = pc.index_in(text, pa.array(list(LABEL_WORDS)))
    unknown = pc.is_null(place).to_numpy(zero_copy_only=False)
    verdicts.reject(unknown, f"label is none of {', '.join(LABELS)}")
    words = np.array(list(LABEL_WORDS.values()), dtype=object)
    labels: NDArray[np.object_] = words[pc.fill_null(place, 0).to_numpy()]
    return labels


def _settle_duplicates(
    users: Codes,
    items: Codes,
    times: NDArray[np.int64],
    weights: NDArray[np.float64],
    rule: Literal["last", "first", "sum"],
    verdicts: _Verdicts,
) -> NDArray[np.float64]:
    """Leave one row of each user and item; return the weights, added up under "sum"."""
    kept = np.flatnonzero(verdicts.kept)
    if not len(kept):
        return weights
    pairs = users.numbers.astype(np.int64) * len(items.values) + items.numbers
    order = kept[np.lexsort((times[kept], pairs[kept]))]  # stable: at equal times by row
    starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    others = verdicts.kept
    others[order[starts if rule == "first" else ends]] = False
    verdicts.reject(others, "duplicate of user and item")
    if rule == "sum":
        weights = weights.copy()
        weights[order[ends]] = np.add.reduceat(weights[order], starts)
    return weights


def _cut_to_core(users: Codes, items: Codes, config: DataConfig, verdicts: _Verdicts) -> None:
    """Reject rows of users and items that have too few, until all have enough."""

    def cut(codes: Codes, kind: str, core: int) -> bool:
        counts = np.bincount(codes.numbers[verdicts.kept], minlength=len(codes.values))
        too_few = counts[codes.numbers] < core
        return verdicts.reject(too_few, f"{kind} with fewer than {core} rows")

    while True:  # each cut may leave others with too few
        cut_users = cut(users, "user", config.user_core)
        cut_items = cut(items, "item", config.item_core)
        if not (cut_users or cut_items):
            return


def _rejected(table: Table, verdicts: _Verdicts) -> pd.DataFrame:
    """All rows that are not kept, in the order of the files."""
    out = np.flatnonzero(~verdicts.kept)
    rows = np.concatenate([table.rows[out], [line.row for line in table.malformed]])
    order = np.argsort(rows)
    rows = rows[order].astype(np.int64)
    n_lines = len(table.malformed)
    columns: dict[str, Any] = {
        "row": rows,
        "file": table.file_of(rows),
        "reason": verdicts.reasons(out) + [line.reason for line in table.malformed],
    }
    columns["reason"] = np.array(columns["reason"], dtype=object)[order]
    for name, column in zip(table.columns.column_names, table.columns.columns, strict=True):
        text = as_text(column.combine_chunks().take(pa.array(out)))
        text = pa.concat_arrays([text, pa.nulls(n_lines, pa.string())]).take(pa.array(order))
        columns[f"{name} (log)" if name in OWN_COLUMNS else name] = text
    lines = [None] * len(out) + [line.text for line in table.malformed]
    columns["line"] = pa.array(lines, pa.string()).take(pa.array(order))
    return to_frame(pa.table(columns))


def _check_enough(table: Table, log: Log) -> None:
    n_users, n_items = len(log.users.values), len(log.items.values)
    if n_users >= 2 and n_items >= 2:
        return
    why = ""
    if len(log.rejected):
        first = log.rejected.iloc[0]
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in log.counts.rejected.items())
        why = f" (rejected: {reasons}; first: {first['file']} row {first['row']})"
    raise DataError(
        f"{table.name}: of {counted(table.n_rows, 'row')} {len(log.rows):,} can be used{why}, with "
        f"{counted(n_users, 'user')} and {counted(n_items, 'item')}: nothing to learn from; "
        "at least 2 of each are needed"
    )
