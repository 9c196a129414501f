"""Losses: pure functions of scores, in stable form."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["log_q_correction", "multi_positive_softmax"]


def multi_positive_softmax(
    scores: Tensor, barred: Tensor, rows: Tensor, columns: Tensor, weights: Tensor
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
    """
    negatives = scores.masked_fill(barred, -torch.inf).logsumexp(dim=1)
    losses = F.softplus(negatives[rows] - scores[rows, columns])
    return (losses * weights).sum() / weights.sum()


def log_q_correction(scores: Tensor, probability: Tensor) -> Tensor:
    """Subtract ``log q``: what is drawn often as a negative must not be pushed down for it.

    Bengio and Senecal 2008; Yi et al., Sampling-bias-corrected neural modeling, RecSys 2019.

    Args:
        scores: ``(..., b, c)``.
        probability: of drawing each column's item, in (0, 1], ``(c,)``.
    """
    return scores - probability.log()
