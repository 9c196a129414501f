"""Where a forest lays out items so that those who ask are near to what they will like.

Users' vectors often lie far from all items: 50 degrees from the best of them are usual. Trees over
angles then send a user and what the user likes to different leaves. What counts is which items are
extreme in the user's direction, so the items are centred, the axes along which they hardly differ
are dropped, and the user stands in the user's direction at a distance that is chosen by recall:
far away only the direction counts, near the centre only what is usual.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.index.vectors import Vectors

__all__ = ["Space"]


@dataclass(frozen=True, eq=False)
class Space:
    """Principal axes of the items, and how far from their centre those stand who ask.

    Attributes:
        axes: float32 ``(dim, p)``, orthonormal columns.
        distance: from the centre, in root mean squared distances of the items.
        spread: that root mean square.
    """

    axes: NDArray[np.float32]
    distance: float
    spread: float

    @classmethod
    def of(cls, vectors: Vectors, kept: float, distance: float = 1.0) -> Self:
        """Find the axes that keep a share of the variance of ``(n, dim)``, at least one."""
        centred = vectors - vectors.mean(axis=0)
        values, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        shares = np.cumsum(values[::-1]) / max(values.sum(), np.finfo(np.float64).tiny)
        many = int(np.searchsorted(shares, kept)) + 1
        chosen = np.ascontiguousarray(axes[:, ::-1][:, :many], dtype=np.float32)
        spread = float(np.sqrt(np.square(centred @ chosen).sum(axis=1).mean()))
        return cls(chosen, distance, max(spread, 1e-6))

    def items(self, vectors: Vectors) -> NDArray[np.float32]:
        """Lay out the items that the axes are of, ``(n, p)``."""
        placed: NDArray[np.float32] = (vectors - vectors.mean(axis=0)) @ self.axes
        return placed

    def askers(self, queries: Vectors) -> NDArray[np.float32]:
        """Place those who ask, ``(q, p)``."""
        placed = queries @ self.axes
        lengths = np.linalg.norm(placed, axis=1, keepdims=True)
        far = np.float32(self.distance * self.spread)
        along: NDArray[np.float32] = placed * (far / np.maximum(lengths, np.finfo(np.float32).tiny))
        return along
