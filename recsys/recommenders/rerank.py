"""A deeper list -> the k that are shown: unlike each other, less popular, fresher, or capped.

Scores of a user's pool are brought to [0, 1] (the least is 0, the best 1), so that weights mean the
same for every ranker and user. What an item is worth beside them:

    value = score - dampening * popularity + freshness * 2 ** (-age / half_life)

with popularity ``log(1 + c) / log(1 + max c)`` of the rows c of an item. The k are chosen one by
one by maximal marginal relevance (Carbonell and Goldstein, 1998; their lambda is 1 - diversity):

    (1 - diversity) * value - diversity * (the greatest cosine with an item that is chosen already)

among the items none of whose categories is full. Where that leaves nothing, full ones are taken
too: a list is never shorter for it. The scores that are returned are the ranker's own, so they need
not fall from rank to rank.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import RerankConfig
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.times import TimeKind
from recsys.errors import ConfigError
from recsys.index.topk import TopK, blank_top_k
from recsys.index.vectors import Rows, Vectors
from recsys.recommenders.cells import Bools, Cells
from recsys.recommenders.item_facts import ItemFacts, item_facts
from recsys.recommenders.ranker import Abilities, Queries, Ranker
from recsys.recommenders.two_tower import TwoTowerRanker

__all__ = ["RerankedRanker", "Reranker"]

BLOCK = 1 << 24  # numbers held at a time: 64 MB of vectors


@dataclass(frozen=True, eq=False)
class Reranker:
    """What is known of the items, and how much of it counts.

    Attributes:
        config: the weights.
        facts: of the items.
        vectors: of any length, ``(n_items, dim)``, zeros are like nothing; None where the diversity
            does not count.
    """

    config: RerankConfig
    facts: ItemFacts
    vectors: Rows | None = None

    @classmethod
    def of(
        cls,
        config: RerankConfig,
        ranker: Ranker,
        log: Interactions,
        items: Cells,
        time_kind: TimeKind,
    ) -> Self:
        """Collect what the weights ask for.

        Args:
            config: the weights.
            ranker: whose item vectors, or contents, say what is like what.
            log: what was taken, for popularity and age.
            items: the catalogue, for dates and categories.
            time_kind: of the log's times.

        Raises:
            ConfigError: there is no such column, or no dates or vectors.
        """
        facts = item_facts(config, log, items, time_kind)
        if not config.diversity:
            return cls(config, facts)
        if not isinstance(ranker, TwoTowerRanker):
            raise ConfigError(f"recommend.rerank.diversity: {ranker.name} has no item vectors")
        towers = config.vectors == "towers"
        return cls(config, facts, ranker.likeness if towers else ranker.content(config.vectors))

    def choose(self, pool: TopK, k: int) -> TopK:
        """Choose k out of each row of a pool, shapes ``(b, p)`` -> ``(b, k)``, best first.

        Rows end in item -1, score -inf only where the pool has fewer than k. Of items worth the
        same, the one that comes first in the pool is taken, so that without weights a row's first
        k are its answer.
        """
        held = pool.items.shape[1] * (1 if self.vectors is None else self.vectors.shape[1])
        if (categories := self.facts.categories) is not None:
            held += categories.shape[1] * pool.items.shape[1]
            held += int(categories.max(initial=0))  # a count of each category
        size = max(1, BLOCK // max(1, held))
        found = blank_top_k(len(pool.items), k)
        for start in range(0, len(pool.items), size):
            rows = slice(start, start + size)
            self._choose(TopK(pool.items[rows], pool.scores[rows]), found, rows)
        return found

    def _choose(self, pool: TopK, found: TopK, rows: slice) -> None:
        items, weight = np.maximum(pool.items, 0), self.config.diversity
        left = pool.items >= 0
        value = (1.0 - weight) * (_scaled(pool.scores, left) + self.facts.bonus[items])
        vectors = None if self.vectors is None else _units(self.vectors[items])
        caps = (
            None
            if self.facts.categories is None
            else _Caps.of(self.facts.categories[items], self.config)
        )
        likeness = np.zeros(items.shape)  # of nothing is chosen yet
        every = np.arange(len(items))
        for step in range(min(found.items.shape[1], items.shape[1])):
            open_ = left if caps is None else caps.prefer(left)
            worth = np.where(open_, value - weight * likeness, -np.inf)
            place = worth.argmax(axis=1)
            there = left[every, place]
            found.items[rows, step] = np.where(there, items[every, place], -1)
            found.scores[rows, step] = np.where(there, pool.scores[every, place], -np.inf)
            left[every, place] = False
            if caps is not None:
                caps.take(place, there)
            if vectors is not None:
                like = np.matmul(vectors, vectors[every, place, :, None])[:, :, 0]
                likeness = np.maximum(likeness, like) if step else like.astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Caps:
    """How many of each category are chosen already, of b users."""

    codes: NDArray[np.int32]  # (b, p, most) of the pool, -1 where there are fewer
    chosen: NDArray[np.int32]  # (b, n_categories + 1); the last one stands for -1, never full
    most: int

    @classmethod
    def of(cls, codes: NDArray[np.int32], config: RerankConfig) -> Self:
        """Nothing is chosen yet; categories are numbered anew, by those that the pools have."""
        known, numbers = np.unique(codes[codes >= 0], return_inverse=True)
        local = np.full(codes.shape, -1, dtype=np.int32)
        local[codes >= 0] = numbers
        chosen = np.zeros((len(codes), len(known) + 1), dtype=np.int32)
        return cls(local, chosen, config.per_category or 0)

    def prefer(self, left: Bools) -> Bools:
        """Items that no cap bars, ``(b, p)``; all that are left, where that is none."""
        full = self.chosen >= self.most
        full[:, -1] = False
        rows = np.arange(len(left))[:, None, None]
        free = left & ~full[rows, self.codes].any(axis=2)
        return np.where(free.any(axis=1, keepdims=True), free, left)

    def take(self, place: NDArray[np.intp], there: Bools) -> None:
        """Count the categories of what was chosen, ``(b,)``."""
        codes = self.codes[np.arange(len(place)), place]
        np.add.at(self.chosen, (np.arange(len(place))[:, None], codes), there[:, None])


@dataclass(frozen=True, eq=False)
class RerankedRanker:
    """A ranker whose deeper lists are re-ranked.

    Attributes:
        ranker: of the pool.
        reranker: chooses out of it.
        name: in tables.
    """

    ranker: Ranker
    reranker: Reranker
    name: str = "re-ranked"

    @property
    def abilities(self) -> Abilities:
        """Those of the ranker."""
        return self.ranker.abilities

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return k items per query, shapes ``(b, k)``, with the ranker's scores."""
        depth = max(k, self.reranker.config.pool)
        pool = self.ranker.top_k(queries, depth, exclude=exclude, candidates=candidates)
        return self.reranker.choose(pool, k)


def _units(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    units: Vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32, copy=False)
    return units


def _scaled(scores: NDArray[np.float32], there: Bools) -> NDArray[np.float64]:
    """Each row's scores from 0 for the least to 1 for the best; 0 where nothing is there."""
    best = np.where(there, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    least = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    span = np.where(best > least, best - least, 1.0)
    return np.where(there, (np.where(there, scores, 0.0) - least) / span, 0.0)
