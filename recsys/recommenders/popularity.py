"""Everybody gets what most people took, ever or lately: the least that any model must beat."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.errors import ConfigError
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_decayed_popularity", "fit_popularity", "row_worths"]

HALF_LIFE = 0.1
SHORTEST = 0.01  # half-life: the oldest row then weighs 2**-100, which float32 can hold


def fit_popularity(train: Interactions) -> DenseRanker:
    """Rank items by how many training rows they have; the score is that count."""
    counts = train.item_counts()
    return DenseRanker("popularity", Abilities(True, False), _Counts(counts), counts)


def fit_decayed_popularity(
    train: Interactions, *, half_life: float = HALF_LIFE, own_clocks: bool = False
) -> DenseRanker:
    """Rank items by their training rows, each worth the less the older it is.

    A row counts ``2 ** -(age / half_life)``, its age being the share of the log's time that lies
    behind it: 0 for the newest row, 1 for the oldest (Ji et al., A re-visit of the popularity
    baseline in recommender systems, SIGIR 2020).

    Args:
        train: what to count.
        half_life: as a share of the log's time, at least 0.01.
        own_clocks: times are an order within each user, not moments that users share: the age of a
            row is counted from the user's own last row, and 1 is the oldest that there is.

    Raises:
        ConfigError: the half-life is too short.
    """
    if half_life < SHORTEST:
        raise ConfigError(
            f"decayed-popularity: half_life = {half_life}, expected at least {SHORTEST}"
        )
    worth = row_worths(train, half_life=half_life, own_clocks=own_clocks)
    counts = np.bincount(train.items, worth, minlength=train.n_items)
    return DenseRanker("decayed-popularity", Abilities(True, False), _Counts(counts), counts)


def row_worths(
    train: Interactions, *, half_life: float = HALF_LIFE, own_clocks: bool = False
) -> NDArray[np.float64]:
    """What each row counts for decayed popularity, in (0, 1], ``(n,)``."""
    worth: NDArray[np.float64] = np.exp2(-_ages(train, own_clocks=own_clocks) / half_life)
    return worth


def _ages(train: Interactions, *, own_clocks: bool) -> NDArray[np.float64]:
    """The age of each row, 0 for the newest to 1 for the oldest, ``(n,)``."""
    newest = train.times.max(initial=0)
    if own_clocks:
        ends = np.cumsum(train.user_counts()) - 1  # rows are sorted by user, oldest first
        newest = train.times[ends[train.users]]
    ages = (newest - train.times).astype(np.float64)
    share: NDArray[np.float64] = ages / max(float(ages.max(initial=0.0)), 1.0)
    return share


@dataclass(frozen=True, eq=False)
class _Counts:
    counts: NDArray[np.int64] | NDArray[np.float64]  # (n_items,)

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        return np.tile(self.counts.astype(np.float32), (len(queries), 1))
