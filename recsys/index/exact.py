"""Exact search: every query looks at every item. The reference, and the answer below a size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.index.packed import pack
from recsys.index.saved import check_answers, open_index, read_vectors, write_index
from recsys.index.scan import scan
from recsys.index.topk import TopK, check_request
from recsys.index.vectors import Rows, Vectors, unit_vectors

__all__ = ["ExactIndex", "exact_top_k"]


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Answers by the cosine with every item, in blocks of queries and items.

    Attributes:
        vectors: unit vectors ``(n_items, dim)``, as ``config.vectors`` has it; row number = item
            number.
        config: what it was built with.
        ids_digest: of the item ids that the rows belong to.
    """

    vectors: Rows
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
        config = config or IndexConfig(kind="exact")
        return cls(pack(vectors, config.vectors), config, ids_digest)

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
    vectors: Rows,
    queries: Vectors,
    k: int,
    *,
    exclude: Ragged | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> TopK:
    """Compare checked queries ``(q, dim)`` with all checked vectors, or with the candidates.

    Blocks of queries meet blocks of items, so that memory grows neither with the queries nor with
    the items; see `recsys.index.scan`.
    """
    numbers = None  # all: blocks are slices then, not copies
    if candidates is not None and not candidates.all():
        numbers = np.flatnonzero(candidates)
    return scan(vectors, queries, k, exclude, numbers)
