"""The softmax over all items in blocks: never more than a block of positions x items in memory."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Targets", "full_softmax"]

BLOCK = 2**19  # scores in memory at a time; small enough to stay in a core's cache
ROOM = 60.0  # exp(60) times any number of items is still a float32, and so is exp(-60)
TINY = torch.finfo(torch.float32).tiny


class Targets(NamedTuple):
    """What is to be found from each position.

    Attributes:
        rows: the position of each target, int64 ``(t,)``, not decreasing.
        items: its item, int64 ``(t,)``.
        weights: its weight, float32 ``(t,)``; they sum to 1.
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
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`multi_positive_softmax` over all items, summed over targets, in blocks of positions.

    With s = scale * queries @ items.T and N(r) the items not barred for position r:

    ``loss = sum over targets (r, i, w) of w * softplus(log sum_{n in N(r)} exp(s_rn) - s_ri)``

    With smoothing e, the target is found with probability 1 - e, and with e any item that is not
    barred for everybody (label smoothing, Szegedy et al., CVPR 2016): ``e * w * (s_ri - mean of
    s_rn)`` is added.

    Gradients are computed along with the loss, three matrix products a block instead of the four
    that recomputing in the backward pass takes.

    Args:
        queries: of positions, ``(p, w)``.
        items: of all items, ``(n, w)``.
        scale: one over the temperature, ``()``, at most 100.
        targets: what is to be found.
        barred: where an item is no negative, bool ``(g, n)``.
        groups: the row of ``barred`` of each position, int64 ``(p,)``.
        smoothing: in [0, 1).
        dtype: of the matrix products; sums and exponentials are float32.

    Returns:
        The loss, float32 ``()``.
    """
    loss: Tensor = _FullSoftmax.apply(
        queries, items, scale, targets, barred, groups, smoothing, dtype
    )
    return loss


class _FullSoftmax(torch.autograd.Function):
    """See `full_softmax`."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        scale: Tensor,
        targets: Targets,
        barred: Tensor,
        groups: Tensor,
        smoothing: float,
        dtype: torch.dtype,
    ) -> Tensor:
        queries, items = queries.float(), items.float()
        positive = (queries[targets.rows] * items[targets.items]).sum(dim=1)  # (t,), cosines
        d_queries, d_items = torch.zeros_like(queries), torch.zeros_like(items)
        lower_items, flat = items.to(dtype), _uniform(barred, smoothing)
        allowed = (~barred).float()  # to multiply with: several times faster than to mask
        loss, excess = queries.new_zeros(()), (scale - ROOM).clamp_min(0)
        step = max(1, BLOCK // max(1, len(items)))
        bounds = torch.arange(0, len(queries) + step, step)
        edges = torch.searchsorted(targets.rows.cpu(), bounds).tolist()
        shares = []  # of each target: how far it is from being found
        room = queries.new_empty(min(step, len(queries)), len(items))
        for number, start in enumerate(bounds.tolist()[:-1]):
            block, own = slice(start, start + step), slice(edges[number], edges[number + 1])
            lower = queries[block].to(dtype)
            # Cosines are at most 1, so scores need not lose their row's largest, only what is too
            # large for any. Below a temperature of 1 / 100, where `TwoTower` stops, all scores of a
            # row might then be too small.
            scores = room[: len(lower)].copy_(lower @ lower_items.T).mul_(scale).sub_(excess)
            chances = scores.exp_().mul_(allowed[groups[block]])
            total = chances.sum(dim=1)
            level = total.log() + excess  # (block,)
            rows, weights = targets.rows[own] - start, targets.weights[own]
            distance = level[rows] - scale * positive[own]
            loss += (weights * F.softplus(distance)).sum()
            share = weights * distance.sigmoid()
            shares.append(share - smoothing * weights)
            of_row = level.new_zeros(len(level)).index_add(0, rows, share)
            if smoothing:
                weight = smoothing * level.new_zeros(len(level)).index_add(0, rows, weights)
                middle = items.T @ flat  # (w,): the mean of the items' vectors
                loss += smoothing * scale * (weights * positive[own]).sum()
                loss -= scale * (weight * (queries[block] @ middle)).sum()
                d_queries[block] -= weight[:, None] * middle
                d_items -= flat[:, None] * (weight @ queries[block])
            of_row /= total.clamp_min(TINY)  # a position without any negative spreads nothing
            spread = chances.mul_(of_row[:, None]).to(dtype)
            d_queries[block] += spread @ lower_items
            d_items += spread.T @ lower
        share = torch.cat(shares)[:, None]
        d_queries.index_add_(0, targets.rows, -share * items[targets.items])
        d_items.index_add_(0, targets.items, -share * queries[targets.rows])
        d_scale = (queries * d_queries).sum()
        ctx.save_for_backward(d_queries.mul_(scale), d_items.mul_(scale), d_scale)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        d_queries, d_items, d_scale = ctx.saved_tensors
        return (
            d_queries * upstream,
            d_items * upstream,
            d_scale * upstream,
            *(None,) * 5,
        )


def _uniform(barred: Tensor, smoothing: float) -> Tensor:
    """The uniform distribution over items that some position has as a negative, ``(n,)``."""
    if not smoothing:
        return barred.new_zeros(0, dtype=torch.float32)
    able = (~barred.all(dim=0)).float()
    return able / able.sum().clamp_min(1.0)
