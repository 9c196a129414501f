"""The two towers as a ranker: user vectors asked of an index of item vectors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.index.exact import ExactIndex
from recsys.index.index import Index
from recsys.index.live import LiveIndex, vectors_of
from recsys.index.topk import TopK, top_k_of_scores
from recsys.index.vectors import Rows
from recsys.recommenders.ranker import Abilities, Queries
from recsys.towers.two_tower import TwoTower

__all__ = ["TwoTowerRanker"]


@dataclass(frozen=True, eq=False)
class TwoTowerRanker:
    """Ranks by the cosine of user and item vectors, through whatever index it is given.

    Attributes:
        towers: turn users and histories into vectors.
        index: holds the item vectors.
        name: in tables: ``"two-tower"`` as served, ``"two-tower-exact"`` beside it.
        own: where the item tower itself puts the items, if newcomers are placed beside it and
            items have changed; None: as the towers say.
    """

    towers: TwoTower
    index: Index
    name: str = "two-tower"
    own: Index | None = None

    @property
    def abilities(self) -> Abilities:
        """New users by their history; new items by their content, if there is any."""
        return Abilities(new_users=True, new_items=bool(self.towers.content_widths))

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query, shapes ``(b, k)``; scores are cosines."""
        histories = queries.histories
        if len(self.index) > self.towers.n_items:  # what was added since says nothing of tastes
            histories = histories.where(histories.values < self.towers.n_items)
        vectors = self.towers.user_vectors(queries.users, histories, queries.attributes)
        able, there = self.scorable, self.there
        if able.all():
            return self.index.query(vectors, k, exclude=exclude, candidates=candidates)
        allowed = able if candidates is None else able & candidates
        found = self.index.query(vectors, k, exclude=exclude, candidates=allowed)
        rest = ~able & there if candidates is None else ~able & there & candidates
        return _fill(found, rest, exclude)

    @cached_property
    def scorable(self) -> NDArray[np.bool_]:
        """Items with a training row or content, ``(n_items,)``; others come last, scored -1."""
        able: NDArray[np.bool_] = self.towers.items.scorable.cpu().numpy()
        if not isinstance(self.index, LiveIndex):
            return able
        able = self.index.widen(able, added=True)
        able[self.index.numbers] = True
        return able & self.there

    @cached_property
    def learnt(self) -> NDArray[np.bool_]:
        """Items that the towers learnt from and that are still there, ``(n_items,)``."""
        known: NDArray[np.bool_] = self.towers.items.known.cpu().numpy()
        return self.index.widen(known, added=False) if isinstance(self.index, LiveIndex) else known

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        """Items that have not been removed, ``(n_items,)``."""
        if isinstance(self.index, LiveIndex):
            return self.index.widen(np.ones(self.towers.n_items, dtype=np.bool_), added=True)
        return np.ones(self.towers.n_items, dtype=np.bool_)

    @cached_property
    def own_index(self) -> Index:
        """Where the item tower itself puts the items: what is like what."""
        if self.towers.newcomers is None:
            return self.index
        return self.own or ExactIndex.build(
            self.towers.items_alone(), IndexConfig(kind="exact", vectors=self.index.config.vectors)
        )

    def similar(self, items: NDArray[np.int32], k: int) -> TopK:
        """Return the k items nearest to each item ``(b,)``, itself left out, shapes ``(b, k)``."""
        itself = Ragged.of([[int(item)] for item in items])
        # Newcomers stand apart from the others in the index: what is like what, the tower knows.
        index = self.own_index
        return index.query(vectors_of(index, items), k, exclude=itself, candidates=self.scorable)

    @cached_property
    def likeness(self) -> Rows:
        """Unit vectors ``(n_items, dim)`` by which items are compared with each other.

        Newcomers stand apart from the others in the index: what is like what, the tower knows.
        """
        return self.own_index.vectors

    def content(self, name: str) -> NDArray[np.float32]:
        """What the item tower reads of a content, ``(n_items, width)``, zeros where it is absent.

        Items that were added since are not there yet.

        Raises:
            ConfigError: it reads no content of that name.
        """
        names = self.towers.items.block_names
        if name not in names:
            raise ConfigError(f"no content {name!r}; the towers read: {', '.join(names) or 'none'}")
        read = self.towers.items.contents[names.index(name)].get_buffer("content")
        vectors: NDArray[np.float32] = read.cpu().numpy()
        added = len(self.index) - len(vectors)
        return np.pad(vectors, ((0, added), (0, 0))) if added else vectors


def _fill(found: TopK, rest: NDArray[np.bool_], exclude: Ragged | None) -> TopK:
    """Append items of ``rest`` by number, scored -1, to the rows that are short of k."""
    short = np.flatnonzero(found.items[:, -1] < 0)
    if not len(short) or not rest.any():
        return found
    k = found.items.shape[1]
    more = top_k_of_scores(
        np.full((len(short), len(rest)), -1.0, dtype=np.float32),
        k,
        exclude=None if exclude is None else exclude.take(short),
        candidates=rest,
    )
    items = np.concatenate([found.items[short], more.items], axis=1)
    scores = np.concatenate([found.scores[short], more.scores], axis=1)
    order = np.argsort(items < 0, axis=1, kind="stable")[:, :k]  # what there is, then padding
    found.items[short] = np.take_along_axis(items, order, axis=1)
    found.scores[short] = np.take_along_axis(scores, order, axis=1)
    return found
