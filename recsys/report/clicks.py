"""People of whom nothing is known yet, click by click."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.metrics import PerUser
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Abilities, Queries, Ranker

__all__ = ["Forgetful", "ndcg_by_clicks"]


@dataclass(frozen=True)
class Forgetful:
    """A ranker that is shown the last ``clicks`` items of every history, and no user numbers."""

    ranker: Ranker
    clicks: int
    name: str = "forgetful"

    @property
    def abilities(self) -> Abilities:
        """As the ranker's own."""
        return self.ranker.abilities

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Rank with short histories; what is left out stays left out, shapes ``(b, k)``."""
        nobody = np.full(len(queries), -1, dtype=np.int32)
        short = Queries(nobody, queries.histories.last(self.clicks))
        return self.ranker.top_k(short, k, exclude=exclude, candidates=candidates)


def ndcg_by_clicks(
    ranker: Ranker, task: Task, clicks: Sequence[int], *, k: int = 10
) -> dict[int, PerUser]:
    """NDCG@k of everybody in a task, ``(u,)``, by how many of their last items are shown.

    All that a user took is left out of every list, however little of it is shown: the same items
    are asked for each time.

    Args:
        ranker: takes new users by their history.
        task: whose users are asked.
        clicks: how many items are shown, each at least 0.
        k: length of list.
    """
    return {
        n: evaluate_ranker(Forgetful(ranker, n), task, ks=(k,)).per_user[f"ndcg@{k}"]
        for n in clicks
    }
