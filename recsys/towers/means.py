"""Histories as means at several speeds of forgetting."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.histories import Histories

__all__ = ["Means"]

FASTEST, SLOWEST = 0.5, 0.003  # first decay rates, per item: half-lives of about 1 and 230 items
PRIOR = 1.0  # first weight of the prior, in items


class Means(nn.Module):
    """``state = sum over speeds of map_s(mean_s(history))``.

    ``mean_s`` weights an item by ``exp(-rate_s * age)``, age counted in items; the rates are
    learnt, so one speed can follow the last evening and another the taste of years. A mean is
    drawn towards 0 as if the history had ``prior_s`` items more of no taste at all: who has just
    come is ranked for mostly by what everybody likes (the posterior mean of a normal prior).
    """

    def __init__(self, members: int, width: int, *, speeds: int, item_dropout: float) -> None:
        """Prepare means of vectors of ``width`` for each of ``members``."""
        super().__init__()
        self.item_dropout = item_dropout
        first_rates = torch.linspace(math.log(SLOWEST), math.log(FASTEST), speeds)
        self.log_rates = nn.Parameter(first_rates)
        self.log_priors = nn.Parameter(torch.full((speeds,), math.log(PRIOR)))
        first_maps = torch.eye(width).repeat(speeds, members, 1, 1) / speeds
        self.maps = nn.Parameter(first_maps)  # (speeds, members, width, width)

    def forward(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each item, ``(m, h, w)``, of past items ``(m, h, w)``."""
        kept = self._kept(past)
        table = histories.table(past * kept[:, None])  # (m, b, l, w)
        there = histories.table(kept[None, :, None])  # (1, b, l, 1)
        steps = torch.arange(histories.longest, device=past.device)
        ages = steps[:, None] - steps  # (l, l): of each item when a later one is the newest
        total = torch.zeros_like(past)
        for rate, prior, maps in self._speeds():
            decay = torch.exp(-rate * ages.clamp_min(0)) * (ages >= 0)
            means = histories.packed(decay @ table / (decay @ there + prior))
            total = total + means @ maps
        return total

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        kept = self._kept(past)
        total = past.new_zeros(len(past), len(histories), past.shape[-1])
        for rate, prior, maps in self._speeds():
            weights = torch.exp(-rate * histories.ages) * kept
            sums = weights.new_zeros(len(histories)).index_add(0, histories.rows, weights)
            shares = weights / (sums + prior)[histories.rows]
            means = torch.zeros_like(total).index_add(1, histories.rows, past * shares[:, None])
            total = total + means @ maps
        return total

    def _speeds(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Rate, prior and map of each speed."""
        yield from zip(self.log_rates.exp(), self.log_priors.exp(), self.maps, strict=True)

    def _kept(self, past: Tensor) -> Tensor:
        """How much items count in this step, float ``(h,)``: 0 if dropped, else above 0."""
        ones = torch.ones(past.shape[1], device=past.device)
        return F.dropout(ones, self.item_dropout, self.training)
