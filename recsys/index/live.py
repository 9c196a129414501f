"""An index that changes without being built again: a base that stays, and a list of changes.

Vectors that were added or replaced lie in a side list that is searched exactly, beside the base's
answer; what was removed or replaced is barred from the base. Nothing is written to: each change
gives another index over the same base, and who asks the one before goes on asking it.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.index.exact import exact_top_k
from recsys.index.index import Index
from recsys.index.live_saved import Side, read_side, write_side
from recsys.index.packed import rounded
from recsys.index.topk import TopK, blank_top_k, check_request, top_k_of_found
from recsys.index.vectors import Vectors, unit_vectors

__all__ = ["LiveIndex", "vectors_of"]

PROBES, NEIGHBOURS = 5, 10  # changed items that are asked for their neighbours, as in `saved`
SLACK, SPARE = 2.0, 10  # of what a base is asked for beyond k, where some of it is barred
FEW = 0.25  # barred share of the base up to which asking for more beats naming all that is allowed

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LiveIndex:
    """A base index of n items and what changed since.

    Attributes:
        base: answers for its items 0..n-1; it may be mapped from disk, and stays as it is.
        numbers: items with another vector than in the base, ascending, int64 ``(m,)``; those from
            n on were added.
        side: their unit vectors, float32 ``(m, dim)``, rounded as those of the base are.
        removed: items that are never answered, ascending, int64 ``(r,)``; they keep their numbers.
        ids_digest: of the ids of all items, the added ones among them.
    """

    base: Index
    numbers: Numbers
    side: Vectors
    removed: Numbers
    ids_digest: str

    @classmethod
    def over(cls, base: Index) -> Self:
        """Return an index in which nothing has changed yet."""
        none = np.empty(0, dtype=np.int64)
        side = np.empty((0, base.vectors.shape[1]), dtype=np.float32)
        return cls(base, none, side, none, base.ids_digest)

    def put(
        self,
        numbers: NDArray[np.integer[Any]],
        vectors: Vectors,
        *,
        ids_digest: str | None = None,
    ) -> Self:
        """Return the index with these vectors added or replaced; what was removed is back.

        Args:
            numbers: distinct items ``(m,)``: of this index, or the next ones, ``len(self)``
                onward without a gap.
            vectors: unit vectors ``(m, dim)``.
            ids_digest: of all ids, where items are added; as before if None.

        Raises:
            DataError: a vector is of another width or not of length 1.
            ValueError: the numbers leave a gap, come twice, or are not as many as the vectors.
        """
        vectors = unit_vectors(vectors, "item vectors", dim=self.side.shape[1])
        vectors = rounded(vectors, self.config.vectors)
        numbers = np.asarray(numbers, dtype=np.int64)
        added = np.sort(numbers[numbers >= len(self)])
        whole = np.array_equal(added, np.arange(len(self), len(self) + len(added)))
        if numbers.shape != (len(vectors),) or len(np.unique(numbers)) != len(numbers):
            raise ValueError(f"numbers: expected {len(vectors)} different ones, one a vector")
        if not whole or (numbers < 0).any():
            raise ValueError(f"numbers: expected items, or the next ones from {len(self)} on")
        kept = ~np.isin(self.numbers, numbers)
        together = np.concatenate([self.numbers[kept], numbers])
        order = np.argsort(together)
        return replace(
            self,
            numbers=together[order],
            side=np.concatenate([self.side[kept], vectors])[order],
            removed=np.setdiff1d(self.removed, numbers),
            ids_digest=self.ids_digest if ids_digest is None else ids_digest,
        )

    def without(self, numbers: NDArray[np.integer[Any]]) -> Self:
        """Return the index that never answers these items ``(r,)``.

        Raises:
            ValueError: a number is no item.
        """
        numbers = np.asarray(numbers, dtype=np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise ValueError(f"numbers: item numbers are 0..{len(self) - 1}")
        return replace(self, removed=np.union1d(self.removed, numbers))

    def __len__(self) -> int:
        return max(len(self.base), int(self.numbers[-1]) + 1 if len(self.numbers) else 0)

    def __repr__(self) -> str:
        return (
            f"LiveIndex({self.base!r}, {len(self) - len(self.base):,} added, "
            f"{int((self.numbers < len(self.base)).sum()):,} replaced, {len(self.removed):,} "
            "removed)"
        )

    @property
    def config(self) -> IndexConfig:
        """What the base was built with."""
        return self.base.config

    @cached_property
    def vectors(self) -> Vectors:
        """All unit vectors, float32 ``(n_items, dim)``: a copy; for a few rows see `vectors_of`."""
        return self.take(np.arange(len(self)))

    def take(self, items: NDArray[np.integer[Any]]) -> Vectors:
        """The vectors of items ``(b,)``, float32 ``(b, dim)``."""
        places, changed = self._places(items)
        rows: Vectors = np.empty((len(items), self.side.shape[1]), dtype=np.float32)
        rows[changed] = self.side[places[changed]]
        rows[~changed] = self.base.vectors[items[~changed]]
        return rows

    def widen(self, base: NDArray[np.bool_], *, added: bool) -> NDArray[np.bool_]:
        """A mask ``(n,)`` of the base's items for all, ``(n_items,)``; removed items are out.

        Args:
            base: what is true of these.
            added: what is true of the items that were added.
        """
        mask = np.full(len(self), added, dtype=np.bool_)
        mask[: len(base)] = base
        mask[self.removed] = False
        return mask

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return k items of high cosine of each query; see ``Index.query``.

        As good as the base for its items, exact for those that changed; removed items are not
        answered even where ``candidates`` names them.
        """
        queries = unit_vectors(queries, "queries", dim=self.side.shape[1])
        check_request(len(queries), len(self), k, exclude, candidates)
        barred = None if exclude is None else exclude.where(exclude.values < len(self.base))
        found = self._ask_base(queries, k, barred, candidates)
        if not len(self.numbers):
            return found
        allowed = self._side_allowed if candidates is None else candidates[self.numbers]
        beside = exact_top_k(
            self.side,
            queries,
            k,
            exclude=None if exclude is None else self._side_exclude(exclude),
            candidates=allowed & self._side_allowed,
        )
        numbered = np.where(beside.items < 0, -1, self.numbers[beside.items]).astype(np.int32)
        return _best(
            np.concatenate([found.items, numbered], axis=1),
            np.concatenate([found.scores, beside.scores], axis=1),
            k,
        )

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many items each query looks at, shape ``(q,)``: all that changed among them."""
        looked: NDArray[np.int64] = self.base.inspected(queries) + len(self.numbers)
        return np.minimum(looked, len(self))

    def save(self, folder: Path) -> None:
        """Write what changed, and not the base, which lies where it was saved."""
        write_side(folder, self._as_side(), len(self), self._probes())

    @classmethod
    def load(cls, folder: Path, base: Index, *, ids_digest: str = "") -> Self:
        """Read what changed since a base was built.

        Raises:
            ArtifactError: a file is missing or damaged, the changes are of another base or of
                other items, or the base answers differently than when they were saved.
        """
        empty = replace(cls.over(base), ids_digest=ids_digest)
        side, probes = read_side(folder, empty._as_side())
        index = cls(base, side.numbers, side.vectors, side.removed, ids_digest)
        if index._probes() != probes:
            raise ArtifactError(
                f"{folder}: answers otherwise than when it was saved: the base is another; make "
                "the changes again"
            )
        return index

    def _as_side(self) -> Side:
        about = len(self.base), self.base.ids_digest, self.ids_digest
        return Side(self.numbers, self.side, self.removed, *about)

    def _probes(self) -> dict[int, tuple[int, ...]]:
        """What some changed items have as neighbours, as they are asked at save and at load."""
        if not len(self.numbers):
            return {}
        rows = np.unique(np.linspace(0, len(self.numbers) - 1, PROBES).astype(np.int64))
        found = self.query(self.side[rows], min(NEIGHBOURS, len(self))).items.tolist()
        asked = self.numbers[rows].tolist()
        return {item: tuple(items) for item, items in zip(asked, found, strict=True)}

    def _places(
        self, items: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where items ``(b,)`` stand in the side list, and which of them do."""
        places = np.searchsorted(self.numbers, items)
        there = np.append(self.numbers, -1)[places] == items
        return places, there

    @cached_property
    def _barred(self) -> NDArray[np.bool_]:
        """Items of the base that it may not answer, ``(n,)``."""
        barred = np.zeros(len(self.base), dtype=np.bool_)
        for numbers in (self.numbers, self.removed):
            barred[numbers[numbers < len(barred)]] = True
        return barred

    @cached_property
    def _side_allowed(self) -> NDArray[np.bool_]:
        return ~np.isin(self.numbers, self.removed)

    def _side_exclude(self, exclude: Ragged) -> Ragged:
        places, there = self._places(exclude.values)
        return Ragged(exclude.where(there).indptr, places[there].astype(np.int32))

    def _ask_base(
        self,
        queries: Vectors,
        k: int,
        exclude: Ragged | None,
        candidates: NDArray[np.bool_] | None,
    ) -> TopK:
        """What the base says of items that did not change."""
        barred = self._barred
        wanted = ~barred if candidates is None else candidates[: len(barred)] & ~barred
        n_barred, rest = int(barred.sum()), len(barred) - int(wanted.sum())
        if not rest:
            return self.base.query(queries, k, exclude=exclude)
        if rest > n_barred or n_barred > FEW * len(barred):
            return self.base.query(queries, k, exclude=exclude, candidates=wanted)
        # An approximate base may answer any choice of candidates by looking at all of them, so it
        # is rather asked for a few more than k; who is left with fewer than k then asks again.
        more = min(n_barred, int(SLACK * k * n_barred / len(barred)) + SPARE)
        fetched = self.base.query(queries, k + more, exclude=exclude)
        items = np.where(np.append(barred, False)[fetched.items], -1, fetched.items)
        found = _best(items.astype(np.int32), fetched.scores, k)
        short = np.flatnonzero((found.items[:, -1] < 0) & (fetched.items[:, -1] >= 0))
        if len(short):
            found.items[short], found.scores[short] = self.base.query(
                queries[short],
                k,
                exclude=None if exclude is None else exclude.take(short),
                candidates=wanted,
            )
        return found


def vectors_of(index: Index, items: NDArray[np.integer[Any]]) -> Vectors:
    """The vectors of some items ``(b,)`` of any index, float32 ``(b, dim)``; no others are read."""
    if isinstance(index, LiveIndex):
        return index.take(items)
    rows: Vectors = np.asarray(index.vectors[items])
    return rows


def _best(items: NDArray[np.int32], scores: NDArray[np.float32], k: int) -> TopK:
    """The k best of each row of findings ``(q, c)``, of which -1 are none."""
    if not len(items):
        return blank_top_k(0, k)
    rows, places = np.nonzero(items >= 0)
    return top_k_of_found(rows, items[rows, places], scores[rows, places], len(items), k)
