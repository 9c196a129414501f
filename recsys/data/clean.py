"""TABLE -> LOG: which rows are kept, and why the others are not.

The rules, in this order: a row that cannot be read (malformed line, empty id, empty, unreadable or
future time, weight that is no number, unknown label), duplicates of one user and item, weights
below the threshold, users and items with too few rows. The first that applies is the reason given;
every row is either kept or in ``rejected``.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.config import DataConfig
from recsys.data.arrow import as_text, is_missing, to_frame
from recsys.data.read import Table
from recsys.data.times import TimeKind
from recsys.data.verdicts import (
    DUPLICATE,
    Counts,
    Verdicts,
    check_enough,
    empty_id,
    read_times,
    read_weights,
    too_few,
    too_light,
)
from recsys.errors import ConfigError, DataError

__all__ = ["LABELS", "OWN_COLUMNS", "Codes", "Counts", "Log", "check_askable", "clean_log"]

LABELS = ("train", "validation", "test")
LABEL_WORDS = {name: name for name in LABELS} | dict.fromkeys(("valid", "val", "dev"), "validation")
OWN_COLUMNS = ("row", "file", "reason", "line")  # of ``rejected``


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
    check_askable(table.name, table.n_rows, config)
    verdicts = Verdicts(len(table.rows))
    users = _read_ids(table, config.user, "user", verdicts)
    items = _read_ids(table, config.item, "item", verdicts)
    times, time_kind = read_times(table, config.time, now, verdicts)
    weights = read_weights(table, config.weight, verdicts)
    labels = _read_labels(table, label, verdicts)
    weights = _settle_duplicates(users, items, times, weights, config.duplicates, verdicts)
    if config.positive_from is not None:
        verdicts.reject(weights < config.positive_from, too_light(config.positive_from))
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
    check_enough(table.name, log.counts, (len(log.users.values), len(log.items.values)), rejected)
    return log


def check_askable(name: str, n_rows: int, config: DataConfig) -> None:
    """Refuse a log without rows, and a threshold without weights.

    Raises:
        DataError: there are no rows.
        ConfigError: a threshold, but no weight column.
    """
    if n_rows == 0:
        raise DataError(f"{name}: the log is empty; expected rows below the header")
    if config.positive_from is not None and config.weight is None:
        raise ConfigError("positive_from needs weight = COLUMN: which column is to be compared?")


def _read_ids(table: Table, column: str, kind: str, verdicts: Verdicts) -> Codes:
    text = pc.utf8_trim_whitespace(as_text(table.column(column, kind)))
    verdicts.reject(is_missing(text), empty_id(kind))
    encoded = pc.fill_null(text, "").dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    return Codes(encoded.indices.to_numpy(), values)


def _read_labels(
    table: Table, column: str | None, verdicts: Verdicts
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
    verdicts: Verdicts,
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
    verdicts.reject(others, DUPLICATE)
    if rule == "sum":
        weights = weights.copy()
        weights[order[ends]] = np.add.reduceat(weights[order], starts)
    return weights


def _cut_to_core(users: Codes, items: Codes, config: DataConfig, verdicts: Verdicts) -> None:
    """Reject rows of users and items that have too few, until all have enough."""

    def cut(codes: Codes, kind: str, core: int) -> bool:
        counts = np.bincount(codes.numbers[verdicts.kept], minlength=len(codes.values))
        return verdicts.reject(counts[codes.numbers] < core, too_few(kind, core))

    while True:  # each cut may leave others with too few
        cut_users = cut(users, "user", config.user_core)
        cut_items = cut(items, "item", config.item_core)
        if not (cut_users or cut_items):
            return


def _rejected(table: Table, verdicts: Verdicts) -> pd.DataFrame:
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
