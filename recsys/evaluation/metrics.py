"""Ranking metrics: pure functions of which places of each list are hits.

    judged = judge(ranked_items, truth)      lists (u, k_max), truth of u users -> hits
    ndcg(judged, 10)                         one number for each user, shape (u,)

Relevance is binary. With k places, hits h_1..h_k in {0, 1} and n relevant items of a user, the
formulas follow Järvelin & Kekäläinen (2002) for NDCG and Manning, Raghavan & Schütze, *Introduction
to Information Retrieval* (2008), chapter 8, for the others. All values lie in [0, 1]. An empty
place (-1) is no hit; users without relevant items are not judged at all, never counted as 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged

__all__ = [
    "METRICS",
    "Judged",
    "PerUser",
    "average_precision",
    "contains",
    "coverage",
    "hit_rate",
    "judge",
    "limited_auc",
    "ndcg",
    "precision",
    "recall",
    "recall_capped",
    "reciprocal_rank",
    "repeats",
]

PerUser = NDArray[np.float64]  # (u,)


class Judged(NamedTuple):
    """Ranked lists held against the truth."""

    hits: NDArray[np.bool_]  # (u, k_max): whether the item in this place is relevant
    relevant: NDArray[np.int64]  # (u,): how many distinct items are relevant, at least 1
    lengths: NDArray[np.int64]  # (u,): how many places are filled


def judge(items: NDArray[np.integer[Any]], truth: Ragged) -> Judged:
    """Mark the places that hold a relevant item.

    Args:
        items: ranked item numbers, best first, shape ``(u, k_max)``; -1 is an empty place.
        truth: the relevant item numbers of each of the ``u`` users; a repeated one counts once.

    Raises:
        ValueError: the numbers of users differ, a user has no relevant item, or a list names an
            item twice (a hit would count twice).
    """
    if len(items) != len(truth):
        raise ValueError(f"{len(items)} ranked lists for {len(truth)} users")
    if not truth.lengths.all():
        raise ValueError(f"user in row {np.argmin(truth.lengths)} has no relevant item")
    twice = repeats(items)
    if twice.any():
        raise ValueError(f"the list in row {np.argmax(twice)} names an item twice")
    keys = np.unique(_keys(truth.row_numbers, truth.values))
    relevant = np.bincount(keys >> _ITEM_BITS, minlength=len(truth))
    return Judged(contains(truth, items), relevant, (items >= 0).sum(axis=1))


def contains(rows: Ragged, items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Whether row i of ``rows`` contains each of ``items[i]``; shapes ``(u, k)``.

    Sorted keys of row and item are searched, so that no loop over users is needed; -1 is in no row.
    """
    if not len(rows.values):
        return np.zeros(items.shape, dtype=np.bool_)
    present = np.sort(_keys(rows.row_numbers, rows.values))
    wanted = _keys(np.arange(len(rows))[:, None], np.maximum(items, 0))
    places = np.minimum(np.searchsorted(present, wanted), len(present) - 1)
    found: NDArray[np.bool_] = (present[places] == wanted) & (items >= 0)
    return found


def repeats(items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Whether each list of ``items``, shape ``(u, k)``, names an item twice, shape ``(u,)``."""
    ordered = np.sort(items, axis=1)
    same = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    twice: NDArray[np.bool_] = same.any(axis=1)
    return twice


def ndcg(judged: Judged, k: int) -> PerUser:
    """``DCG / IDCG``: sum of ``h_i / log2(i + 1)``, over that of min(k, n) hits in front."""
    hits = _first(judged, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(judged.relevant, k) - 1]
    return _share((hits * discounts).sum(axis=1), ideal)


def recall(judged: Judged, k: int) -> PerUser:
    """``hits / n``: of the relevant items, the share that is found."""
    return _share(_first(judged, k).sum(axis=1), judged.relevant)


def recall_capped(judged: Judged, k: int) -> PerUser:
    """``hits / min(k, n)``: of those that k places have room for, the share that is found."""
    return _share(_first(judged, k).sum(axis=1), np.minimum(judged.relevant, k))


def hit_rate(judged: Judged, k: int) -> PerUser:
    """1 for a user with at least one hit, else 0."""
    return _share(_first(judged, k).any(axis=1), 1)


def reciprocal_rank(judged: Judged, k: int) -> PerUser:
    """``1 / i`` of the first hit among the first k places, 0 without any; its mean is the MRR."""
    hits = _first(judged, k)
    return _share(hits.any(axis=1), hits.argmax(axis=1) + 1)


def average_precision(judged: Judged, k: int) -> PerUser:
    """Sum of the precision at every hit, over ``min(k, n)``; its mean is the MAP."""
    hits = _first(judged, k)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return _share((precisions * hits).sum(axis=1), np.minimum(judged.relevant, k))


def precision(judged: Judged, k: int) -> PerUser:
    """``hits / k``, also where a list is shorter than k."""
    return _share(_first(judged, k).sum(axis=1), k)


METRICS: dict[str, Callable[[Judged, int], PerUser]] = {
    "ndcg": ndcg,
    "recall": recall,
    "recall_capped": recall_capped,
    "hr": hit_rate,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "precision": precision,
}


def limited_auc(judged: Judged, allowed: NDArray[np.int64], k: int) -> PerUser:
    """Area under the ROC curve as far as k places tell: what is in none of them ties.

    Of all pairs of a relevant item and another one that may be recommended, the share in which the
    relevant one comes first. An item in the list comes before those outside; two items outside
    count one half, so that the curve runs straight from the last place to (1, 1): the LAUC of
    Schröder, Thiele and Lehner, "Setting Goals and Choosing Metrics for Recommender System
    Evaluations" (2011). With k at least the number of candidates it is the AUC. Nothing beyond the
    list is needed, so that memory does not grow with the catalogue; nor is a sample drawn.

    Args:
        judged: lists of ``u`` users.
        allowed: how many items could have been recommended to each user, ``(u,)``, the relevant
            ones among them; 1/2 for a user to whom no others could.
        k: places that are looked at.

    Raises:
        ValueError: a list and the truth hold more items than are allowed.
    """
    hits = _first(judged, k)
    found = hits.sum(axis=1)
    others = allowed - judged.relevant
    shown = np.minimum(judged.lengths, k) - found  # of the others
    if (shown > others).any():
        row = np.argmax(shown > others)
        raise ValueError(f"row {row} holds more items than the {allowed[row]} that are allowed")
    above = np.arange(1, k + 1) - np.cumsum(hits, axis=1)  # others before each place
    won = found * others - (above * hits).sum(axis=1)
    tied = (judged.relevant - found) * (others - shown)
    return np.where(others > 0, (won + tied / 2) / np.maximum(judged.relevant * others, 1), 0.5)


def coverage(items: NDArray[np.integer[Any]], n_candidates: int, k: int) -> float:
    """Of the items that may be recommended, the share that is in anybody's first k places.

    Args:
        items: ranked item numbers, shape ``(u, k_max)``; -1 is an empty place.
        n_candidates: how many items may be recommended.
    """
    shown = np.unique(items[:, :k])
    return float((shown >= 0).sum() / n_candidates)


_ITEM_BITS = 32  # a key is the row in the upper bits, the item number in the lower ones


def _keys(rows: NDArray[np.int64], items: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = (rows << _ITEM_BITS) + items
    return keys


def _first(judged: Judged, k: int) -> NDArray[np.bool_]:
    if not 1 <= k <= judged.hits.shape[1]:
        raise ValueError(f"k is {k}, but the lists have {judged.hits.shape[1]} places")
    return judged.hits[:, :k]


def _share(part: Any, whole: Any) -> PerUser:
    shares: PerUser = part / whole
    return shares
