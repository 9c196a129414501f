"""Several rankers vote: their lists fused by rank, alike or with weights learnt on validation.

Ranks can be added up where scores cannot: a cosine and a count have no common scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.topk import TopK, blank_top_k
from recsys.recommenders.ranker import Abilities, Queries, Ranker

__all__ = ["DEPTH", "BlendRanker", "fuse"]

CONSTANT = 60  # of reciprocal rank fusion, as in the paper
DEPTH = 100  # places of each list that count


def fuse(lists: Sequence[NDArray[np.integer[Any]]], weights: Sequence[float], k: int) -> TopK:
    """Add up ``weight / (60 + rank)`` over the lists that name an item; keep the k best.

    Cormack, Clarke and Büttcher, Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods, SIGIR 2009, there with all weights 1.

    Args:
        lists: item numbers of ``b`` users, best first, ``(b, d)`` each; -1 is an empty place.
        weights: of the lists, at least 0; an item that only lists of weight 0 name scores 0.
        k: how many to keep.

    Returns:
        Items and scores, ``(b, k)``; of equal scores the smaller item number comes first.
    """
    b = len(lists[0])
    items = np.concatenate(lists, axis=1).astype(np.int64)
    votes = np.concatenate(
        [
            weight / (CONSTANT + np.arange(1, ranked.shape[1] + 1))
            for ranked, weight in zip(lists, weights, strict=True)
        ]
    )
    rows, places = np.nonzero(items >= 0)
    width = int(items.max(initial=0)) + 1
    keys, of = np.unique(rows * width + items[rows, places], return_inverse=True)
    scores = np.bincount(of, votes[places], minlength=len(keys)).astype(np.float32)
    rows, numbers = np.divmod(keys, width)
    order = np.lexsort((numbers, -scores, rows))
    starts = np.searchsorted(rows, np.arange(b))  # keys are sorted, so rows are
    place = np.arange(len(keys)) - starts[rows]
    kept = place < k
    best = blank_top_k(b, k)
    best.items[rows[kept], place[kept]] = numbers[order][kept]
    best.scores[rows[kept], place[kept]] = scores[order][kept]
    return best


@dataclass(frozen=True, eq=False)
class BlendRanker:
    """Ranks by the votes of others, see `fuse`.

    What is excluded, or no candidate, takes no rank from the others: unlike a scorer's, the order
    of two items may depend on which others are allowed.

    Attributes:
        name: in tables.
        parts: who votes, at least one.
        weights: of their votes, at least 0.
        depth: places of each list that count; never fewer than are asked for.
    """

    name: str
    parts: tuple[Ranker, ...]
    weights: tuple[float, ...]
    depth: int = DEPTH

    @property
    def abilities(self) -> Abilities:
        """New users where all parts can, new items where one can."""
        able = [part.abilities for part in self.parts]
        return Abilities(all(one.new_users for one in able), any(one.new_items for one in able))

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query, shapes ``(b, k)``; see ``Ranker.top_k``."""
        depth = max(k, self.depth)
        lists = [
            part.top_k(queries, depth, exclude=exclude, candidates=candidates).items
            for part in self.parts
        ]
        return fuse(lists, self.weights, k)
