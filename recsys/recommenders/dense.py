"""Rankers that score every item: the part they share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.index.topk import TopK, top_k_in_blocks
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["DenseRanker", "Scorer"]


class Scorer(Protocol):
    """Gives every item a score for a block of queries."""

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        """Return finite scores, shape ``(b, n_items)``; larger is better."""
        ...


@dataclass(frozen=True, eq=False)
class DenseRanker:
    """Ranks all items by a scorer, in blocks of users.

    A user of whose history the scorer knows nothing (there is none, or no item of it has content)
    is ranked by popularity: all scores are alike then, and the order of the items' numbers is no
    recommendation. Items that cannot be scored come last.

    Attributes:
        name: in tables, such as ``"ease"``.
        abilities: whether new users and new items are scored.
        scorer: scores the others.
        counts: training rows of each item, or what stands for its popularity, ``(n_items,)``.
        scorable: items that the scorer knows, bool ``(n_items,)``; None: those with a count.
        anybody: whether the scorer has something to say to a user without a history.
    """

    name: str
    abilities: Abilities
    scorer: Scorer
    counts: NDArray[np.int64] | NDArray[np.float64]
    scorable: NDArray[np.bool_] | None = None
    anybody: bool = False

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query, shapes ``(b, k)``; see ``Ranker.top_k``.

        Raises:
            DataError: a history holds a number that is no item, or a user is new to a ranker
                that cannot score new users.
        """
        self._check(queries)

        def scores_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return self._scores(Queries(queries.users[rows], queries.histories.take(rows)))

        return top_k_in_blocks(
            scores_of, len(queries), len(self.counts), k, exclude=exclude, candidates=candidates
        )

    def _scores(self, queries: Queries) -> NDArray[np.float32]:
        scores = self.scorer.scores(queries)
        alike = scores.min(axis=1) == scores.max(axis=1)
        unknown = self.counts == 0 if self.scorable is None else ~self.scorable
        if unknown.any():
            scores[:, unknown] = scores.min(axis=1, keepdims=True) - 1
        if not self.anybody:
            scores[alike | (queries.histories.lengths == 0)] = self.counts
        return scores

    def _check(self, queries: Queries) -> None:
        items = queries.histories.values
        if len(items) and (items.min() < 0 or items.max() >= len(self.counts)):
            raise DataError(
                f"{self.name}: histories hold {items.min()}..{items.max()}, "
                f"item numbers are 0..{len(self.counts) - 1}"
            )
        new = int((queries.users < 0).sum())
        if new and not self.abilities.new_users:
            raise DataError(
                f"{self.name}: {new} of {len(queries)} users are new, and it knows only users it "
                "was fitted on; ask a ranker whose abilities include new_users"
            )
