"""Is the copy known again? Retrieval of each item by an altered copy of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Encoder
from recsys.probing.figures import Figure, mean_figure
from recsys.probing.neighbours import blocks

__all__ = ["copy_figure", "encoder_copy_figure"]

EQUAL = 1e-6  # cosines nearer than this are the same


def encoder_copy_figure(
    encoder: Encoder[Any], contents: Sequence[Any], copies: Sequence[Any], *, seed: int = 0
) -> Figure | None:
    """Encode contents and their altered copies (`recsys.probing.augment`), then look for them."""
    ours, altered = encoder.encode(contents), encoder.encode(copies)
    return copy_figure(ours.vectors, ours.present, altered.vectors, altered.present, seed=seed)


def copy_figure(
    vectors: NDArray[np.float32],
    present: NDArray[np.bool_],
    copies: NDArray[np.float32],
    copied: NDArray[np.bool_],
    *,
    seed: int = 0,
) -> Figure | None:
    """The share of copies whose nearest original is their own.

    Nearness is the cosine, all less the mean of the originals. Where several originals are as
    near (the same content twice), the right one counts by its share of them.

    Args:
        vectors: of the originals, ``(n, d)``.
        present: which originals have one, ``(n,)``.
        copies: of the altered copies, in the same order, ``(n, d)``.
        copied: which copies have one, ``(n,)``.
        seed: of the interval.

    Returns:
        The share with its interval over items; None where there are fewer than two.
    """
    both = present & copied
    n = int(both.sum())
    if n < 2:
        return None
    mean = vectors[both].mean(axis=0, dtype=np.float64)
    ours, altered = (_unit(of[both] - mean) for of in (vectors, copies))
    right = np.empty(n)
    for rows in blocks(n, n):
        cosines = altered[rows] @ ours.T
        best = cosines.max(axis=1, keepdims=True) - EQUAL
        own = np.take_along_axis(cosines, np.arange(n)[rows, None], axis=1) >= best
        right[rows] = own[:, 0] / (cosines >= best).sum(axis=1)
    return mean_figure(right, chance=1 / n, seed=seed)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 0, rows / np.where(norms > 0, norms, 1.0), 0.0)
