"""Histories as means at several speeds of forgetting."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.histories import Histories

__all__ = ["Means"]

FASTEST, SLOWEST = 0.5, 0.003  # first decay rates, per item: half-lives of about 1 and 230 items


class Means(nn.Module):
    """``state = sum over speeds of map_s(mean_s(history))``.

    ``mean_s`` weights an item by ``exp(-rate_s * age)``, age counted in items; the rates are
    learnt, so one speed can follow the last evening and another the taste of years.
    """

    def __init__(self, members: int, width: int, *, speeds: int, item_dropout: float) -> None:
        """Prepare means of vectors of ``width`` for each of ``members``."""
        super().__init__()
        self.item_dropout = item_dropout
        first_rates = torch.linspace(math.log(SLOWEST), math.log(FASTEST), speeds)
        self.log_rates = nn.Parameter(first_rates)
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
        for log_rate, maps in zip(self.log_rates, self.maps, strict=True):
            decay = torch.exp(-log_rate.exp() * ages.clamp_min(0)) * (ages >= 0)
            sums, weights = decay @ table, decay @ there
            # Where the newest items are dropped, weights may be tiny: their share counts, not they.
            means = histories.packed(sums / weights.clamp_min(1e-6))
            total = total + means @ maps
        return total

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        kept = self._kept(past)
        total = past.new_zeros(len(past), len(histories), past.shape[-1])
        for log_rate, maps in zip(self.log_rates, self.maps, strict=True):
            total = total + _mean(past, histories, log_rate.exp(), kept) @ maps
        return total

    def _kept(self, past: Tensor) -> Tensor:
        """Which items count in this step, float ``(h,)``."""
        ones = torch.ones(past.shape[1], device=past.device)
        return (F.dropout(ones, self.item_dropout, self.training) > 0).float()


def _mean(past: Tensor, histories: Histories, rate: Tensor, kept: Tensor) -> Tensor:
    """Weighted mean ``(m, b, w)`` of the vectors ``(m, h, w)`` of each history's kept items.

    Items with 0 in ``kept`` ``(h,)`` count nothing; a history of which nothing is left gives zeros.
    """
    ages = _since_newest(histories, kept)
    weights = torch.exp(-rate * ages) * kept
    sums = weights.new_zeros(len(histories)).index_add(0, histories.rows, weights)
    shares = weights / sums.clamp_min(1.0)[histories.rows]  # below 1 only where nothing is left
    means = past.new_zeros(len(past), len(histories), past.shape[-1])
    return means.index_add(1, histories.rows, past * shares[:, None])


def _since_newest(histories: Histories, kept: Tensor) -> Tensor:
    """Ages ``(h,)`` counted from the newest kept item, whose weight then is 1.

    Shares stay the same, but no sum can vanish: its gradient would be infinite.
    """
    far = torch.iinfo(torch.int64).max
    newest = histories.ages.new_full((len(histories),), far).scatter_reduce(
        0, histories.rows, torch.where(kept > 0, histories.ages, far), "amin"
    )
    return (histories.ages - newest[histories.rows]).clamp_min(0)
