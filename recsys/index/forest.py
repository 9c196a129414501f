"""Approximate search: an Annoy forest proposes items, exact cosines rank them.

Annoy (github.com/spotify/annoy) halves the items by random hyperplanes, tree after tree; a query
descends into the most promising halves of all trees until it has met ``search_k`` items. On unit
vectors ``angular`` orders by cosine. Annoy's metric ``dot`` is broken and never used.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, DataError
from recsys.index.exact import exact_top_k
from recsys.index.saved import check_answers, open_index, read_vectors, write_index
from recsys.index.topk import TopK, blank_top_k, check_request, top_k_of_found
from recsys.index.vectors import Vectors, cosines_of_pairs, unit_vectors

__all__ = ["AnnoyForest"]

FOREST = "items.annoy"
ROWS = 256  # queries at a time: bounds the vectors gathered for ranking
SAMPLE = 64  # askers that search_k is measured with
SLACK = 1.5  # fetched beyond need, since candidates are not spread evenly,
SPARE = 8  # and since Annoy rounds its distances differently from our cosines
THREADS = min(4, os.cpu_count() or 1)  # Annoy releases the interpreter lock while it searches


@dataclass(frozen=True, eq=False)
class AnnoyForest:
    """Answers from a forest, with the scores that exact search gives.

    Attributes:
        forest: Annoy's trees over ``vectors``.
        vectors: unit vectors, float32 ``(n_items, dim)``; row number = item number.
        search_k: how many items a query meets, an item counted once for every tree it is met in.
            Annoy's own default grows with what is fetched; this is fixed, so that recall depends
            neither on k nor on how much is excluded.
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
        cls,
        vectors: Vectors,
        config: IndexConfig | None = None,
        *,
        ids_digest: str = "",
        askers: Vectors | None = None,
    ) -> Self:
        """Grow ``config.trees`` trees over unit vectors of shape ``(n_items, dim)``.

        The same vectors, config and seed give the same bytes on disk with ``n_jobs = 1``.

        Args:
            vectors: of the items.
            config: trees, seed, and how many items a query may look at.
            ids_digest: of the item ids that the rows belong to.
            askers: unit vectors ``(q, dim)`` like those that will be asked; the more a query lies
                like them, the nearer it comes to looking at what ``config`` allows. Items where
                there are none (they look at about a third more than users do).

        Raises:
            DataError: there are no items, or a vector is not of length 1.
        """
        config = config or IndexConfig()
        vectors = unit_vectors(vectors, "item vectors")
        if not len(vectors):
            raise DataError("item vectors: there are none, expected at least one item")
        dim = vectors.shape[1]
        askers = vectors if askers is None else unit_vectors(askers, "askers", dim=dim)
        forest = AnnoyIndex(dim, "angular")
        forest.set_seed(config.seed)
        for item, vector in enumerate(vectors):  # Annoy takes them one by one
            forest.add_item(item, vector)
        forest.build(config.trees, n_jobs=config.n_jobs)
        index = cls(forest, vectors, len(vectors), config, ids_digest)
        chosen = np.random.default_rng(config.seed).permutation(len(askers))[:SAMPLE]
        return replace(index, search_k=index._search_k_for(askers[chosen]))

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        count, dim = self.vectors.shape
        return (
            f"AnnoyForest({count:,} items, {dim} dimensions, {self.config.trees} trees, "
            f"search_k {self.search_k:,})"
        )

    @property
    def budget(self) -> float:
        """How many different items a query may look at, on average."""
        share = self.config.inspect * len(self)
        return min(max(share, self.config.at_least), self.config.at_most)

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return about the k items of highest cosine of each query; see ``Index.query``.

        A query that may get no more items than the forest would look at, and one that the forest
        leaves with fewer than k, is answered exactly.
        """
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        barred = Ragged.of([[] for _ in queries]) if exclude is None else exclude
        blocks = [
            self._query_block(queries[rows], k, barred.take(rows), candidates)
            for rows in np.split(np.arange(len(queries)), range(ROWS, len(queries), ROWS))
        ]
        items, scores = zip(*blocks, strict=True)
        return TopK(np.concatenate(items), np.concatenate(scores))

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many different items each query looks at, shape ``(q,)``."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        return self._propose(queries, np.full(len(queries), len(self)), self.search_k).lengths

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
        card = open_index(folder, kind="annoy", ids_digest=ids_digest, others=(FOREST,))
        vectors = read_vectors(folder, card)
        forest = AnnoyIndex(card.dim, "angular")
        forest.load(str(folder / FOREST))  # its size and digest were checked: Annoy checks neither
        if forest.get_n_items() != card.count:
            raise ArtifactError(
                f"{folder / FOREST}: {forest.get_n_items()} items, expected {card.count}; "
                "build the index again"
            )
        index = cls(forest, vectors, card.search_k, card.config, card.ids_digest)
        check_answers(folder, card, vectors, index._neighbours)
        return index

    def _query_block(
        self, queries: Vectors, k: int, exclude: Ragged, candidates: NDArray[np.bool_] | None
    ) -> TopK:
        """Fetch, drop what is barred, rank exactly; search exactly where too few are left."""
        allowed = len(self) if candidates is None else int(candidates.sum())
        found = blank_top_k(len(queries), k)
        asked = np.flatnonzero(allowed - exclude.lengths > self.budget)
        if len(asked):
            barred, vectors = exclude.take(asked), queries[asked]
            fetch = int(SLACK * k * len(self) / allowed) + SPARE + barred.lengths
            proposed = self._propose(vectors, fetch, self.search_k)
            found.items[asked], found.scores[asked] = self._rank(
                proposed, vectors, k, barred, candidates
            )
        short = np.flatnonzero(found.items[:, -1] < 0)  # among them all that were not asked
        if len(short):
            found.items[short], found.scores[short] = exact_top_k(
                self.vectors, queries[short], k, exclude=exclude.take(short), candidates=candidates
            )
        return found

    def _propose(self, queries: Vectors, fetch: NDArray[np.int64], search_k: int) -> Ragged:
        """Ask Annoy for ``fetch`` items of each query: one call a query, in a few threads."""

        def ask(vector: NDArray[np.float32], n: int) -> NDArray[np.int32]:
            found = self.forest.get_nns_by_vector(vector, min(n, len(self)), search_k)
            return np.array(found, dtype=np.int32)

        with ThreadPoolExecutor(THREADS) as pool:
            rows = list(pool.map(ask, queries, fetch.tolist()))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        values = np.concatenate([np.empty(0, dtype=np.int32), *rows])
        return Ragged(np.concatenate([[0], np.cumsum(lengths)]), values)

    def _search_k_for(self, askers: Vectors) -> int:
        """The largest ``search_k`` (to a twentieth) that keeps the askers within the budget.

        How much of ``search_k`` goes to items met in several trees depends on the vectors, so it
        is measured. Every tree holds every item once: with trees * items all are looked at.
        """
        everything = np.full(len(askers), len(self))
        low, high = 1.0, float(self.config.trees * len(self))
        if self.budget >= len(self) or not len(askers):
            return int(high)
        while high > 1.05 * low:
            middle = (low * high) ** 0.5
            within = self._propose(askers, everything, int(middle)).lengths.mean() <= self.budget
            low, high = (middle, high) if within else (low, middle)
        return int(low)

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
