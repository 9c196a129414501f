"""The softmax over all items, or over drawn ones, in blocks of positions.

There is never more than a block of positions x items in memory. Gradients are computed along with
the loss, three matrix products a block instead of the four that recomputing in the backward pass
takes.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Targets", "drawn_softmax", "full_softmax"]

BLOCK = 2**19  # scores in memory at a time; small enough to stay in a core's cache
BLOCK_CUDA = 2**27  # likewise, and large enough to keep a GPU at work; half a GB
ROOM = 60.0  # exp(60) times any number of items is still a float32, and so is exp(-60)
TINY = torch.finfo(torch.float32).tiny


class Targets(NamedTuple):
    """What is to be found from each position.

    Attributes:
        rows: the position of each target, int64 ``(t,)``, not decreasing.
        items: its item, int64 ``(t,)``.
        weights: its weight, float32 ``(t,)``; over a step they sum to 1.
    """

    rows: Tensor
    items: Tensor
    weights: Tensor


def full_softmax(
    queries: Tensor,
    items: Tensor,
    scale: Tensor,
    targets: Targets,
    barred: Tensor,
    groups: Tensor,
    *,
    smoothing: float = 0.0,
    able: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`multi_positive_softmax` over all items, summed over targets, in blocks of positions.

    With s = scale * queries @ items.T and N(r) the items not barred for position r:

    ``loss = sum over targets (r, i, w) of w * softplus(log sum_{n in N(r)} exp(s_rn) - s_ri)``

    With smoothing e, the target is found with probability 1 - e, and with e any able item
    (label smoothing, Szegedy et al., CVPR 2016): ``e * w * (s_ri - mean of
    s_rn)`` is added.

    Args:
        queries: of positions, ``(p, w)``.
        items: of all items, ``(n, w)``.
        scale: one over the temperature, ``()``, at most 100.
        targets: what is to be found.
        barred: where an item is no negative, bool ``(g, n)``.
        groups: the row of ``barred`` of each position, int64 ``(p,)``.
        smoothing: in [0, 1).
        able: what smoothing spreads over, bool ``(n,)``; None: what is not barred for everybody.
        dtype: of the matrix products; sums and exponentials are float32, or float64 of such.

    Returns:
        The loss ``()``.
    """
    queries, items = _precise(queries), _precise(items)
    found = items.index_select(0, targets.items)  # its gradient comes by index_add: fast
    loss: Tensor = _Blocks.apply(queries, found, items, scale, targets, barred, groups, None, dtype)
    if not smoothing:
        return loss
    able = (~barred.all(dim=0) if able is None else able).to(items.dtype)
    middle = items.T @ (able / able.sum().clamp_min(1.0))  # (w,): the mean of the items' vectors
    apart = (queries.index_select(0, targets.rows) * (found - middle)).sum(dim=1)
    return loss + smoothing * scale * (targets.weights * apart).sum()


def drawn_softmax(
    queries: Tensor,
    found: Tensor,
    drawn: Tensor,
    scale: Tensor,
    targets: Targets,
    barred: Tensor,
    groups: Tensor,
    *,
    log_q: Tensor | None = None,
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`sampled_softmax` against negatives that all positions share, in blocks of positions.

    It is that loss summed over targets, and not the mean: divided by the sum of their weights it
    is `recsys.towers.losses.sampled_softmax`, label smoothing included.

    Args:
        queries: of positions, ``(p, w)``.
        found: of targets, ``(t, w)``; ``targets.items`` is not looked at.
        drawn: of the negatives, ``(n, w)``.
        scale: one over the temperature, ``()``, at most 100.
        targets: what is to be found.
        barred: where a negative is none, bool ``(g, n)``.
        groups: the row of ``barred`` of each position, int64 ``(p,)``.
        log_q: log of how often each is expected among the negatives, ``(n,)``; None: all 0.
        smoothing: in [0, 1).
        dtype: of the matrix products; sums and exponentials are float32, or float64 of such.

    Returns:
        The loss ``()``.
    """
    queries, found, drawn = _precise(queries), _precise(found), _precise(drawn)
    loss: Tensor = _Blocks.apply(
        queries, found, drawn, scale, targets, barred, groups, log_q, dtype
    )
    if not smoothing:
        return loss
    stands_for = (~barred).to(drawn.dtype)  # each for 1 / q items
    if log_q is not None:
        stands_for = stands_for * torch.exp(-log_q)
    total, count = stands_for @ drawn, stands_for.sum(dim=1, keepdim=True)  # (g, w), (g, 1)
    of = groups[targets.rows]
    middle = (found + total.index_select(0, of)) / (1 + count[of])  # (t, w)
    apart = (queries.index_select(0, targets.rows) * (found - middle)).sum(dim=1)
    return loss + smoothing * scale * (targets.weights * apart).sum()


class _Blocks(torch.autograd.Function):
    """``sum over targets of w * softplus(log sum_{n in N(r)} exp(s_rn - log_q_n) - s_target)``.

    See `drawn_softmax`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        found: Tensor,
        others: Tensor,
        scale: Tensor,
        targets: Targets,
        barred: Tensor,
        groups: Tensor,
        log_q: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        positive = (queries[targets.rows] * found).sum(dim=1)  # (t,), cosines
        d_queries, d_others = torch.zeros_like(queries), torch.zeros_like(others)
        lower_others, (shares, counted) = others.to(dtype), _shares(barred, log_q, others.dtype)
        loss, excess = queries.new_zeros(()), (scale - ROOM).clamp_min(0)
        cells = BLOCK_CUDA if others.is_cuda else BLOCK
        step = max(1, cells // max(1, len(others)))
        bounds = torch.arange(0, len(queries) + step, step)
        edges = torch.searchsorted(targets.rows.cpu(), bounds).tolist()
        lacking = []  # of each target: how far it is from being found
        room = queries.new_empty(min(step, len(queries)), len(others))
        for number, start in enumerate(bounds.tolist()[:-1]):
            block, own = slice(start, start + step), slice(edges[number], edges[number + 1])
            lower = queries[block].to(dtype)
            # Cosines are at most 1, so scores need not lose their row's largest, only what is too
            # large for any. Below a temperature of 1 / 100, where `TwoTower` stops, all scores of a
            # row might then be too small.
            scores = room[: len(lower)].copy_(lower @ lower_others.T).mul_(scale).sub_(excess)
            chances = scores.exp_().mul_(shares[groups[block]])
            total = chances.sum(dim=1)
            level = total.log() + (excess + counted)  # (block,)
            rows, weights = targets.rows[own] - start, targets.weights[own]
            distance = level[rows] - scale * positive[own]
            loss += (weights * F.softplus(distance)).sum()
            lacking.append(weights * distance.sigmoid())
            of_row = level.new_zeros(len(level)).index_add(0, rows, lacking[-1])
            of_row /= total.clamp_min(TINY)  # a position without any negative spreads nothing
            spread = chances.mul_(of_row[:, None]).to(dtype)
            d_queries[block] = spread @ lower_others
            d_others += spread.T @ lower
        lack = torch.cat(lacking)[:, None]
        d_queries.index_add_(0, targets.rows, -lack * found)
        d_found = (-lack * scale) * queries[targets.rows]
        d_scale = (queries * d_queries).sum()
        ctx.save_for_backward(d_queries.mul_(scale), d_found, d_others.mul_(scale), d_scale)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        return (*(gradient * upstream for gradient in ctx.saved_tensors), *(None,) * 5)


def _shares(
    barred: Tensor, log_q: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | float]:
    """What to multiply exponentials with, ``(g, n)``, several times faster than to mask them.

    They are at most 1; the log of what they are too small by is returned beside them.
    """
    allowed = (~barred).to(dtype)
    if log_q is None or not len(log_q):
        return allowed, 0.0
    most = -log_q.min()
    return allowed * torch.exp(-log_q - most), most


def _precise(vectors: Tensor) -> Tensor:
    return vectors if vectors.dtype is torch.float64 else vectors.float()
