"""What a list is worth beside its hits: how new, varied, surprising, popular, fitting it is.

Pure functions of ranked lists ``items``, shape ``(u, k_max)``, of which the first k places count;
-1 is an empty place and is left out. Per-user values have shape ``(u,)`` and are NaN for a user for
whom the definition says nothing (an empty list, no history, no content): means leave such users
out. The popularity ``taken`` of an item is the share of the users learnt from who took it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import Judged, PerUser

__all__ = [
    "category_mix",
    "divergence",
    "diversity",
    "gini",
    "mean_over_places",
    "novelty",
    "popularity_lift",
    "popularity_places",
    "serendipity",
]

ALPHA = 0.01  # of Steck's smoothing
BLOCK = 1 << 22  # numbers gathered at a time

Items = NDArray[np.integer[Any]]  # (u, k_max)


def mean_over_places(items: Items, values: NDArray[Any], k: int) -> PerUser:
    """The mean of ``values``, one an item ``(n_items,)``, over the filled places of each list.

    With the popularity of items it is their average recommendation popularity, ARP (Yin et al.,
    "Challenging the Long Tail Recommendation", 2012), in [0, 1]; with 1 for items without training
    rows the share of new items.
    """
    items = items[:, :k]
    filled = items >= 0
    total = np.where(filled, values[np.maximum(items, 0)], 0).sum(axis=1, dtype=np.float64)
    return _quotient(total, filled.sum(axis=1))


def novelty(items: Items, counts: NDArray[np.int64], n_users: int, k: int) -> PerUser:
    """Mean self-information ``-log2 p(i)`` of the list, in bits.

    Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems" (2010).
    ``p(i) = max(counts_i, 1) / n_users``: an item that nobody took would be infinitely surprising,
    and is treated as if one user had. Range [0, log2(n_users)]; the higher, the less known.

    Args:
        items: ranked item numbers.
        counts: how many users took each item, ``(n_items,)``.
        n_users: out of how many, at least 1.
        k: places that are looked at.
    """
    bits = np.log2(n_users) - np.log2(np.maximum(counts, 1))
    return mean_over_places(items, bits, k)


def gini(items: Items, candidates: NDArray[np.bool_], k: int) -> float:
    """How unequally the places are given to the candidates: 0 all alike, 1 all to one item.

    ``sum_j (2 j - n - 1) x_j / ((n - 1) sum_j x_j)`` with the numbers of places x in ascending
    order, j from 1 to n (Castells, Hurley and Vargas, *Recommender Systems Handbook*, 2nd edition,
    2015, chapter 26). Items that nobody gets count: over the shown items alone a ranker with one
    list for everybody would be the fairest. 0 with a single candidate; NaN without a filled place.

    Args:
        items: ranked item numbers, all of them candidates.
        candidates: items that may be recommended, ``(n_items,)``.
        k: places that are looked at.
    """
    shown = items[:, :k]
    places = np.bincount(shown[shown >= 0], minlength=len(candidates))[candidates]
    n, total = len(places), int(places.sum())
    if not total:
        return float("nan")
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * np.sort(places)).sum() / (max(n - 1, 1) * total))


def diversity(
    items: Items, vectors: NDArray[np.floating[Any]], present: NDArray[np.bool_], k: int
) -> PerUser:
    """Intra-list diversity: the mean of ``1 - cosine`` over all pairs of items of the list.

    Smyth and McClave, "Similarity vs. Diversity" (2001); Ziegler et al., "Improving Recommendation
    Lists Through Topic Diversification" (2005). Range [0, 2], [0, 1] for vectors without negative
    numbers. Items without content are left out; NaN with fewer than two others.

    The sum of all cosines is the squared length of the sum of the unit vectors, so that no pair is
    looked at, and users go in blocks.

    Args:
        items: ranked item numbers.
        vectors: content, ``(n_items, dim)``, of any length; of length 0 is as if absent.
        present: which items have content, ``(n_items,)``.
        k: places that are looked at.
    """
    items = items[:, :k]
    size = max(1, BLOCK // max(1, items.shape[1] * vectors.shape[1]))
    result = np.empty(len(items))
    for start in range(0, len(items), size):
        block = items[start : start + size]
        safe = np.maximum(block, 0)
        units = vectors[safe].astype(np.float64)
        lengths = np.linalg.norm(units, axis=2)
        there = (block >= 0) & present[safe] & (lengths > 0)
        units *= (there / np.where(there, lengths, 1.0))[:, :, None]
        n = there.sum(axis=1)
        cosines = (units.sum(axis=1) ** 2).sum(axis=1) - n  # each pair twice, none with itself
        result[start : start + size] = 1.0 - _quotient(cosines, n * (n - 1))
    return np.maximum(result, 0.0)  # equal vectors, rounded


def popularity_places(
    items: Items, histories: Ragged, counts: NDArray[np.int64], candidates: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The place that each item of a list would have in the same user's popularity list.

    That list holds the candidates without the user's history, those with most rows first, of
    equals the smaller number: what the popularity baseline answers. Its places are found by
    counting, without making it.

    Args:
        items: ranked item numbers, candidates outside the history.
        histories: of the ``u`` users.
        counts: how many rows each item has, ``(n_items,)``.
        candidates: items that may be recommended, ``(n_items,)``.

    Returns:
        Places from 0, shape ``(u, k_max)``, -1 where ``items`` is.
    """
    allowed = np.flatnonzero(candidates)
    place = np.full(len(counts), -1, dtype=np.int64)
    place[allowed[np.argsort(-counts[allowed], kind="stable")]] = np.arange(len(allowed))
    known = place[histories.values]
    width = len(counts) + 1  # a key is the user's row and a place
    keys = np.unique((histories.row_numbers * width + known)[known >= 0])
    starts = np.arange(len(items))[:, None] * width
    mine = place[np.maximum(items, 0)]
    before = np.searchsorted(keys, starts + mine) - np.searchsorted(keys, starts)
    places: NDArray[np.int64] = np.where(items >= 0, mine - before, -1)
    return places


def serendipity(judged: Judged, places: NDArray[np.int64], k: int) -> PerUser:
    """``|hits of the list that the popularity list of length k lacks| / k``, in [0, precision].

    Relevant and unexpected, where expected is what a primitive recommender gives: Ge,
    Delgado-Battenfeld and Jannach, "Beyond Accuracy: Evaluating Recommender Systems by Coverage and
    Serendipity" (2010). Divided by k like precision, also for short lists, so that a list of
    nothing unexpected is worth 0 and not undefined.

    Args:
        judged: the lists held against the truth.
        places: of their items in the popularity list, see `popularity_places`.
        k: places that are looked at, of either list.
    """
    unexpected = judged.hits[:, :k] & (places[:, :k] >= k)
    share: PerUser = unexpected.sum(axis=1) / k
    return share


def popularity_lift(lists: PerUser, histories: PerUser) -> float:
    """How much more popular the lists are than what the same users took by themselves.

    ``mean(lists) / mean(histories) - 1`` over the users with both: ``Delta GAP`` of Abdollahpouri
    et al., "The Unfairness of Popularity Bias in Recommendation" (2019), with all users as one
    group. Range [-1, infinity): 0 as popular, 1 twice as popular. NaN where nobody has both, or
    histories of popularity 0.

    Args:
        lists: average popularity of each user's list, ``(u,)``, NaN for an empty one.
        histories: of each user's history, ``(u,)``, NaN for an empty one.
    """
    both = ~(np.isnan(lists) | np.isnan(histories))
    own = float(histories[both].sum())
    return float(lists[both].sum()) / own - 1.0 if own else float("nan")


def category_mix(rows: Ragged, carries: sparse.csr_matrix) -> NDArray[np.float64]:
    """The category distribution ``p(g)`` of each row's items, shape ``(u, n_categories)``.

    An item counts 1, shared equally by its categories (Steck, 2018, equation 1 and 2 with equal
    weights); a row without an item that has any is NaN throughout.

    Args:
        rows: distinct item numbers of ``u`` users.
        carries: which categories an item is of, rows that sum to 1 or 0, ``(n_items, n)``.
    """
    sums = (rows.matrix(carries.shape[0]) @ carries).toarray().astype(np.float64)
    total = sums.sum(axis=1, keepdims=True)
    mix: NDArray[np.float64] = _quotient(sums, np.broadcast_to(total, sums.shape))
    return mix


def divergence(
    history: NDArray[np.float64], shown: NDArray[np.float64], alpha: float = ALPHA
) -> PerUser:
    """Miscalibration ``KL(p || (1 - alpha) q + alpha p)`` in nats, history p against list q.

    Steck, "Calibrated Recommendations" (2018), equation 3. Range [0, ln(1 / alpha)], 4.61 for
    alpha .01; 0: the list has the user's own mix of categories. NaN where either has no category.

    Args:
        history: ``(u, n_categories)``, rows that sum to 1, or NaN.
        shown: of the list, alike.
        alpha: smoothing, in (0, 1): a category that the list lacks would be infinitely bad.
    """
    smooth = (1.0 - alpha) * shown + alpha * history
    there = history > 0
    ratio = np.divide(history, smooth, out=np.ones_like(history), where=there)
    terms = np.where(there, history * np.log(ratio), 0.0).sum(axis=1)
    unknown = np.isnan(history).any(axis=1) | np.isnan(shown).any(axis=1)
    return np.where(unknown, np.nan, np.maximum(terms, 0.0))


def _quotient(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """``part / whole``, NaN where there is nothing to divide by."""
    result: NDArray[np.float64] = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
