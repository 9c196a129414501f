"""Approximate search: an Annoy forest proposes items, exact cosines rank them.

Annoy (github.com/spotify/annoy) halves the items by random hyperplanes, tree after tree; a query
descends into the most promising halves of all trees until it has met ``search_k`` items. On unit
vectors ``angular`` orders by cosine. Annoy's metric ``dot`` is broken and never used.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, DataError
from recsys.index.exact import exact_top_k
from recsys.index.saved import check_answers, read_card, read_vectors, write_index
from recsys.index.topk import TopK, check_request, top_k_of_found
from recsys.index.vectors import Vectors, cosines_of_pairs, unit_vectors

__all__ = ["AnnoyForest"]

FOREST = "items.annoy"
ROWS = 256  # queries at a time: bounds the vectors gathered for ranking
SPARE = 8  # fetched beyond need: Annoy rounds its distances differently from our cosines
THREADS = min(4, os.cpu_count() or 1)  # Annoy releases the interpreter lock while it searches


@dataclass(frozen=True, eq=False)
class AnnoyForest:
    """Answers from a forest, with the scores that exact search gives.

    Attributes:
        forest: Annoy's trees over ``vectors``.
        vectors: unit vectors, float32 ``(n_items, dim)``; row number = item number.
        search_k: items that a query meets, an item counted once for every tree it is met in. It
            is fixed, so that what is found depends neither on k nor on how much is excluded.
        config: what it was built with.
        ids_digest: of the item ids that the rows belong to.
    """

    forest: AnnoyIndex
    vectors: Vectors
    search_k: int
    config: IndexConfig
    ids_digest: str

    @classmethod
    def build(
        cls, vectors: Vectors, config: IndexConfig | None = None, *, ids_digest: str = ""
    ) -> Self:
        """Grow ``config.trees`` trees over unit vectors of shape ``(n_items, dim)``.

        The same vectors, config and seed give the same bytes on disk with ``n_jobs = 1``.

        Raises:
            DataError: there are none, or one is not of length 1.
        """
        config = config or IndexConfig()
        vectors = unit_vectors(vectors, "item vectors")
        if not len(vectors):
            raise DataError("item vectors: there are none, expected at least one item")
        forest = AnnoyIndex(vectors.shape[1], "angular")
        forest.set_seed(config.seed)
        for item, vector in enumerate(vectors):  # Annoy takes them one by one
            forest.add_item(item, vector)
        forest.build(config.trees, n_jobs=config.n_jobs)
        search_k = max(config.at_least, int(config.inspect * len(vectors)))
        return cls(forest, vectors, search_k, config, ids_digest)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        count, dim = self.vectors.shape
        return (
            f"AnnoyForest({count:,} items, {dim} dimensions, {self.config.trees} trees, "
            f"search_k {self.search_k:,})"
        )

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return about the k items of highest cosine of each query; see ``Index.query``.

        Where candidates are so few that looking at each costs less than the forest, and for
        queries that the forest leaves with fewer than k, the answer is exact.
        """
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        if candidates is not None and candidates.sum() <= self.config.inspect * len(self):
            return exact_top_k(self.vectors, queries, k, exclude=exclude, candidates=candidates)
        barred = exclude if exclude is not None else Ragged.of([[] for _ in queries])
        found = TopK(
            np.full((len(queries), k), -1, dtype=np.int32),
            np.full((len(queries), k), -np.inf, dtype=np.float32),
        )
        for start in range(0, len(queries), ROWS):
            rows = np.arange(start, min(start + ROWS, len(queries)))
            block = self._query_block(queries[rows], k, barred.take(rows), candidates)
            found.items[rows], found.scores[rows] = block
        return found

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many different items each query looks at, shape ``(q,)``."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        return self._propose(queries, np.full(len(queries), len(self))).lengths

    def save(self, folder: Path) -> None:
        """Write ``items.annoy``, ``vectors.npy`` and ``index.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.forest.save(str(folder / FOREST))
        write_index(
            folder,
            self.vectors,
            self.config,
            ids_digest=self.ids_digest,
            search_k=self.search_k,
            neighbours=self._neighbours,
            others=(FOREST,),
        )

    @classmethod
    def load(cls, folder: Path, *, ids_digest: str = "") -> Self:
        """Map a saved index into memory; several processes share it.

        Raises:
            ArtifactError: a file is missing or damaged, the index is of another kind or of other
                items, or it answers differently than when it was saved.
        """
        card = read_card(folder, ids_digest=ids_digest)
        if card.config.kind != "annoy":
            raise ArtifactError(f"{folder}: an index of kind {card.config.kind!r}, not 'annoy'")
        vectors = read_vectors(folder, card)
        forest = AnnoyIndex(card.dim, "angular")
        forest.load(str(folder / FOREST))  # its size and digest were checked: Annoy checks neither
        if (forest.get_n_items(), forest.get_n_trees()) != (card.count, card.config.trees):
            raise ArtifactError(
                f"{folder / FOREST}: {forest.get_n_items()} items in {forest.get_n_trees()} trees, "
                f"expected {card.count} in {card.config.trees}; build the index again"
            )
        index = cls(forest, vectors, card.search_k, card.config, card.ids_digest)
        check_answers(folder, card, vectors, index._neighbours)
        return index

    def _query_block(
        self, queries: Vectors, k: int, exclude: Ragged, candidates: NDArray[np.bool_] | None
    ) -> TopK:
        """Fetch, drop what is barred, rank exactly; fetch more and at last search exactly."""
        share = 1.0 if candidates is None else candidates.mean()  # of what is fetched, allowed
        fetch = np.ceil((k + SPARE) / share).astype(np.int64) + exclude.lengths
        found = self._rank(self._propose(queries, fetch), queries, k, exclude, candidates)
        for again in (self._everything, self._exactly):
            short = np.flatnonzero(found.items[:, -1] < 0)
            if not len(short):
                break
            more = again(queries[short], k, exclude.take(short), candidates)
            found.items[short], found.scores[short] = more
        return found

    def _everything(
        self, queries: Vectors, k: int, exclude: Ragged, candidates: NDArray[np.bool_] | None
    ) -> TopK:
        """Rank all that the forest looks at."""
        met = self._propose(queries, np.full(len(queries), len(self)))
        return self._rank(met, queries, k, exclude, candidates)

    def _exactly(
        self, queries: Vectors, k: int, exclude: Ragged, candidates: NDArray[np.bool_] | None
    ) -> TopK:
        """Rank all items."""
        return exact_top_k(self.vectors, queries, k, exclude=exclude, candidates=candidates)

    def _propose(self, queries: Vectors, fetch: NDArray[np.int64]) -> Ragged:
        """Ask Annoy for ``fetch`` items of each query: one call a query, in a few threads."""

        def ask(vector: NDArray[np.float32], n: int) -> list[int]:
            found: list[int] = self.forest.get_nns_by_vector(vector, n, self.search_k)
            return found

        with ThreadPoolExecutor(THREADS) as pool:
            return Ragged.of(list(pool.map(ask, queries, fetch.tolist())))

    def _rank(
        self,
        proposed: Ragged,
        queries: Vectors,
        k: int,
        exclude: Ragged,
        candidates: NDArray[np.bool_] | None,
    ) -> TopK:
        """Drop what is barred and rank the rest by exact cosine."""
        rows, items = proposed.row_numbers, proposed.values
        barred = exclude.row_numbers * len(self) + exclude.values  # one number for query and item
        allowed = ~np.isin(rows * len(self) + items, barred)
        if candidates is not None:
            allowed &= candidates[items]
        rows, items = rows[allowed], items[allowed]
        scores = cosines_of_pairs(queries[rows], self.vectors[items])
        return top_k_of_found(rows, items, scores, len(queries), k)

    def _neighbours(self, queries: Vectors, k: int) -> NDArray[np.int32]:
        return self.query(queries, k).items
