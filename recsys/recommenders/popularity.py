"""Everybody gets what most people took: the least that any recommender must beat."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_popularity"]


def fit_popularity(train: Interactions) -> DenseRanker:
    """Rank items by how many training rows they have; the score is that count."""
    counts = train.item_counts()
    return DenseRanker("popularity", Abilities(True, False), _Counts(counts), counts)


@dataclass(frozen=True, eq=False)
class _Counts:
    counts: NDArray[np.int64]  # (n_items,)

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        return np.tile(self.counts.astype(np.float32), (len(queries), 1))
