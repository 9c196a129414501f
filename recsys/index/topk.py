"""What an index answers, and the exact choice of the best k out of a block of scores."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.data.ragged import Ragged

__all__ = ["TopK", "top_k_of_scores"]


class TopK(NamedTuple):
    """Best first. A row ends in item -1, score -inf only when fewer than k items were allowed."""

    items: NDArray[np.int32]  # (q, k) item numbers
    scores: NDArray[np.float32]  # (q, k)


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
        exclude: per row, item numbers never to return.
        candidates: item numbers allowed for every row, boolean ``(n_items,)``.

    Raises:
        ValueError: a score is NaN or infinite (it would rank first unnoticed), or shapes disagree.
    """
    q, n_items = scores.shape
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if not np.isfinite(scores).all():
        row, item = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of row {row}, item {item} is {scores[row, item]}, not finite")
    if exclude is not None and len(exclude) != q:
        raise ValueError(f"{len(exclude)} exclusions for {q} queries")
    if candidates is not None and candidates.shape != (n_items,):
        raise ValueError(f"candidates must have shape ({n_items},), got {candidates.shape}")
    keys = _order_keys(scores)
    if candidates is not None:
        keys[:, ~candidates] = _BARRED
    if exclude is not None:
        keys[exclude.row_numbers, exclude.values] = _BARRED
    best = torch.topk(torch.from_numpy(keys), min(k, n_items), dim=1, sorted=True)
    allowed = best.values.numpy() != _BARRED
    items = np.where(allowed, best.indices.numpy(), -1).astype(np.int32)
    chosen = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
    chosen = np.where(allowed, chosen, -np.inf).astype(np.float32)
    return _pad(TopK(items, chosen), k)


_BARRED = np.iinfo(np.int64).min


def _order_keys(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers that sort like (score, -item number): a float's bits sort like the float.

    torch.topk breaks ties as it likes; on these keys there are none.
    """
    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.int32).astype(np.int64)
    sortable = np.where(bits >= 0, bits, np.int64(-(2**31)) - bits)  # -0.0 was made 0.0 above
    places: NDArray[Any] = np.arange(scores.shape[1], dtype=np.int64)
    keys: NDArray[np.int64] = (sortable << 32) - places
    return keys


def _pad(found: TopK, k: int) -> TopK:
    missing = k - found.items.shape[1]
    if missing <= 0:
        return found
    width = ((0, 0), (0, missing))
    return TopK(
        np.pad(found.items, width, constant_values=-1),
        np.pad(found.scores, width, constant_values=-np.inf),
    )
