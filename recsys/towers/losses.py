"""Losses: pure functions of scores, in stable form.

One layout for all: a step has ``p`` positions (rows), each with one or several targets, ``t`` in
all, and ``n`` columns of negatives, the same for every row or its own. A barred place is no
negative. Sums are in float32 (float64 where the scores are), also of bf16 scores; NaN stays NaN.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.errors import ConfigError

__all__ = [
    "SampledLoss",
    "bpr",
    "gbce",
    "gbce_power",
    "multi_positive_softmax",
    "sampled_loss",
    "sampled_softmax",
]

SampledLoss = Literal["softmax", "gbce", "bpr"]


def sampled_loss(
    kind: SampledLoss,
    positive: Tensor,
    rows: Tensor,
    weights: Tensor,
    negative: Tensor,
    barred: Tensor | None,
    *,
    n_items: int,
    log_q: Tensor | None = None,
    calibration: float = 0.75,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of a step against drawn negatives: the weighted mean over its targets, a scalar.

    Args:
        kind: see ``sampled_softmax``, ``gbce`` and ``bpr``.
        positive: score of each target, ``(t,)``.
        rows: row of each target, 0..p-1, ``(t,)``.
        weights: of each target, ``(t,)``, not negative, with a positive sum.
        negative: scores of the negatives, ``(p, n)``.
        barred: where a negative is none (what the user took, padding), bool ``(p, n)``.
        n_items: from how many items negatives are drawn; only gBCE asks.
        log_q: of the negatives, ``(n,)`` or ``(p, n)``; only with the softmax.
        calibration: of gBCE, 0..1.
        label_smoothing: of the softmax, 0 <= . < 1.

    Raises:
        ConfigError: an argument is out of its range, or the kind has no use for it.
    """
    if kind == "softmax":
        return sampled_softmax(
            positive, rows, weights, negative, barred, log_q=log_q, label_smoothing=label_smoothing
        )
    if log_q is not None or label_smoothing:
        raise ConfigError(
            f"loss = {kind!r} has no log_q and no label_smoothing: leave them out, or take softmax"
        )
    if kind == "gbce":
        return gbce(
            positive, rows, weights, negative, barred, n_items=n_items, calibration=calibration
        )
    return bpr(positive, rows, weights, negative, barred)


def sampled_softmax(
    positive: Tensor,
    rows: Tensor,
    weights: Tensor,
    negative: Tensor,
    barred: Tensor | None = None,
    *,
    log_q: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax of each target against the negatives of its row, corrected for how they were drawn.

    ``loss(t) = -log( exp(s_t) / (exp(s_t) + sum_n exp(s_n - log_q_n)) )``

    With ``log_q`` the log of how often a negative is *expected* among the draws, the sum is right
    on average for all items that are not barred, so the loss estimates the full softmax. Without
    it what is drawn often is pushed down for being drawn often (Bengio and Senecal 2008; Yi et
    al., RecSys 2019). The target is there by certainty and not by a draw: it is not corrected
    (Khrylchenko et al., Correcting the LogQ correction, RecSys 2025).

    Label smoothing takes this share of the target's probability and spreads it evenly over the
    target and the negatives, each of which stands for ``1 / q`` items.

    Args:
        positive: score of each target, ``(t,)``.
        rows: row of each target, ``(t,)``.
        weights: of each target, ``(t,)``, with a positive sum.
        negative: ``(p, n)``.
        barred: bool ``(p, n)``.
        log_q: of the negatives, ``(n,)`` or ``(p, n)``; absent: all 0.
        label_smoothing: 0 <= . < 1.

    Raises:
        ConfigError: label_smoothing is out of its range.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing = {label_smoothing}: expected 0 or more and below 1")
    positive, negative = _precise(positive), _precise(negative)
    drawn = negative if log_q is None else negative - log_q
    others = _replace(drawn, barred, -torch.inf).logsumexp(dim=1)
    losses = F.softplus(others[rows] - positive)
    if label_smoothing:
        total, count = _sum_of_all(negative, barred, log_q)
        mean = (positive + total[rows]) / (1 + count[rows])
        losses = losses + label_smoothing * (positive - mean)  # log of the sum, less the mean score
    return _mean(losses, weights)


def multi_positive_softmax(
    scores: Tensor,
    barred: Tensor,
    rows: Tensor,
    columns: Tensor,
    weights: Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax loss of several positives a row, none of which is a negative of another.

    For a positive p of row r, with N(r) all columns that are not barred in r:

    ``loss(r, p) = -log( exp(s_rp) / (exp(s_rp) + sum_{n in N(r)} exp(s_rn)) )``

    which is softplus(log sum exp over N(r) - s_rp); the result is the weighted mean over positives.
    With all items as columns this is the full softmax; with a batch's items, the sampled one.

    Args:
        scores: ``(b, c)``.
        barred: where a column is no negative of a row: everything the user took, bool ``(b, c)``.
        rows: row of each positive, ``(p,)``.
        columns: column of each positive, ``(p,)``; barred in its row.
        weights: of each positive, ``(p,)``, with a positive sum.
        label_smoothing: share of the probability that is spread evenly over p and N(r), 0 <= . < 1.

    Raises:
        ConfigError: label_smoothing is out of its range.
    """
    return sampled_softmax(
        scores[rows, columns], rows, weights, scores, barred, label_smoothing=label_smoothing
    )


def gbce(
    positive: Tensor,
    rows: Tensor,
    weights: Tensor,
    negative: Tensor,
    barred: Tensor | None = None,
    *,
    n_items: int,
    calibration: float,
) -> Tensor:
    """Binary cross entropy with the positive's probability to a power: against overconfidence.

    ``loss(t) = -( log sigmoid(s_t)^power + sum_n log(1 - sigmoid(s_n)) ) / (1 + negatives)``

    Petrov and Macdonald, gSASRec, RecSys 2023; with calibration 0 it is binary cross entropy. The
    paper draws negatives uniformly.

    Args:
        positive: score of each target, ``(t,)``.
        rows: row of each target, ``(t,)``.
        weights: of each target, ``(t,)``, with a positive sum.
        negative: ``(p, n)``.
        barred: bool ``(p, n)``.
        n_items: from how many items negatives are drawn, at least 2.
        calibration: 0..1, see ``gbce_power``.

    Raises:
        ConfigError: n_items or calibration is out of its range.
    """
    positive, negative = _precise(positive), _precise(negative)
    power = gbce_power(negative.shape[1], n_items, calibration)
    pushed = _replace(F.softplus(negative), barred, 0.0).sum(dim=1)
    losses = (pushed[rows] - power * F.logsigmoid(positive)) / (1 + _count(negative, barred)[rows])
    return _mean(losses, weights)


def gbce_power(n_negatives: int, n_items: int, calibration: float) -> float:
    """The power ``alpha (t (1 - 1/alpha) + 1/alpha) = 1 - t (1 - alpha)`` of gBCE.

    ``alpha`` is the share of the other items that are drawn, and t the calibration: with 1 the
    sigmoid ends as the probability itself, with 0 it is overrated as much as negatives are few.

    Args:
        n_negatives: a row; all items at most count.
        n_items: at least 2.
        calibration: t, 0..1.

    Raises:
        ConfigError: n_items or calibration is out of its range.
    """
    if n_items < 2 or not 0 <= calibration <= 1:
        raise ConfigError(
            f"gBCE: n_items = {n_items}, calibration = {calibration}: expected at least 2 items "
            "and a calibration from 0 to 1"
        )
    alpha = min(1.0, n_negatives / (n_items - 1))
    return 1 - calibration * (1 - alpha)


def bpr(
    positive: Tensor,
    rows: Tensor,
    weights: Tensor,
    negative: Tensor,
    barred: Tensor | None = None,
) -> Tensor:
    """``-log sigmoid(s_t - s_n)``, the mean over the row's negatives; 0 where it has none.

    Rendle et al., BPR, UAI 2009. Holds ``(t, n)`` differences.

    Args:
        positive: score of each target, ``(t,)``.
        rows: row of each target, ``(t,)``.
        weights: of each target, ``(t,)``, with a positive sum.
        negative: ``(p, n)``.
        barred: bool ``(p, n)``.
    """
    positive, negative = _precise(positive), _precise(negative)
    pairs = F.softplus(negative[rows] - positive[:, None])
    pushed = _replace(pairs, None if barred is None else barred[rows], 0.0).sum(dim=1)
    return _mean(pushed / _count(negative, barred).clamp(min=1)[rows], weights)


def _precise(scores: Tensor) -> Tensor:
    return scores if scores.dtype is torch.float64 else scores.float()


def _replace(scores: Tensor, barred: Tensor | None, value: float) -> Tensor:
    """Put a value at barred places, but never over a NaN: a broken model must not look sound."""
    return scores if barred is None else scores.masked_fill(barred & ~scores.isnan(), value)


def _count(negative: Tensor, barred: Tensor | None) -> Tensor:
    """How many negatives each row has, ``(p,)``."""
    rows, n = negative.shape
    return negative.new_full((rows,), n) if barred is None else n - barred.sum(dim=1)


def _sum_of_all(
    negative: Tensor, barred: Tensor | None, log_q: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The sum of the scores of all items that the negatives stand for, and their number, ``(p,)``.

    They are estimates where ``log_q`` is given.
    """
    each = torch.zeros_like(negative) if log_q is None else (-log_q).expand_as(negative)
    stands_for = _replace(each.exp(), barred, 0.0)
    return (stands_for * _replace(negative, barred, 0.0)).sum(dim=1), stands_for.sum(dim=1)


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum()
