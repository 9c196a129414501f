"""A query -> the items whose content is nearest to it."""

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import ContentBlock

__all__ = ["nearest"]

BLOCK = 65_536  # items whose cosines are computed at once


def nearest(
    block: ContentBlock,
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the numbers and cosines ``(k,)`` of the items nearest to a query ``(dim,)``.

    Best first, of equals the smaller number; fewer than k where fewer have this content. The mean
    is not taken away: that of images is not that of the texts which ask for them. ``allowed``
    ``(n_items,)`` bars some; None: nobody.
    """
    items = np.flatnonzero(block.present if allowed is None else block.present & allowed)
    cosines = np.empty(len(items), dtype=np.float32)
    asked = query / max(float(np.linalg.norm(query)), 1e-12)
    for start in range(0, len(items), BLOCK):
        rows = block.vectors[items[start : start + BLOCK]]
        lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
        cosines[start : start + BLOCK] = rows @ asked / lengths
    best = np.lexsort((items, -cosines))[:k]
    return items[best], cosines[best]
