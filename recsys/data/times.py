"""A time column of any kind -> milliseconds since 1970 (UTC), or an order."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_numbers, as_text, is_missing, mask

__all__ = ["DAY", "TimeKind", "Times", "TimesSeen", "look_at_times", "parse_times"]

TimeKind = Literal["timestamp", "order", "row"]  # a moment, a per-user order, the row of the log

DAY = 86_400_000  # milliseconds

INTEGER = r"^-?([0-9]{1,18}|[0-8][0-9]{18})$"  # fits 64 bits
LARGE = 9 * 10**18  # the least that does not match
COMPACT = (  # 20241231 and 20241231235959
    r"^((?:19|20)[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
    r"(?:([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]))?$"
)
DATES, MOMENTS = (19_000_101, 20_991_231), (19_000_101_000_000, 20_991_231_235_959)  # the same
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


@dataclass(frozen=True)
class TimesSeen:
    """What decides how a column is read: of its pieces, the sum.

    Attributes:
        present: values that are there.
        numbers: those that are numbers.
        dates: those that look like 20241231.
        smaller: of the numbers, how many are smaller in size than the least of each of ``UNITS``.
    """

    present: int = 0
    numbers: int = 0
    dates: int = 0
    smaller: tuple[int, ...] = (0,) * len(UNITS)

    def __add__(self, other: "TimesSeen") -> "TimesSeen":
        smaller = tuple(a + b for a, b in zip(self.smaller, other.smaller, strict=True))
        return TimesSeen(
            self.present + other.present,
            self.numbers + other.numbers,
            self.dates + other.dates,
            smaller,
        )

    @property
    def as_text(self) -> bool:
        """Whether the column holds ISO text or dates rather than numbers."""
        return 2 * self.numbers < self.present or 0 < self.dates == self.present

    @property
    def unit(self) -> tuple[int, int] | None:
        """Milliseconds per unit as a fraction, by the (lower) median; None: an order."""
        middle = (self.numbers - 1) // 2
        for (_, times, per), smaller in zip(UNITS, self.smaller, strict=True):
            if self.numbers and smaller <= middle:
                return times, per
        return None


@dataclass(frozen=True, eq=False)
class _Read:
    """A column of numbers; text without numbers has NaN.

    Attributes:
        numbers: float64 ``(n,)``.
        integers: int64 ``(n,)``, 0 where it is not ``whole``.
        whole: bool ``(n,)``.
        empty: bool ``(n,)``.
        dates: bool ``(n,)``, which look like 20241231.
    """

    numbers: NDArray[np.float64]
    integers: NDArray[np.int64]
    whole: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    dates: NDArray[np.bool_]

    @classmethod
    def of_text(cls, text: Any) -> "_Read":
        whole = mask(pc.match_substring_regex(text, INTEGER))
        return cls(
            as_numbers(text),
            pc.if_else(pa.array(whole), text, "0").cast(pa.int64()).to_numpy(),
            whole,
            is_missing(text),
            mask(pc.match_substring_regex(text, COMPACT)),
        )

    @classmethod
    def of_integers(cls, column: Any) -> "_Read":
        """The same as of their text, many times as fast."""
        values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        empty = mask(pc.is_null(column))
        there = ~empty
        whole = (values > -LARGE) & (values < LARGE) & there
        few = np.flatnonzero(_within(values, DATES) | _within(values, MOMENTS))
        dates = np.zeros(len(values), dtype=np.bool_)
        if len(few):
            text = pa.array(values[few]).cast(pa.string())
            dates[few] = mask(pc.match_substring_regex(text, COMPACT))
        numbers = np.where(there, values.astype(np.float64), np.nan)
        return cls(numbers, np.where(whole, values, 0), whole, empty, dates)

    def seen(self) -> TimesSeen:
        finite = np.isfinite(self.numbers)
        sizes = np.abs(self.numbers[finite])
        return TimesSeen(
            int((~self.empty).sum()),
            len(sizes),
            int(self.dates.sum()),
            tuple(int((sizes < least).sum()) for least, _, _ in UNITS),
        )


def _within(values: NDArray[np.int64], span: tuple[int, int]) -> NDArray[np.bool_]:
    return (values >= span[0]) & (values <= span[1])


def _is_typed(column: Any) -> bool:
    return bool(pa.types.is_date(column.type) or pa.types.is_timestamp(column.type))


def _read(column: Any) -> tuple[Any, _Read]:
    """The column as text, if it is not of integers, and as numbers."""
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        return None, _Read.of_integers(column)
    text = pc.utf8_trim_whitespace(as_text(column))
    return text, _Read.of_text(text)


def look_at_times(column: Any) -> TimesSeen:
    """What a piece of a column of times says of how the whole is read."""
    return TimesSeen() if _is_typed(column) else _read(column)[1].seen()


def parse_times(column: Any, now: int, seen: TimesSeen | None = None) -> Times:
    """Read moments or an order from an Arrow array of ``(n,)``.

    Seconds, milliseconds, microseconds and nanoseconds since 1970 are told apart by the median;
    smaller integers are an order. Text is ISO 8601 (without a zone: UTC), 31.12.2024 or 20241231.

    Args:
        column: integers, floats, text, dates or timestamps.
        now: milliseconds since 1970; what is more than a day later is in the future.
        seen: what the column says of which this is a piece; None: this is the whole.
    """
    if _is_typed(column):
        empty = mask(pc.is_null(column))
        values = pc.cast(column, pa.timestamp("ms"), safe=False).cast(pa.int64())
        return _moments(pc.fill_null(values, 0).to_numpy(), empty, np.zeros(len(empty), bool), now)
    text, read = _read(column)
    seen = read.seen() if seen is None else seen
    if not seen.as_text:
        return _from_numbers(read, seen.unit, now)
    return _from_iso(as_text(column) if text is None else text, read.empty, now)


def _from_iso(text: Any, empty: NDArray[np.bool_], now: int) -> Times:
    iso = pc.replace_substring_regex(text, DAY_FIRST, r"\3-\2-\1")
    iso = pc.replace_substring_regex(iso, r" ?UTC$", "Z")
    iso = pc.replace_substring_regex(iso, COMPACT, r"\1-\2-\3T\4:\5:\6")
    iso = pc.replace_substring_regex(iso, r"T::$", "")
    parsed = pd.to_datetime(iso.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    unreadable = parsed.isna().to_numpy()
    values = parsed.dt.as_unit("ms").astype("int64").to_numpy()
    return _moments(values, empty, unreadable & ~empty, now)


def _from_numbers(read: _Read, unit: tuple[int, int] | None, now: int) -> Times:
    """Whole numbers stay integers all the way: a float would blur nanoseconds."""
    numbers, integers, whole, empty = read.numbers, read.integers, read.whole, read.empty
    number = np.isfinite(numbers)
    unreadable = ~number & ~empty
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
