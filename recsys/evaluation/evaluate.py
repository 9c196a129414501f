"""Evaluation: every user of a task is asked once, all items are ranked, in blocks of users.

Memory is bounded by one block's scores, ``batch_size`` x ``n_items``, plus the k best of each user.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import DataError
from recsys.evaluation.aspects import Aspects, measure_beyond
from recsys.evaluation.metrics import (
    METRICS,
    PerUser,
    contains,
    coverage,
    judge,
    limited_auc,
    repeats,
)
from recsys.index.topk import TopK
from recsys.progress import track
from recsys.recommenders.ranker import Queries, Ranker
from recsys.recommenders.recommender import Recommender

__all__ = ["Evaluation", "evaluate", "evaluate_ranker"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a ranker did in a task.

    Attributes:
        model: the ranker's name.
        users: who was asked: the users with truth, int32 ``(u,)``.
        ranked: what each of them got, shapes ``(u, max(ks))``.
        per_user: metric such as ``"ndcg@10"`` -> value of each user in [0, 1], shape ``(u,)``.
        beyond: alike of what is asked for beside accuracy, such as ``"novelty@10"``; NaN where it
            says nothing of a user (see `recsys.evaluation.beyond_accuracy`).
        means: all of these averaged over users (without NaN), and values of all lists together
            such as ``"coverage@10"`` and ``"gini@10"``.
        seconds: wall time of the ranking.
    """

    model: str
    users: NDArray[np.int32]
    ranked: TopK
    per_user: dict[str, PerUser]
    beyond: dict[str, PerUser]
    means: dict[str, float]
    seconds: float

    @property
    def n_users(self) -> int:
        """How many users the means are over."""
        return len(self.users)

    def table(self, user_ids: UserIds, item_ids: ItemIds) -> pd.DataFrame:
        """The very lists that were measured: ``user_id, rank, item_id, score``, rank 1 first."""
        rows, places = np.nonzero(self.ranked.items >= 0)
        return pd.DataFrame(
            {
                "user_id": user_ids.ids(self.users[rows]),
                "rank": (places + 1).astype(np.int32),
                "item_id": item_ids.ids(self.ranked.items[rows, places]),
                "score": self.ranked.scores[rows, places],
            }
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.4f}" for name, value in self.means.items())
        return f"Evaluation({self.model}, {self.n_users:,} users: {values})"


def evaluate(
    recommender: Recommender,
    split: Split,
    *,
    part: Literal["test", "validation"] = "test",
    candidates: Literal["train", "catalogue"] = "train",
    ks: Sequence[int] = (10, 20),
    aspects: Aspects | None = None,
) -> Evaluation:
    """Measure a recommender on the held-out part of a split, by accuracy and what lies beyond.

    Users are asked with the histories of the split, whatever the recommender knows of them.

    Args:
        recommender: what is measured.
        split: of the data set that the recommender was fitted on.
        part: what is held out.
        candidates: items with training rows, or the whole catalogue.
        ks: lengths of list to measure at.
        aspects: what lists are measured by beside their hits; else the popularity of the items in
            the rows before the part, without content.
    """
    aspects = aspects or Aspects.of(split.learnable(refit=part == "test"))
    task = split.task(part, candidates=candidates)
    return evaluate_ranker(recommender.ranker, task, ks=ks, aspects=aspects)


def evaluate_ranker(
    ranker: Ranker,
    task: Task,
    *,
    ks: Sequence[int] = (10, 20),
    batch_size: int = 256,
    description: str | None = None,
    aspects: Aspects | None = None,
) -> Evaluation:
    """Rank all candidates for every user with truth, leaving out the history, and measure.

    Args:
        ranker: what is measured.
        task: who is asked and what would have been right.
        ks: lengths of list to measure at, each at least 1.
        batch_size: users ranked at a time; it bounds the memory, not the result.
        description: of the progress bar; None shows none.
        aspects: what lists are measured by beside their hits; None: nothing.

    Raises:
        DataError: no user of the task has truth.
        ValueError: an answer breaks the contract of `Ranker`: a wrong shape, a score that is not
            finite, an item twice, excluded, not a candidate or out of range.
    """
    users = task.users
    if not len(users):
        raise DataError(f"nobody to ask: no held-out row can be answered, dropped: {task.dropped}")
    started = time.perf_counter()
    ranked = _rank(ranker, task, users, max(ks), batch_size, description)
    seconds = time.perf_counter() - started
    judged = judge(ranked.items, task.truth.histories().take(users))
    per_user = {f"{name}@{k}": metric(judged, k) for k in ks for name, metric in METRICS.items()}
    allowed = _allowed(task)
    per_user |= {f"lauc@{k}": limited_auc(judged, allowed, k) for k in ks}
    means = {name: float(values.mean()) for name, values in per_user.items()}
    n_candidates = int(task.candidates.sum())
    means |= {f"coverage@{k}": coverage(ranked.items, n_candidates, k) for k in ks}
    beyond: dict[str, PerUser] = {}
    if aspects is not None:
        beyond, more = measure_beyond(ranked.items, task, aspects, ks)
        means |= more
    return Evaluation(ranker.name, users, ranked, per_user, beyond, means, seconds)


def _allowed(task: Task) -> NDArray[np.int64]:
    """How many items can be recommended to each user of the task: candidates not yet taken."""
    known = np.unique(
        task.history.users.astype(np.int64) * task.history.n_items + task.history.items
    )
    users, items = np.divmod(known, task.history.n_items)
    taken = np.bincount(users[task.candidates[items]], minlength=task.history.n_users)
    allowed: NDArray[np.int64] = task.candidates.sum() - taken[task.users]
    return allowed


def _rank(
    ranker: Ranker,
    task: Task,
    users: NDArray[np.int32],
    k: int,
    batch_size: int,
    description: str | None,
) -> TopK:
    histories = task.history.histories()
    blocks = [users[start : start + batch_size] for start in range(0, len(users), batch_size)]
    items = np.empty((len(users), k), dtype=np.int32)
    scores = np.empty((len(users), k), dtype=np.float32)
    done = 0
    for block in track(blocks, description, len(blocks)) if description else blocks:
        known = histories.take(block)
        best = ranker.top_k(Queries(block, known), k, exclude=known, candidates=task.candidates)
        _check(ranker.name, best, block, k, known, task.candidates)
        items[done : done + len(block)], scores[done : done + len(block)] = best
        done += len(block)
    return TopK(items, scores)


def _check(
    name: str,
    best: TopK,
    users: NDArray[np.int32],
    k: int,
    exclude: Ragged,
    candidates: NDArray[np.bool_],
) -> None:
    """Refuse an answer that would be measured as good though it is none."""
    if best.items.shape != (len(users), k) or best.scores.shape != (len(users), k):
        raise ValueError(
            f"{name}: asked for {k} items of {len(users)} users, "
            f"got items {best.items.shape} and scores {best.scores.shape}"
        )
    empty = best.items == -1
    outside = (best.items < -1) | (best.items >= len(candidates))
    safe = np.where(empty | outside, 0, best.items)
    faults = {
        "an item number out of range": outside,
        "a score that is not finite": ~np.isfinite(best.scores) & ~empty,
        "a padded place whose score is not -inf": (best.scores != -np.inf) & empty,
        "an item after a padded place": empty[:, :-1] & ~empty[:, 1:],
        "an item twice": repeats(best.items)[:, None],
        "an item that is excluded": contains(exclude, best.items),
        "an item that is no candidate": ~candidates[safe] & ~empty,
    }
    for fault, found in faults.items():
        if found.any():
            user = users[np.argmax(found.any(axis=1))]
            raise ValueError(f"{name}: the list of user number {user} has {fault}")
