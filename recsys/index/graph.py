"""A navigable graph (HNSW) that proposes items: the peer that shows what Annoy costs.

Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
navigable small world graphs" (TPAMI 2020), by hnswlib. Its file is read into the memory of each
process, where Annoy's is mapped and shared.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, ConfigError
from recsys.index.vectors import Vectors

__all__ = ["GRAPH_FILES", "HnswGraph"]

GRAPH = "items.hnsw"
GRAPH_FILES = (GRAPH,)
LINKS, WIDTH = 16, 200  # M and ef_construction
FEWER = 0.9  # are asked for again where parts of the graph cannot be reached


@dataclass(frozen=True, eq=False)
class HnswGraph:
    """A graph over the items' unit vectors, by inner product."""

    graph: Any
    _lock: threading.Lock = field(default_factory=threading.Lock)  # the effort is one for all

    @classmethod
    def grow(cls, vectors: Vectors, *, seed: int, n_jobs: int) -> Self:
        """Link unit vectors ``(n, dim)``; with ``n_jobs = 1`` the same bytes always.

        Raises:
            ConfigError: hnswlib is not installed.
        """
        graph = _library().Index(space="ip", dim=vectors.shape[1])
        graph.init_index(len(vectors), M=LINKS, ef_construction=WIDTH, random_seed=seed)
        graph.add_items(vectors, np.arange(len(vectors)), num_threads=n_jobs)
        return cls(graph)

    @property
    def count(self) -> int:
        """How many items there are."""
        return int(self.graph.get_current_count())

    @property
    def most(self) -> int:
        """Candidates as many as there are items."""
        return self.count

    @property
    def ordered(self) -> bool:
        """They come by inner product."""
        return True

    @property
    def files(self) -> tuple[str, ...]:
        """The graph."""
        return GRAPH_FILES

    def propose(
        self, queries: Vectors, fetch: NDArray[np.int64], efforts: NDArray[np.int64]
    ) -> Ragged:
        """Keep so many candidates on the way; see `Proposer.propose`.

        What is met are the candidates that are kept in the end (hnswlib's ``ef``): how many others
        were compared and dropped, hnswlib does not tell.
        """
        whole = fetch >= self.count
        wanted = np.minimum(np.where(whole, efforts, fetch), self.count)
        # hnswlib 0.8 gives worse candidates to who asks for few of them: all are asked for.
        widths = np.minimum(_rounded(np.maximum(efforts, wanted)), self.count)
        rows = np.empty(0, dtype=np.int64)
        items = np.empty(0, dtype=np.int32)
        for width in np.unique(widths).tolist():
            here = np.flatnonzero(widths == width)
            labels = self._ask(queries[here], width)
            kept = np.arange(labels.shape[1]) < wanted[here, None]
            rows = np.concatenate([rows, here[np.nonzero(kept)[0]]])
            items = np.concatenate([items, labels[kept].astype(np.int32)])
        order = np.argsort(rows, kind="stable")
        lengths = np.bincount(rows, minlength=len(queries))
        return Ragged(np.concatenate([[0], np.cumsum(lengths)]), items[order])

    def _ask(self, queries: Vectors, width: int) -> NDArray[np.uint64]:
        """The best of ``width`` candidates ``(q, m)``, m of them where no more can be reached."""
        with self._lock:
            self.graph.set_ef(width)
            while width:
                try:
                    labels: NDArray[np.uint64] = self.graph.knn_query(queries, k=width)[0]
                    return labels
                except RuntimeError:  # fewer than k were met
                    width = int(FEWER * width)
        return np.empty((len(queries), 0), dtype=np.uint64)

    def save(self, folder: Path) -> None:
        """Write ``items.hnsw``."""
        self.graph.save_index(str(folder / GRAPH))

    @classmethod
    def load(cls, folder: Path, dim: int, count: int) -> Self:
        """Read a file whose size and digest were checked.

        Raises:
            ArtifactError: it holds another number of items.
            ConfigError: hnswlib is not installed.
        """
        graph = _library().Index(space="ip", dim=dim)
        graph.load_index(str(folder / GRAPH), max_elements=count)
        if graph.get_current_count() != count:
            raise ArtifactError(
                f"{folder / GRAPH}: {graph.get_current_count()} items, expected {count}; "
                "build the index again"
            )
        return cls(graph)


def _rounded(widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round up to powers of two: queries of one width are asked together."""
    up: NDArray[np.int64] = (2 ** np.ceil(np.log2(np.maximum(widths, 1)))).astype(np.int64)
    return up


def _library() -> Any:
    try:
        import hnswlib
    except ImportError:
        raise ConfigError('index.kind = "hnsw" needs hnswlib: pip install "recsys[hnsw]"') from None
    return hnswlib
