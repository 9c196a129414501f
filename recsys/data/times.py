"""A time column of any kind -> milliseconds since 1970 (UTC), or an order."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_numbers, as_text, is_missing, mask

__all__ = ["DAY", "TimeKind", "Times", "parse_times"]

TimeKind = Literal["timestamp", "order", "row"]  # a moment, a per-user order, the row of the log

DAY = 86_400_000  # milliseconds

INTEGER = r"^-?([0-9]{1,18}|[0-8][0-9]{18})$"  # fits 64 bits
COMPACT = (  # 20241231 and 20241231235959
    r"^((?:19|20)[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
    r"(?:([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]))?$"
)
DAY_FIRST = r"^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})"  # 31.12.2024: only the day can come first

# (least size, milliseconds per unit as a fraction): nano-, micro-, milliseconds, seconds. Seconds
# are those of the years from 1973 on; what is smaller is an order.
UNITS = ((1e17, 1, 1_000_000), (1e14, 1, 1_000), (1e11, 1, 1), (1e8, 1_000, 1))


@dataclass(frozen=True, eq=False)
class Times:
    """A parsed column.

    Attributes:
        values: int64 ``(n,)``, 0 where a mask of ``bad`` is set.
        kind: what they are.
        bad: reason -> bool ``(n,)``, disjoint.
    """

    values: NDArray[np.int64]
    kind: TimeKind
    bad: dict[str, NDArray[np.bool_]]


def parse_times(column: Any, now: int) -> Times:
    """Read moments or an order from an Arrow array of ``(n,)``.

    Seconds, milliseconds, microseconds and nanoseconds since 1970 are told apart by the median;
    smaller integers are an order. Text is ISO 8601 (without a zone: UTC), 31.12.2024 or 20241231.

    Args:
        column: integers, floats, text, dates or timestamps.
        now: milliseconds since 1970; what is more than a day later is in the future.
    """
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        empty = mask(pc.is_null(column))
        values = pc.cast(column, pa.timestamp("ms"), safe=False).cast(pa.int64())
        return _moments(pc.fill_null(values, 0).to_numpy(), empty, np.zeros(len(empty), bool), now)
    text = pc.utf8_trim_whitespace(as_text(column))
    empty = is_missing(text)
    numbers = as_numbers(text)
    if 2 * np.isfinite(numbers).sum() < (~empty).sum():
        return _from_iso(text, empty, now)
    dates = mask(pc.match_substring_regex(text, COMPACT))
    if dates.any() and dates.sum() == (~empty).sum():
        return _from_iso(text, empty, now)
    return _from_numbers(text, numbers, empty, now)


def _from_iso(text: Any, empty: NDArray[np.bool_], now: int) -> Times:
    iso = pc.replace_substring_regex(text, DAY_FIRST, r"\3-\2-\1")
    iso = pc.replace_substring_regex(iso, r" ?UTC$", "Z")
    iso = pc.replace_substring_regex(iso, COMPACT, r"\1-\2-\3T\4:\5:\6")
    iso = pc.replace_substring_regex(iso, r"T::$", "")
    parsed = pd.to_datetime(iso.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    unreadable = parsed.isna().to_numpy()
    values = parsed.dt.as_unit("ms").astype("int64").to_numpy()
    return _moments(values, empty, unreadable & ~empty, now)


def _from_numbers(
    text: Any, numbers: NDArray[np.float64], empty: NDArray[np.bool_], now: int
) -> Times:
    """Whole numbers stay integers all the way: a float would blur nanoseconds."""
    whole = mask(pc.match_substring_regex(text, INTEGER))
    integers = pc.if_else(pa.array(whole), text, "0").cast(pa.int64()).to_numpy()
    number = np.isfinite(numbers)
    unreadable = ~number & ~empty
    sizes = np.abs(numbers[number])
    median = np.quantile(sizes, 0.5, method="lower") if len(sizes) else 0
    unit = next(((times, per) for least, times, per in UNITS if median >= least), None)
    if unit is None:
        unreadable |= number & ~whole  # 0.5 is no place in an order
        bad = {"empty time": empty, "unreadable time": unreadable}
        return Times(integers, "order", bad)
    times, per = unit
    limit = (abs(now) + DAY) * per // times + per  # in the column's unit: keeps products in 64 bits
    unreadable |= numbers < -limit
    values = np.clip(integers, -limit, limit) * times // per
    parts = np.clip(np.where(number, numbers, 0.0), -limit, limit) * times / per
    values = np.where(whole, values, np.round(parts).astype(np.int64))
    return _moments(values, empty, unreadable, now)


def _moments(
    values: NDArray[np.int64], empty: NDArray[np.bool_], unreadable: NDArray[np.bool_], now: int
) -> Times:
    present = ~(empty | unreadable)
    future = present & (values > now + DAY)
    bad = {"empty time": empty, "unreadable time": unreadable, "time in the future": future}
    good = ~(empty | unreadable | future)
    return Times(np.where(good, values, 0), "timestamp", bad)
