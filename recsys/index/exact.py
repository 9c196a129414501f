"""Exact search: every query looks at every item. The reference, and the answer below a size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.index.saved import check_answers, open_index, read_vectors, write_index
from recsys.index.topk import TopK, check_request, top_k_in_blocks
from recsys.index.vectors import Vectors, cosines, unit_vectors

__all__ = ["ExactIndex", "exact_top_k"]


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Answers by the cosine with every item, in blocks of queries.

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
            search_k=0,
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

    Memory is bounded by a block of scores; with few candidates only those are looked at.
    """
    if candidates is not None:
        return _among(vectors, queries, k, exclude, np.flatnonzero(candidates))
    wide = vectors.astype(np.float64)
    return top_k_in_blocks(
        lambda rows: cosines(queries[rows], wide), len(queries), len(vectors), k, exclude=exclude
    )


def _among(
    vectors: Vectors,
    queries: Vectors,
    k: int,
    exclude: Ragged | None,
    allowed: NDArray[np.int64],
) -> TopK:
    """Search only the allowed items: renumber, search, and give the numbers back."""
    place = np.full(len(vectors), -1, dtype=np.int32)
    place[allowed] = np.arange(len(allowed), dtype=np.int32)
    if exclude is not None:
        exclude = _keep(exclude, place)
    found = exact_top_k(vectors[allowed], queries, k, exclude=exclude)
    if not len(allowed):
        return found
    items = np.where(found.items >= 0, allowed[found.items], -1).astype(np.int32)
    return TopK(items, found.scores)


def _keep(exclude: Ragged, place: NDArray[np.int32]) -> Ragged:
    """The exclusions in new numbers; those that are not allowed anyway are left out."""
    values = place[exclude.values]
    kept = values >= 0
    lengths = np.bincount(exclude.row_numbers[kept], minlength=len(exclude))
    return Ragged(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), values[kept])
