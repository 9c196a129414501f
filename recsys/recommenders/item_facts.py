"""What counts beside the score: how popular, how old and of which categories items are."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.config import RerankConfig
from recsys.data.interactions import Interactions
from recsys.data.times import DAY, TimeKind, parse_times
from recsys.errors import ConfigError
from recsys.recommenders.cells import Cells

__all__ = [
    "ItemFacts",
    "ages_in_days",
    "category_codes",
    "freshness_of",
    "item_facts",
    "popularity_of",
]

YEARS = (1_000, 3_000)  # a column of such numbers holds years
YEAR = 365.2425  # days
LATEST = 7_258_118_400_000  # 2200, in milliseconds since 1970
MICROSECONDS = DAY * 1_000  # of a day


class ItemFacts(NamedTuple):
    """What re-ranking knows of the items."""

    bonus: NDArray[np.float64]  # worth beside the score, (n_items,)
    categories: NDArray[np.int32] | None  # see `category_codes`; None: no cap


def item_facts(
    config: RerankConfig, log: Interactions, items: Cells, time_kind: TimeKind
) -> ItemFacts:
    """Weigh what is known of the items beside their vectors.

    Args:
        config: the weights.
        log: what was taken, for popularity and age.
        items: the catalogue, for dates and categories.
        time_kind: of the log's times.

    Raises:
        ConfigError: there is no such column, or it holds no dates.
    """
    bonus, categories = np.zeros(log.n_items), None
    if config.dampening:
        bonus -= config.dampening * popularity_of(log.item_counts())
    if config.freshness:
        ages = ages_in_days(log, items, time_kind, config.date)
        bonus += config.freshness * freshness_of(ages, config.half_life)
    if config.per_category is not None and config.category is not None:
        categories = category_codes(items, config.category)
    return ItemFacts(bonus, categories)


def popularity_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """``log(1 + c) / log(1 + max c)`` of the rows c of each item, in [0, 1], ``(n_items,)``."""
    logs: NDArray[np.float64] = np.log1p(counts.astype(np.float64))
    return logs / max(float(logs.max(initial=0.0)), np.finfo(np.float64).tiny)


def freshness_of(ages: NDArray[np.float64], half_life: float) -> NDArray[np.float64]:
    """``2 ** (-age / half_life)`` of ages in days, in (0, 1], ``(n_items,)``; unknown: 0."""
    return np.where(np.isnan(ages), 0.0, np.exp2(-np.nan_to_num(ages) / half_life))


def category_codes(items: Cells, column: str) -> NDArray[np.int32]:
    """The categories of each item by number, each once, ``(n_items, most)``, filled up with -1.

    Raises:
        ConfigError: there is no such column.
    """
    try:
        rows, codes, _, _ = items.labels(column)
    except ConfigError as error:
        raise ConfigError(f"recommend.rerank.category: {error}") from None
    pairs = np.unique(np.stack([rows, codes]), axis=1)  # sorted by row
    counts = np.bincount(pairs[0], minlength=len(items))
    places = np.arange(pairs.shape[1]) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((len(items), int(counts.max(initial=0))), -1, dtype=np.int32)
    padded[pairs[0], places] = pairs[1]
    return padded


def ages_in_days(
    log: Interactions, items: Cells, time_kind: TimeKind, date: str | None
) -> NDArray[np.float64]:
    """How old items are when the log ends, at least 0, NaN where that is not known, ``(n_items,)``.

    Args:
        log: whose last row is now, if its times are moments; else now is the newest date.
        items: the catalogue.
        time_kind: of the log's times.
        date: the column of dates, years, or moments as numbers; None: an item is as old as the
            first row that it was taken in.

    Raises:
        ConfigError: there is no such column, it holds no dates, or the log has no moments.
    """
    moments = time_kind == "timestamp" and len(log) > 0
    if date is not None:
        days = _days(items, date)
        now = log.times.max() / DAY if moments else np.max(days[~np.isnan(days)], initial=0.0)
        return np.maximum(now - days, 0.0)
    if not moments:
        raise ConfigError(
            "recommend.rerank.freshness: the log has no moments; name a column of dates: "
            "recommend.rerank.date"
        )
    first = np.full(log.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, log.items, log.times)
    taken = log.item_counts() > 0
    return np.where(taken, (log.times.max() - np.where(taken, first, 0)) / DAY, np.nan)


def _days(items: Cells, column: str) -> NDArray[np.float64]:
    """A column as days since 1970, NaN where there is nothing."""
    try:
        if items.kind(column) != "numbers":
            found = items.moments(column)
            return np.where(found.there, found.values / MICROSECONDS, np.nan)
    except ConfigError as error:
        raise ConfigError(f"recommend.rerank.date: {error}") from None
    numbers, there = items.numbers(column)
    if (there & (numbers >= YEARS[0]) & (numbers <= YEARS[1])).sum() == there.sum():
        return np.where(there, (numbers - 1970.0) * YEAR, np.nan)
    times = parse_times(pa.array(numbers[there]), LATEST)
    if times.kind != "timestamp" or any(bad.any() for bad in times.bad.values()):
        raise ConfigError(
            f"recommend.rerank.date: column {column!r} holds no dates, years, moments"
        )
    days = np.full(len(items), np.nan)
    days[there] = times.values / DAY
    return days
