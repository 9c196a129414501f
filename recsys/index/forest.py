"""An Annoy forest that proposes items.

Annoy (github.com/spotify/annoy) halves the items by random hyperplanes, tree after tree; a query
descends into the most promising halves of all trees until it has met ``search_k`` items, an item
counted once for every tree it is met in. Annoy's own default grows with what is fetched; here it is
given, so that recall depends neither on k nor on how much is excluded. On unit vectors ``angular``
orders by cosine. Annoy's metric ``dot`` is broken and never used.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.index.space import Space
from recsys.index.vectors import Vectors

__all__ = ["AnnoyForest", "forest_files"]

FOREST = "items.annoy"
AXES = "axes.npy"
THREADS = min(4, os.cpu_count() or 1)  # Annoy releases the interpreter lock while it searches


@dataclass(frozen=True, eq=False)
class AnnoyForest:
    """Trees over the items' vectors, or over their places in a space of fewer axes.

    Attributes:
        forest: Annoy's trees.
        space: where the items were laid out; None: by angles, as they are.
    """

    forest: AnnoyIndex
    space: Space | None = None

    @classmethod
    def grow(
        cls, vectors: Vectors, trees: int, *, seed: int, n_jobs: int, space: Space | None = None
    ) -> Self:
        """Grow trees over unit vectors ``(n, dim)``; with ``n_jobs = 1`` the same bytes always."""
        placed = vectors if space is None else space.items(vectors)
        forest = _empty(placed.shape[1], space)
        forest.set_seed(seed)
        for item, vector in enumerate(placed):  # Annoy takes them one by one
            forest.add_item(item, vector)
        forest.build(trees, n_jobs=n_jobs)
        return cls(forest, space)

    @property
    def count(self) -> int:
        """How many items there are."""
        return int(self.forest.get_n_items())

    @property
    def trees(self) -> int:
        """How many trees there are."""
        return int(self.forest.get_n_trees())

    @property
    def most(self) -> int:
        """Every tree holds every item once: with trees * items all are looked at."""
        return self.count * self.trees

    @property
    def ordered(self) -> bool:
        """By angles Annoy's order is that of the cosine; in a space of its own it is not."""
        return self.space is None

    @property
    def files(self) -> tuple[str, ...]:
        """The trees, and the axes where there are any."""
        return forest_files(0.0 if self.space is None else self.space.distance)

    def propose(
        self, queries: Vectors, fetch: NDArray[np.int64], efforts: NDArray[np.int64]
    ) -> Ragged:
        """Return items that queries ``(q, dim)`` meet, each once: one call a query, in threads.

        Args:
            queries: unit vectors.
            fetch: at most so many items of each, ``(q,)``.
            efforts: Annoy's ``search_k`` of each, ``(q,)``.
        """
        n = self.count

        def ask(vector: NDArray[np.float32], wanted: int, effort: int) -> NDArray[np.int32]:
            found = self.forest.get_nns_by_vector(vector, min(wanted, n), effort)
            return np.array(found, dtype=np.int32)

        placed = queries if self.space is None else self.space.askers(queries)
        if len(placed) == 1:  # a user who waits: starting threads takes longer than to ask
            rows = [ask(placed[0], int(fetch[0]), int(efforts[0]))]
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                rows = list(pool.map(ask, placed, fetch.tolist(), efforts.tolist()))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        values = np.concatenate([np.empty(0, dtype=np.int32), *rows])
        return Ragged(np.concatenate([[0], np.cumsum(lengths)]), values)

    def save(self, folder: Path) -> None:
        """Write ``items.annoy``, and ``axes.npy`` where there are axes."""
        self.forest.save(str(folder / FOREST))
        if self.space is not None:
            np.save(folder / AXES, self.space.axes, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, dim: int, count: int, *, distance: float, spread: float) -> Self:
        """Map checked files into memory; several processes share them.

        Args:
            folder: of files whose sizes and digests were checked: Annoy checks neither.
            dim: of the items' vectors.
            count: of the items.
            distance: of those who ask, see `Space`; 0: trees by angles.
            spread: see `Space`.

        Raises:
            ArtifactError: the trees hold another number of items.
        """
        space = None
        if distance:
            axes = np.load(folder / AXES, allow_pickle=False)
            space, dim = Space(axes, distance, spread), axes.shape[1]
        forest = _empty(dim, space)
        forest.load(str(folder / FOREST))
        if forest.get_n_items() != count:
            raise ArtifactError(
                f"{folder / FOREST}: {forest.get_n_items()} items, expected {count}; "
                "build the index again"
            )
        return cls(forest, space)


def forest_files(distance: float) -> tuple[str, ...]:
    """The files of a forest that is asked from this distance; 0: by angles."""
    return (FOREST, AXES) if distance else (FOREST,)


def _empty(dim: int, space: Space | None) -> AnnoyIndex:
    return AnnoyIndex(dim, "angular" if space is None else "euclidean")
