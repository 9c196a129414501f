"""Approximate search: a forest or a graph proposes items, exact cosines rank them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, DataError
from recsys.index.calibration import calibrate
from recsys.index.effort import Calibration
from recsys.index.exact import exact_top_k
from recsys.index.forest import AnnoyForest, forest_files
from recsys.index.graph import GRAPH_FILES, HnswGraph
from recsys.index.packed import pack
from recsys.index.proposer import Proposer
from recsys.index.saved import Card, check_answers, open_index, read_card, read_vectors, write_index
from recsys.index.topk import TopK, blank_top_k, check_request, top_k_of_found
from recsys.index.vectors import Rows, Vectors, cosines_of_pairs, unit_vectors

__all__ = ["ApproximateIndex"]

ROWS = 256  # queries at a time,
GATHERED = 1 << 22  # or fewer: so many numbers of item vectors are ranked at once
SLACK = 1.5  # fetched beyond need, since candidates are not spread evenly,
SPARE = 8  # and since others round their distances differently from our cosines

SCANNED = 10.0  # allowed items in the time that a forest takes for one: some 7 of them for a query
# alone, 100 for a block of queries (1,000,000 x 64)


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """Answers from a part of the items, with the scores that exact search gives.

    Attributes:
        proposer: says which items may be near.
        vectors: unit vectors ``(n_items, dim)``, as ``config.vectors`` has it; row number = item
            number. They rank what is proposed; the proposer has its own, in float32.
        calibration: how far it looks, and what that finds.
        config: what it was built with.
        ids_digest: of the item ids that the rows belong to.
    """

    proposer: Proposer
    vectors: Rows
    calibration: Calibration
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
        exclude: Ragged | None = None,
    ) -> Self:
        """Build over unit vectors of shape ``(n_items, dim)``, and look as far as recall asks.

        The same vectors, config and seed give the same bytes on disk with ``n_jobs = 1``.

        Args:
            vectors: of the items.
            config: kind, seed, and the recall that is wanted.
            ids_digest: of the item ids that the rows belong to.
            askers: unit vectors ``(q, dim)`` like those that will be asked: recall is measured
                with them, and users lie elsewhere than items. Items where there are none.
            exclude: what each asker is not to get, q rows.

        Raises:
            DataError: there are no items, or a vector is not of length 1.
        """
        config = config or IndexConfig()
        vectors = unit_vectors(vectors, "item vectors")
        if not len(vectors):
            raise DataError("item vectors: there are none, expected at least one item")
        askers = vectors if askers is None else unit_vectors(askers, "askers", dim=vectors.shape[1])
        packed = pack(vectors, config.vectors)
        unpacked: Vectors = np.asarray(packed)  # what counts is what will be read
        proposer, calibration = calibrate(unpacked, config, askers, exclude)
        return cls(proposer, packed, calibration, config, ids_digest)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        count, dim = self.vectors.shape
        found = self.calibration
        return (
            f"ApproximateIndex({self.config.kind}, {count:,} items, {dim} dimensions, "
            f"{'keeps' if self.config.kind == 'hnsw' else 'looks at'} "
            f"{found.chosen.inspected:.1%}, recall {found.chosen.recall:.4f})"
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

        A query that may get hardly more items than would be looked at, and one that is left with
        fewer than k, is answered exactly.
        """
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        barred = Ragged.of([[] for _ in queries]) if exclude is None else exclude
        allowed = len(self) if candidates is None else int(candidates.sum())
        efforts, worth = self._efforts(k, barred.lengths, allowed)
        found = blank_top_k(len(queries), k)
        for rows in self._blocks(np.flatnonzero(allowed - barred.lengths > worth)):
            found.items[rows], found.scores[rows] = self._ask_proposer(
                queries[rows], k, barred.take(rows), candidates, allowed, efforts[rows]
            )
        short = np.flatnonzero(found.items[:, -1] < 0)  # among them all that were not asked
        if len(short):
            found.items[short], found.scores[short] = exact_top_k(
                self.vectors, queries[short], k, exclude=barred.take(short), candidates=candidates
            )
        return found

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many different items each query looks at, shape ``(q,)``."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        effort = self.calibration.chosen.effort
        lengths = [
            self.proposer.propose(
                queries[rows], np.full(len(rows), len(self)), np.full(len(rows), effort)
            ).lengths
            for rows in self._blocks(np.arange(len(queries)))
        ]
        return np.concatenate([np.empty(0, dtype=np.int64), *lengths])

    def _blocks(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Numbers of queries that are answered together."""
        looks = max(1.0, self.calibration.chosen.inspected * np.prod(self.vectors.shape))
        size = int(np.clip(GATHERED / looks, 1, ROWS))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def save(self, folder: Path) -> None:
        """Write the proposer's files, ``vectors.npy`` and ``index.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.proposer.save(folder)
        write_index(
            folder,
            self.vectors,
            self.config,
            ids_digest=self.ids_digest,
            calibration=self.calibration,
            neighbours=self._neighbours,
            others=self.proposer.files,
        )

    @classmethod
    def load(cls, folder: Path, *, ids_digest: str = "") -> Self:
        """Map a saved index into memory; several processes share it.

        Raises:
            ArtifactError: a file is missing or damaged, the index is of another kind or of other
                items, or it answers differently than when it was saved.
        """
        about = read_card(folder)
        kind = "hnsw" if about.config.kind == "hnsw" else "annoy"
        card = open_index(folder, kind=kind, ids_digest=ids_digest, others=_files(about))
        if card.calibration is None:
            raise ArtifactError(f"{folder}: not calibrated; build the index again")
        vectors = read_vectors(folder, card)
        try:
            proposer = _load_proposer(folder, card, card.calibration)
        except (OSError, ValueError, RuntimeError) as error:  # of numpy, Annoy and hnswlib
            raise ArtifactError(f"{folder}: {error}; build the index again") from None
        index = cls(proposer, vectors, card.calibration, card.config, card.ids_digest)
        check_answers(folder, card, vectors, index._neighbours)
        return index

    def _ask_proposer(
        self,
        queries: Vectors,
        k: int,
        exclude: Ragged,
        candidates: NDArray[np.bool_] | None,
        allowed: int,
        efforts: NDArray[np.int64],
    ) -> TopK:
        """Fetch, drop what is barred, rank exactly."""
        fetch = np.full(len(queries), len(self))
        if self.proposer.ordered:
            fetch = int(SLACK * k * len(self) / allowed) + SPARE + exclude.lengths
        proposed = self.proposer.propose(queries, fetch, efforts)
        return self._rank(proposed, queries, k, exclude, candidates)

    def _efforts(
        self, k: int, excluded: NDArray[np.int64], allowed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How far to look for each query, and from how many items on it pays, both ``(q,)``.

        The k best that are left lie the deeper, the more come before them and may not be had: the
        effort, which was measured with a depth of its own, grows with that, until a scan of all
        that is allowed takes less. In a `Space` any filter means that: who is asked for seldom
        there stands far from where the forest looks.
        """
        measured = self.calibration
        looks = measured.chosen.inspected * len(self)
        depth = (k + excluded) / (measured.k + measured.excluded)
        times = np.maximum(1.0, depth) * (len(self) / max(1, allowed))
        efforts = np.minimum(self.proposer.most, measured.chosen.effort * times)
        if allowed == len(self):
            cost = np.clip(times, 1.0, SCANNED)  # nobody who asks the usual is scanned for
        else:
            cost = np.full(len(excluded), SCANNED if self.proposer.ordered else np.inf)
        return efforts.astype(np.int64), cost * looks * times

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
        scores = cosines_of_pairs(queries, self.vectors, rows, items)
        return top_k_of_found(rows, items, scores, len(queries), k)

    def _neighbours(self, queries: Vectors, k: int) -> NDArray[np.int32]:
        return self.query(queries, k).items


def _files(card: Card) -> tuple[str, ...]:
    """The files of the proposer."""
    if card.config.kind == "hnsw":
        return GRAPH_FILES
    return forest_files(card.calibration.distance if card.calibration else 0.0)


def _load_proposer(folder: Path, card: Card, found: Calibration) -> Proposer:
    if card.config.kind == "hnsw":
        return HnswGraph.load(folder, card.dim, card.count)
    return AnnoyForest.load(
        folder, card.dim, card.count, distance=found.distance, spread=found.spread
    )
