"""The two towers as a ranker: user vectors asked of an index of item vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.index import Index
from recsys.index.topk import TopK
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
    """

    towers: TwoTower
    index: Index
    name: str = "two-tower"

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
        vectors = self.towers.user_vectors(queries.users, queries.histories)
        return self.index.query(vectors, k, exclude=exclude, candidates=candidates)

    def similar(self, items: NDArray[np.int32], k: int) -> TopK:
        """Return the k items nearest to each item ``(b,)``, itself left out, shapes ``(b, k)``."""
        itself = Ragged.of([[int(item)] for item in items])
        return self.index.query(self.index.vectors[items], k, exclude=itself)
