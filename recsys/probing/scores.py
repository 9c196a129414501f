"""Scores of labels from vectors that did not see them: linear models and nearest neighbours.

Linear probes: Alain and Bengio, Understanding intermediate layers using linear classifier probes,
2016. All labels are fitted at once: their losses are a sum, and one L-BFGS minimises it.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from recsys.probing.auc import auc
from recsys.probing.neighbours import centred_directions, nearest

__all__ = [
    "Loss",
    "fit_linear",
    "linear_scores",
    "neighbour_scores",
    "standardise",
    "stratified_folds",
]

Loss = Literal["logistic", "squared hinge"]
Floats = NDArray[np.float64]

FOLDS = 5
NEIGHBOURS = 20
COSTS = (1e-4, 1e-3, 1e-2, 1e-1)  # C; which one is chosen inside the training folds
ITERATIONS = 200
TOLERANCE = 1e-5


def stratified_folds(
    carried: NDArray[np.bool_], *, seed: int = 0, count: int = FOLDS
) -> NDArray[np.int64]:
    """Part the items into folds, for every label anew, so that all have as many positives.

    Args:
        carried: which item carries which label, ``(n, labels)``.
        seed: of the draw.
        count: of folds.

    Returns:
        The fold of each item under each label, ``(n, labels)``; a label's positives are spread
        equally to within one, and so are its negatives.
    """
    draw = np.random.default_rng(seed)
    shuffled = draw.permuted(np.tile(np.arange(len(carried)), (carried.shape[1], 1)), axis=1).T
    positives_first = np.argsort(~np.take_along_axis(carried, shuffled, axis=0), 0, kind="stable")
    order = np.take_along_axis(shuffled, positives_first, axis=0)
    folds = np.empty(carried.shape, dtype=np.int64)
    np.put_along_axis(folds, order, np.arange(len(carried))[:, None] % count, axis=0)
    return folds


def linear_scores(
    vectors: NDArray[np.float32], carried: NDArray[np.bool_], *, loss: Loss, seed: int = 0
) -> Floats:
    """Score every item's labels by linear models that did not see the item's fold.

    Columns are standardised. The strength of the L2 penalty is chosen inside each training part:
    by the macro-AUC on one of its folds.

    Args:
        vectors: ``(n, d)``.
        carried: which item carries which label, ``(n, labels)``.
        loss: ``"logistic"``: logistic regression; ``"squared hinge"``: a linear SVM.
        seed: of the folds.

    Returns:
        Decision values on one scale and less the intercept, which only tells the folds apart,
        ``(n, labels)``.
    """
    inputs, signs = standardise(vectors), np.where(carried, 1.0, -1.0)
    folds = stratified_folds(carried, seed=seed)
    scores = np.empty(carried.shape)
    for fold in range(FOLDS):
        held, choosing = folds == fold, folds == (fold + 1) % FOLDS
        cost = _choose_cost(inputs, signs, carried, ~(held | choosing), choosing, loss)
        weights = fit_linear(inputs, signs, ~held, cost, loss)
        found = inputs @ weights[1:]
        # Penalties chosen anew make long and short weights: each fold's scores to one scale.
        spread = found.std(axis=0, where=~held)
        scores[held] = (found / np.where(spread > 0, spread, 1.0))[held]
    return scores


def neighbour_scores(
    vectors: NDArray[np.float32],
    carried: NDArray[np.bool_],
    *,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> Floats:
    """Score every item's labels by the share of its ``k`` nearest items that carry them.

    Neighbours are by cosine of the vectors less their mean; an item is not its own.

    Returns:
        Shares, ``(n, labels)``.
    """
    directions, rows = centred_directions(vectors), np.arange(len(vectors))
    found = nearest(directions, directions, min(k, len(rows) - 1), itself=rows, seed=seed)
    shares = np.zeros(carried.shape)
    for column in found.T:
        shares += carried[column]
    return np.asarray(shares / found.shape[1])


def fit_linear(
    inputs: NDArray[np.floating[Any]],
    signs: Floats,
    used: NDArray[np.bool_],
    cost: float,
    loss: Loss,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Minimise ``|w|^2 / 2 + cost * sum(loss(sign * score))`` for every label.

    Args:
        inputs: ``(n, d)``; products are computed in their precision.
        signs: 1 where an item carries a label, else -1, ``(n, labels)``.
        used: which items each label is fitted on, ``(n, labels)``.
        cost: C, the weight of an item's loss against the penalty.
        loss: ``"logistic"``: ``log(1 + exp(-margin))``; ``"squared hinge"``:
            ``max(0, 1 - margin)^2``.
        start: weights to begin from, ``(1 + d, labels)``; zeros when not given.
        tolerance: stop when a step improves the sum by less than this share of it.

    Returns:
        Weights ``(1 + d, labels)``; the first row is the intercept, which bears no penalty.
    """
    # In these units the curvature is about 1 in all directions, where the inputs' columns are
    # orthogonal as `standardise` leaves them: a few steps instead of hundreds.
    shares = (used & (signs > 0)).sum(axis=0) / used.sum(axis=0)
    bend = shares * (1 - shares) if loss == "logistic" else np.full(len(shares), 2.0)
    squares = np.append(len(inputs), (inputs**2).sum(axis=0))[:, None]
    units = 1 / np.sqrt(
        squares * bend + np.append(0.0, np.full(inputs.shape[1], 1 / cost))[:, None]
    )

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(units.shape) * units
        margins = signs * (weights[0] + inputs @ weights[1:].astype(inputs.dtype))
        losses, slopes = _logistic(margins) if loss == "logistic" else _squared_hinge(margins)
        slopes *= signs * used
        gradient = np.vstack(
            [slopes.sum(axis=0), inputs.T @ slopes.astype(inputs.dtype) + weights[1:] / cost]
        )
        value = (losses * used).sum() + (weights[1:] ** 2).sum() / 2 / cost
        return float(value), (gradient * units).ravel()

    begin = np.zeros(units.shape) if start is None else start / units
    found = minimize(
        objective,
        begin.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "ftol": tolerance, "gtol": 0.0},
    )
    return np.asarray(np.reshape(found.x, units.shape) * units)


def standardise(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Bring columns to mean 0 and deviation 1, and turn them to their principal axes.

    Linear models with an L2 penalty see only inner products of rows, which turning leaves as they
    are; but it makes columns orthogonal, and at most as many as rows.

    Returns:
        ``(n, min(n, d))``; a constant column counts as 0.
    """
    inputs = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    spread = inputs.std(axis=0)
    real = spread > 1e-6 * np.abs(vectors).max(axis=0, initial=0.0)
    left, lengths, _ = np.linalg.svd(
        np.where(real, inputs / np.where(real, spread, 1.0), 0.0), full_matrices=False
    )
    return np.asarray(left * lengths, dtype=np.float32)


def _choose_cost(
    inputs: NDArray[np.floating[Any]],
    signs: Floats,
    carried: NDArray[np.bool_],
    fitting: NDArray[np.bool_],
    choosing: NDArray[np.bool_],
    loss: Loss,
) -> float:
    """The C of the best macro-AUC on ``choosing`` after learning from ``fitting``.

    From the strongest penalty on, each begun where the last one ended, until one is worse.
    """
    best, chosen, weights = -1.0, COSTS[0], None
    for cost in COSTS:
        weights = fit_linear(inputs, signs, fitting, cost, loss, weights)
        found = _mean_auc(inputs @ weights[1:], carried, choosing)
        if found <= best:
            break
        best, chosen = found, cost
    return chosen


def _mean_auc(scores: Floats, carried: NDArray[np.bool_], which: NDArray[np.bool_]) -> float:
    """The mean AUC of the labels, each over its own items ``which`` ``(n, labels)``."""
    columns = zip(scores.T, carried.T, which.T, strict=True)
    return float(np.mean([auc(score[on], positive[on])[0] for score, positive, on in columns]))


def _logistic(margins: Floats) -> tuple[Floats, Floats]:
    """The losses and their slopes."""
    small = np.exp(-np.abs(margins))  # never overflows
    losses = np.log1p(small) + np.maximum(0.0, -margins)
    return losses, -np.where(margins > 0, small, 1.0) / (1.0 + small)


def _squared_hinge(margins: Floats) -> tuple[Floats, Floats]:
    """The losses and their slopes."""
    short = np.maximum(0.0, 1.0 - margins)
    return short**2, -2.0 * short
