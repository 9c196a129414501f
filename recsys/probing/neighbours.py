"""Nearest neighbours, exactly and block by block: never all pairs at once."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distance", "blocks", "centred_directions", "nearest"]

Distance = Literal["cosine", "euclidean"]

BLOCK = 1 << 24  # similarities held at a time
EQUAL = 1e-6  # similarities nearer than this share of the greatest are ties


def centred_directions(
    vectors: NDArray[Any], mean: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Take off the mean and scale rows to unit length; ``(n, d)``, a row that is the mean is 0.

    The mean ``(d,)`` is that of the vectors themselves unless it is given.

    Without centring, the cosines of most encoders lie close together above zero (Mu and Viswanath,
    All-but-the-top, 2018).
    """
    if mean is None:
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    # What is left of equal rows is the rounding of their mean.
    rounding = 1e-6 * np.sqrt(vectors.shape[1]) * np.abs(vectors).max(initial=0.0)
    real = norms > rounding
    return np.asarray(np.where(real, centred / np.where(real, norms, 1.0), 0.0), np.float32)


def nearest(
    queries: NDArray[np.float32],
    among: NDArray[np.float32],
    k: int,
    *,
    distance: Distance = "cosine",
    itself: NDArray[np.integer[Any]] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Find the ``k`` rows of ``among`` nearest to each query.

    Which of several equally near rows are taken is drawn for each query, and not left to their
    order: catalogues often begin with the popular items, and labels make many equal vectors.

    Args:
        queries: ``(q, d)``; for ``"cosine"`` of unit length.
        among: ``(n, d)``, likewise.
        k: at most the rows that there are (less one with ``itself``).
        distance: ``"cosine"`` or ``"euclidean"``.
        itself: the row of ``among`` that each query is, and which it does not find, ``(q,)``.
        seed: of the draw among ties.

    Returns:
        Rows of ``among``, ``(q, k)``, the nearest first.
    """
    draw = np.random.default_rng(seed)
    penalty = (among**2).sum(axis=1) / 2 if distance == "euclidean" else np.float32(0)
    found = np.empty((len(queries), k), dtype=np.int64)
    for rows in blocks(len(queries), len(among)):
        near = queries[rows] @ among.T - penalty
        tie = np.float32(EQUAL * (np.abs(near).max(initial=0.0) or 1.0))
        near += tie * draw.random(near.shape, dtype=np.float32)
        if itself is not None:
            near[np.arange(len(near)), itself[rows]] = -np.inf
        top = np.argpartition(-near, k - 1, axis=1)[:, :k]
        best = np.argsort(-np.take_along_axis(near, top, axis=1), axis=1)
        found[rows] = np.take_along_axis(top, best, axis=1)
    return found


def blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices of ``n`` rows so that a block of them ``width`` wide fits in memory."""
    size = max(1, BLOCK // max(width, 1))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
