"""What lists are measured by beside their hits: popularity of the items, content, categories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.config import Beyond
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.beyond_accuracy import (
    category_mix,
    divergence,
    diversity,
    gini,
    mean_over_places,
    novelty,
    popularity_lift,
    popularity_places,
    serendipity,
)
from recsys.evaluation.metrics import Judged, PerUser, judge

__all__ = ["Aspects", "BeyondAccuracy", "measure_beyond"]

EVERYTHING: tuple[Beyond, ...] = get_args(Beyond)
BLOCK = 1 << 22  # numbers of category mixes at a time


@dataclass(frozen=True, eq=False)
class Aspects:
    """What is known of the items beside the truth.

    Attributes:
        counts: how many users learnt from took each item, int64 ``(n_items,)``.
        rows: how many of the rows learnt from each item has, by which the popularity baseline
            ranks, int64 ``(n_items,)``.
        n_users: how many users were learnt from, at least 1.
        blocks: content; the diversity is the mean of what each of them says.
        categories: rows that are positive where an item is of a category, such as the vectors of
            the encoder ``"categories"``; None: no calibration, and no diversity without blocks.
        measured: which aspects are wanted; one that lacks its data is left out.
    """

    counts: NDArray[np.int64]
    rows: NDArray[np.int64]
    n_users: int
    blocks: tuple[ContentBlock, ...] = ()
    categories: ContentBlock | None = None
    measured: tuple[Beyond, ...] = EVERYTHING

    @classmethod
    def of(
        cls,
        learnt: Interactions,
        *,
        blocks: Sequence[ContentBlock] = (),
        categories: ContentBlock | None = None,
        measured: Sequence[Beyond] = EVERYTHING,
    ) -> Self:
        """Count who took what in the rows that a model learnt from."""
        pairs = np.unique(learnt.users.astype(np.int64) * learnt.n_items + learnt.items)
        counts = np.bincount(pairs % max(learnt.n_items, 1), minlength=learnt.n_items)
        n_users = max(len(np.unique(learnt.users)), 1)
        return cls(
            counts, learnt.item_counts(), n_users, tuple(blocks), categories, tuple(measured)
        )


class BeyondAccuracy(NamedTuple):
    """The values of `measure_beyond`."""

    per_user: dict[str, PerUser]  # such as "novelty@10"; NaN where it says nothing of a user
    means: dict[str, float]  # over the others, and values of all lists such as "gini@10"


def measure_beyond(
    items: NDArray[np.int32], task: Task, aspects: Aspects, ks: Sequence[int]
) -> BeyondAccuracy:
    """Measure ranked lists by everything that can be had.

    Names: ``novelty`` (bits), ``gini``, ``arp`` (average share of users who took a recommended
    item), ``arp_lift``, ``serendipity``, ``diversity``, ``calibration_kl`` (nats; less is better),
    ``new_items``, each with ``@k``; ``new_items_truth`` is what the latter would be for the truth.
    The last two are there when a candidate has no training row. What is NaN for all is left out.

    Args:
        items: lists of the users of the task, in order, ``(u, k_max)``.
        task: who was asked, their histories, and the truth.
        aspects: what is known of the items, and what is wanted.
        ks: lengths of list, each at most ``k_max``.
    """
    users, wanted = task.users, set(aspects.measured)
    histories = task.history.histories().take(users)
    truth = task.truth.histories().take(users)
    per_user: dict[str, PerUser] = {}
    overall: dict[str, float] = {}
    if "gini" in wanted:
        overall |= {f"gini@{k}": gini(items, task.candidates, k) for k in ks}
    if "novelty" in wanted:
        counts, n_users = aspects.counts, aspects.n_users
        per_user |= {f"novelty@{k}": novelty(items, counts, n_users, k) for k in ks}
    if "popularity" in wanted:
        taken = aspects.counts / aspects.n_users
        own = _mean_of_rows(histories, taken)
        for k in ks:
            per_user[f"arp@{k}"] = mean_over_places(items, taken, k)
            overall[f"arp_lift@{k}"] = popularity_lift(per_user[f"arp@{k}"], own)
    if "serendipity" in wanted:
        judged = judge(items, truth)
        per_user |= _serendipity(judged, items, histories, task, aspects, ks)
    if "diversity" in wanted:
        per_user |= _diversity(items, aspects, ks)
    if "calibration" in wanted and aspects.categories is not None:
        per_user |= _calibration(items, histories, aspects.categories, ks)
    new = aspects.counts == 0
    if "new_items" in wanted and (new & task.candidates).any():
        per_user |= {f"new_items@{k}": mean_over_places(items, new, k) for k in ks}
        overall["new_items_truth"] = float(_mean_of_rows(truth, new).mean())
    means = {name: _mean(values) for name, values in per_user.items()} | overall
    said = {name: value for name, value in means.items() if not np.isnan(value)}
    return BeyondAccuracy(per_user, said)


def _serendipity(
    judged: Judged,
    items: NDArray[np.int32],
    histories: Ragged,
    task: Task,
    aspects: Aspects,
    ks: Sequence[int],
) -> dict[str, PerUser]:
    places = popularity_places(items, histories, aspects.rows, task.candidates)
    return {f"serendipity@{k}": serendipity(judged, places, k) for k in ks}


def _diversity(items: NDArray[np.int32], aspects: Aspects, ks: Sequence[int]) -> dict[str, PerUser]:
    blocks = aspects.blocks or (() if aspects.categories is None else (aspects.categories,))
    found = {}
    for k in ks if blocks else ():
        values = np.stack([diversity(items, one.vectors, one.present, k) for one in blocks])
        said = ~np.isnan(values)
        total = np.where(said, values, 0.0).sum(axis=0)
        found[f"diversity@{k}"] = np.where(
            said.any(axis=0), total / np.maximum(said.sum(axis=0), 1), np.nan
        )
    return found


def _calibration(
    items: NDArray[np.int32], histories: Ragged, categories: ContentBlock, ks: Sequence[int]
) -> dict[str, PerUser]:
    carries = _carries(categories)
    found = {f"calibration_kl@{k}": np.empty(len(items)) for k in ks}
    size = max(1, BLOCK // max(1, categories.dim))
    for start in range(0, len(items), size):
        rows = np.arange(start, min(start + size, len(items)))
        own = category_mix(histories.take(rows), carries)
        for k in ks:
            shown = category_mix(_rows(items[rows, :k]), carries)
            found[f"calibration_kl@{k}"][rows] = divergence(own, shown)
    return found


def _carries(categories: ContentBlock) -> sparse.csr_matrix:
    """Each item's share in its categories, rows that sum to 1 or 0, ``(n_items, n)``."""
    carried = sparse.csr_matrix(categories.vectors > 0, dtype=np.float64)
    per_item = np.repeat(np.diff(carried.indptr), np.diff(carried.indptr))
    carried.data /= per_item
    return carried


def _rows(items: NDArray[np.int32]) -> Ragged:
    filled = items >= 0
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1), dtype=np.int64)])
    return Ragged(indptr, items[filled])


def _mean_of_rows(rows: Ragged, values: NDArray[Any]) -> PerUser:
    """The mean of ``values``, one an item, over the items of each row; NaN for an empty one."""
    sums = np.bincount(rows.row_numbers, weights=values[rows.values], minlength=len(rows))
    return np.where(rows.lengths > 0, sums / np.maximum(rows.lengths, 1), np.nan)


def _mean(values: PerUser) -> float:
    """Over the users of whom something is said; NaN without any."""
    said = values[~np.isnan(values)]
    return float(said.mean()) if len(said) else float("nan")
