"""Exact search: every query looks at every item. The reference, and the answer below a size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.index import topk
from recsys.index.saved import check_answers, open_index, read_vectors, write_index
from recsys.index.topk import TopK, blank_top_k, check_request, top_k_of_found
from recsys.index.vectors import Vectors, cosines, unit_vectors

__all__ = ["ExactIndex", "exact_top_k"]

QUERIES = 256  # that meet a block of items together


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Answers by the cosine with every item, in blocks of queries and items.

    Attributes:
        vectors: unit vectors, float32 ``(n_items, dim)``; row number = item number.
        config: what it was built with.
        ids_digest: of the item ids that the rows belong to.
    """

    vectors: Vectors
    config: IndexConfig
    ids_digest: str

    @classmethod
    def build(
        cls, vectors: Vectors, config: IndexConfig | None = None, *, ids_digest: str = ""
    ) -> Self:
        """Take unit vectors of shape ``(n_items, dim)``.

        Raises:
            DataError: there are none, or one is not of length 1.
        """
        vectors = unit_vectors(vectors, "item vectors")
        if not len(vectors):
            raise DataError("item vectors: there are none, expected at least one item")
        return cls(vectors, config or IndexConfig(kind="exact"), ids_digest)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"ExactIndex({len(self):,} items, {self.vectors.shape[1]} dimensions)"

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k items of highest cosine of each query; see ``Index.query``."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        return exact_top_k(self.vectors, queries, k, exclude=exclude, candidates=candidates)

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many items each query looks at, shape ``(q,)``: all of them."""
        queries = unit_vectors(queries, "queries", dim=self.vectors.shape[1])
        return np.full(len(queries), len(self), dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Write ``vectors.npy`` and ``index.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        write_index(
            folder,
            self.vectors,
            self.config,
            ids_digest=self.ids_digest,
            calibration=None,
            neighbours=self._neighbours,
        )

    @classmethod
    def load(cls, folder: Path, *, ids_digest: str = "") -> Self:
        """Map a saved index into memory.

        Raises:
            ArtifactError: a file is missing or damaged, or the index is of another kind or of
                other items.
        """
        card = open_index(folder, kind="exact", ids_digest=ids_digest)
        index = cls(read_vectors(folder, card), card.config, card.ids_digest)
        check_answers(folder, card, index.vectors, index._neighbours)
        return index

    def _neighbours(self, queries: Vectors, k: int) -> NDArray[np.int32]:
        return self.query(queries, k).items


def exact_top_k(
    vectors: Vectors,
    queries: Vectors,
    k: int,
    *,
    exclude: Ragged | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> TopK:
    """Compare checked queries ``(q, dim)`` with all checked vectors, or with the candidates.

    Blocks of queries meet blocks of items, so that memory grows neither with the queries nor with
    the items: ``topk.BLOCK`` scores at a time, and as many numbers of item vectors in double.
    """
    found = blank_top_k(len(queries), k)
    numbers = None  # all: blocks are slices then, not copies
    if candidates is not None and not candidates.all():
        numbers = np.flatnonzero(candidates)
    for start in range(0, len(queries), QUERIES):
        rows = np.arange(start, min(start + QUERIES, len(queries)))
        barred = None if exclude is None else exclude.take(rows)
        block = _search(vectors, queries[rows], k, barred, numbers)
        found.items[rows], found.scores[rows] = block
    return found


def _search(
    vectors: Vectors,
    queries: Vectors,
    k: int,
    exclude: Ragged | None,
    numbers: NDArray[np.int64] | None,
) -> TopK:
    """The best k of the items with the given ascending numbers, or of all, for a few queries.

    Later items have larger numbers and lose ties: only what beats the k-th best so far is looked at
    again, and after the first blocks that is hardly any.
    """
    best = blank_top_k(len(queries), k)
    n = len(vectors) if numbers is None else len(numbers)
    size = max(1, topk.BLOCK // max(len(queries), vectors.shape[1]))
    for start in range(0, n, size):
        part = slice(start, min(start + size, n))
        here = np.arange(part.start, part.stop) if numbers is None else numbers[part]
        scores = cosines(queries, vectors[part if numbers is None else here])
        if exclude is not None:
            _bar(scores, here, exclude)
        least = best.scores[:, -1:]
        better = scores > least
        if len(here) > k and np.isneginf(least).any():  # no bound yet: that of this block
            better &= scores >= np.partition(scores, -k, axis=1)[:, -k, None]
        best = _merge(best, here, scores, better)
    return best


def _bar(scores: NDArray[np.float32], here: NDArray[np.int64], exclude: Ragged) -> None:
    """Set the scores of excluded items to -inf; column j is item ``here[j]``."""
    places = np.minimum(np.searchsorted(here, exclude.values), len(here) - 1)
    mine = here[places] == exclude.values
    scores[exclude.row_numbers[mine], places[mine]] = -np.inf


def _merge(
    best: TopK, here: NDArray[np.int64], scores: NDArray[np.float32], better: NDArray[np.bool_]
) -> TopK:
    """The best so far together with the better ones of a block."""
    rows, places = np.divmod(np.flatnonzero(better), len(here))  # several times np.nonzero's speed
    if not len(rows):
        return best
    filled = best.items >= 0
    return top_k_of_found(
        np.concatenate([np.nonzero(filled)[0], rows]),
        np.concatenate([best.items[filled], here[places].astype(np.int32)]),
        np.concatenate([best.scores[filled], scores[rows, places]]),
        *best.items.shape,
    )
