"""What an index answers, and the exact choice of the best k.

One rule everywhere: the higher score first, of equal scores the smaller item number.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.data.ragged import Ragged

__all__ = [
    "TopK",
    "blank_top_k",
    "check_request",
    "top_k_in_blocks",
    "top_k_of_found",
    "top_k_of_scores",
]

BLOCK = 1 << 22  # scores held at a time: some 150 MB with all that is made on the way


class TopK(NamedTuple):
    """Best first. A row ends in item -1, score -inf only when fewer than k items were allowed."""

    items: NDArray[np.int32]  # (q, k) item numbers
    scores: NDArray[np.float32]  # (q, k)


def blank_top_k(q: int, k: int) -> TopK:
    """Return answers to ``q`` queries that hold nothing yet, shapes ``(q, k)``."""
    return TopK(np.full((q, k), -1, dtype=np.int32), np.full((q, k), -np.inf, dtype=np.float32))


def check_request(
    q: int, n_items: int, k: int, exclude: Ragged | None, candidates: NDArray[np.bool_] | None
) -> None:
    """Refuse a question that does not fit ``q`` queries over ``n_items`` items.

    Raises:
        ValueError: k is below 1, a shape disagrees, or an excluded number is no item (-1 would
            bar the last item unnoticed).
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if exclude is not None and len(exclude) != q:
        raise ValueError(f"exclude has {len(exclude)} rows, expected one for each of {q} queries")
    if exclude is not None and len(exclude.values):
        least, most = int(exclude.values.min()), int(exclude.values.max())
        if least < 0 or most >= n_items:
            raise ValueError(f"exclude holds {least}..{most}, item numbers are 0..{n_items - 1}")
    if candidates is not None and (candidates.shape != (n_items,) or candidates.dtype != np.bool_):
        raise ValueError(
            f"candidates must be bool of shape ({n_items},), "
            f"got {candidates.dtype} of shape {candidates.shape}"
        )


def top_k_of_scores(
    scores: NDArray[np.float32],
    k: int,
    *,
    exclude: Ragged | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> TopK:
    """Choose the k best of each row; of equal scores the smaller item number comes first.

    Args:
        scores: shape ``(q, n_items)``, finite.
        k: how many; more than ``n_items`` pads.
        exclude: per row, item numbers never to return.
        candidates: item numbers allowed for every row, boolean ``(n_items,)``.

    Raises:
        ValueError: a score is NaN or infinite (it would rank first unnoticed), or the request
            does not fit (see ``check_request``).
    """
    q, n_items = scores.shape
    check_request(q, n_items, k, exclude, candidates)
    if not np.isfinite(scores).all():
        row, item = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of row {row}, item {item} is {scores[row, item]}, not finite")
    keys = _order_keys(scores)
    if candidates is not None:
        keys[:, ~candidates] = _BARRED
    if exclude is not None:
        keys[exclude.row_numbers, exclude.values] = _BARRED
    best = torch.topk(torch.from_numpy(keys), min(k, n_items), dim=1, sorted=True)
    allowed = best.values.numpy() != _BARRED
    found = blank_top_k(q, k)
    found.items[:, :n_items][allowed] = best.indices.numpy()[allowed]
    chosen = np.take_along_axis(scores, best.indices.numpy(), axis=1)
    found.scores[:, :n_items][allowed] = chosen[allowed]
    return found


def top_k_in_blocks(
    scores_of: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    q: int,
    n_items: int,
    k: int,
    *,
    exclude: Ragged | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> TopK:
    """Choose the k best of each of ``q`` queries without ever holding all their scores.

    Args:
        scores_of: gives the scores ``(b, n_items)`` of the queries with the given numbers ``(b,)``.
        q: how many queries; may be 0.
        n_items: how many items each of them scores.
        k: as are ``exclude`` and ``candidates``, see ``top_k_of_scores``.
    """
    check_request(q, n_items, k, exclude, candidates)
    found = blank_top_k(q, k)
    size = max(1, BLOCK // max(1, n_items))
    for start in range(0, q, size):
        rows = np.arange(start, min(start + size, q))
        barred = None if exclude is None else exclude.take(rows)
        block = top_k_of_scores(scores_of(rows), k, exclude=barred, candidates=candidates)
        found.items[rows], found.scores[rows] = block
    return found


def top_k_of_found(
    rows: NDArray[np.int64], items: NDArray[np.int32], scores: NDArray[np.float32], q: int, k: int
) -> TopK:
    """Choose the k best of each query among scattered findings, by the same rule.

    Args:
        rows: which query each finding belongs to, shape ``(m,)``, in any order.
        items: what was found, shape ``(m,)``; an item occurs once in a query.
        scores: how well it fits, shape ``(m,)``, finite.
        q: how many queries there are.
        k: how many to choose; a query with fewer findings is padded.
    """
    order = np.lexsort((items, -scores, rows))
    rows, items, scores = rows[order], items[order], scores[order]
    starts = np.searchsorted(rows, np.arange(q))
    places = np.arange(len(rows)) - starts[rows]
    best = places < k
    found = blank_top_k(q, k)
    found.items[rows[best], places[best]] = items[best]
    found.scores[rows[best], places[best]] = scores[best]
    return found


_BARRED = np.iinfo(np.int64).min


def _order_keys(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers that sort like (score, -item number): a float's bits sort like the float.

    torch.topk breaks ties as it likes; on these keys there are none.
    """
    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.int32)  # 0.0 for -0.0: they tie
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)  # bits of negative floats run the other way
    keys = bits.astype(np.int64)
    keys <<= 32
    keys -= np.arange(scores.shape[1], dtype=np.int64)
    return keys
