"""The user tower: a learned id and a history of items in, a unit vector out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.towers.histories import Histories
from recsys.towers.item_tower import INITIAL_STD, cut_members, unit_vectors

__all__ = ["UserTower"]

FASTEST, SLOWEST = 0.5, 0.003  # first decay rates, per item: half-lives of about 1 and 230 items


class UserTower(nn.Module):
    """Averages what a user took at several speeds of forgetting, then scales to length 1.

    ``vector(u) = normalise(id[u] + sum over speeds of map_s(mean_s(history)))``

    ``mean_s`` weights an item by ``exp(-rate_s * age)``, age counted in items; the rates are
    learnt, so one speed can follow the last evening and another the taste of years. An item as part
    of a history has a vector of its own, apart from the one it is recommended by. Every member has
    maps of its own, which read and write its part of the vectors only.
    """

    def __init__(self, n_users: int, n_items: int, config: TowersConfig) -> None:
        """Prepare a tower for ``n_users`` users with histories out of ``n_items`` items."""
        super().__init__()
        dim, speeds = config.dim, config.speeds
        self.members, width = config.members, config.dim // config.members
        self.unknown = n_users  # the row of everybody without a number
        self.id = nn.Embedding(n_users + 1, dim) if config.user_id else None
        self.base = nn.Parameter(torch.randn(dim) * INITIAL_STD)  # who has no history still points
        self.history = nn.Embedding(n_items, dim)
        self.dropout, self.item_dropout = config.history_dropout, config.item_dropout
        first_rates = torch.linspace(math.log(SLOWEST), math.log(FASTEST), speeds)
        self.log_rates = nn.Parameter(first_rates)
        first_maps = torch.eye(width).repeat(speeds, config.members, 1, 1) / speeds
        self.maps = nn.Parameter(first_maps)  # (speeds, members, width, width)
        nn.init.normal_(self.history.weight, std=INITIAL_STD)
        if self.id is not None:
            nn.init.normal_(self.id.weight, std=INITIAL_STD)

    def forward(self, users: Tensor, histories: Histories) -> Tensor:
        """Return unit vectors ``(b, d)`` of user numbers ``(b,)`` (-1: unknown) and histories."""
        total = self.base.expand(len(users), -1)
        if self.id is not None:
            total = total + self.id(torch.where(users < 0, self.unknown, users))
        past = F.dropout(self.history(histories.items), self.dropout, self.training)  # (h, d)
        kept = torch.ones(len(past), device=past.device)  # (h,)
        kept = (F.dropout(kept, self.item_dropout, self.training) > 0).float()
        for log_rate, maps in zip(self.log_rates, self.maps, strict=True):
            means = _mean(past, histories, log_rate.exp(), kept)
            parts = cut_members(means, self.members)
            total = total + torch.einsum("bmi,mij->bmj", parts, maps).flatten(1)
        return unit_vectors(total, self.members)


def _mean(past: Tensor, histories: Histories, rate: Tensor, kept: Tensor) -> Tensor:
    """Weighted mean ``(b, d)`` of the vectors ``(h, d)`` of each history's kept items.

    Items with 0 in ``kept`` ``(h,)`` count nothing; a history of which nothing is left gives zeros.
    """
    ages = _since_newest(histories, kept)
    weights = torch.exp(-rate * ages) * kept
    sums = weights.new_zeros(len(histories)).index_add(0, histories.rows, weights)
    shares = weights / sums.clamp_min(1.0)[histories.rows]  # below 1 only where nothing is left
    means = past.new_zeros(len(histories), past.shape[1])
    return means.index_add(0, histories.rows, past * shares[:, None])


def _since_newest(histories: Histories, kept: Tensor) -> Tensor:
    """Ages ``(h,)`` counted from the newest kept item, whose weight then is 1.

    Shares stay the same, but no sum can vanish: its gradient would be infinite.
    """
    far = torch.iinfo(torch.int64).max
    newest = histories.ages.new_full((len(histories),), far).scatter_reduce(
        0, histories.rows, torch.where(kept > 0, histories.ages, far), "amin"
    )
    return (histories.ages - newest[histories.rows]).clamp_min(0)
