"""Macro-AUC over labels, and its bootstrap interval over items."""

import numpy as np
from numpy.typing import NDArray

from recsys.probing.figures import Figure, bootstrap, ratio

__all__ = ["auc", "macro_auc", "macro_auc_figure"]

Floats = NDArray[np.float64]


def auc(scores: Floats, positive: NDArray[np.bool_], counts: Floats | None = None) -> Floats:
    """The area under the ROC curve of one label; equal scores count half.

    The share of pairs of a positive and a negative item in which the former scores higher (Hanley
    and McNeil, 1982).

    Args:
        scores: ``(n,)``.
        positive: which items carry the label, ``(n,)``.
        counts: how often each item counts, ``(resamples, n)``; once when not given.

    Returns:
        ``(resamples,)``; NaN where there are no positives or no negatives.
    """
    counts = np.ones((1, len(scores))) if counts is None else counts
    order = np.argsort(scores, kind="stable")
    ordered, carries, drawn = scores[order], positive[order], counts[:, order]
    negatives = np.zeros((len(counts), len(scores) + 1))  # how many lie before each place
    np.cumsum(drawn * ~carries, axis=1, out=negatives[:, 1:])
    first = np.searchsorted(ordered, ordered[carries], side="left")
    after = np.searchsorted(ordered, ordered[carries], side="right")
    below = (negatives[:, first] + negatives[:, after]) / 2  # half of those with the same score
    positives = drawn[:, carries]
    pairs = positives.sum(axis=1) * negatives[:, -1]
    won = (positives * below).sum(axis=1)
    return ratio(won, pairs)


def macro_auc(scores: Floats, carried: NDArray[np.bool_], counts: Floats | None = None) -> Floats:
    """The mean of the labels' AUC.

    A constant score has .50 whatever the labels, unlike the average over all pairs of item and
    label at once (micro), which rewards knowing which labels are frequent.

    Args:
        scores: ``(n, labels)``.
        carried: which item carries which label, ``(n, labels)``.
        counts: how often each item counts, ``(resamples, n)``; once when not given.

    Returns:
        ``(resamples,)``; labels without an AUC are left out, NaN where none has one.
    """
    aucs = np.array([auc(*of, counts) for of in zip(scores.T, carried.T, strict=True)])
    there = np.isfinite(aucs)
    return ratio(np.where(there, aucs, 0.0).sum(axis=0), there.sum(axis=0, dtype=np.float64))


def macro_auc_figure(scores: Floats, carried: NDArray[np.bool_], *, seed: int = 0) -> Figure:
    """Macro-AUC of scores ``(n, labels)`` with its interval over items; chance is .50."""
    return bootstrap(
        lambda counts: macro_auc(scores, carried, counts),
        len(scores),
        chance=0.5,
        seed=seed,
        within=(0.0, 1.0),
    )
