"""The user tower: a learned id and a history of items in, a unit vector out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.towers.histories import Histories
from recsys.towers.item_tower import INITIAL_STD

__all__ = ["UserTower"]

FASTEST, SLOWEST = 0.5, 0.003  # first decay rates, per item: half-lives of about 1 and 230 items


class UserTower(nn.Module):
    """Averages what a user took at several speeds of forgetting, then scales to length 1.

    ``vector(u) = normalise(id[u] + sum over speeds of map_s(mean_s(history)))``

    ``mean_s`` weights an item by ``exp(-rate_s * age)``, age counted in items; the rates are
    learnt, so one speed can follow the last evening and another the taste of years. An item as part
    of a history has a vector of its own, apart from the one it is recommended by.
    """

    def __init__(self, n_users: int, n_items: int, config: TowersConfig) -> None:
        """Prepare a tower for ``n_users`` users with histories out of ``n_items`` items."""
        super().__init__()
        dim, speeds = config.dim, config.speeds
        self.unknown = n_users  # the row of everybody without a number
        self.id = nn.Embedding(n_users + 1, dim) if config.user_id else None
        self.base = nn.Parameter(torch.randn(dim) * INITIAL_STD)  # who has no history still points
        self.history = nn.Embedding(n_items, dim)
        self.dropout = config.history_dropout
        first_rates = torch.linspace(math.log(SLOWEST), math.log(FASTEST), speeds)
        self.log_rates = nn.Parameter(first_rates)
        linears = [nn.Linear(dim, dim, bias=False) for _ in range(speeds)]
        self.maps = nn.ModuleList(linears)
        nn.init.normal_(self.history.weight, std=INITIAL_STD)
        if self.id is not None:
            nn.init.normal_(self.id.weight, std=INITIAL_STD)
        for linear in linears:
            nn.init.eye_(linear.weight)
            linear.weight.data /= speeds

    def forward(self, users: Tensor, histories: Histories) -> Tensor:
        """Return unit vectors ``(b, d)`` of user numbers ``(b,)`` (-1: unknown) and histories."""
        total = self.base.expand(len(users), -1)
        if self.id is not None:
            total = total + self.id(torch.where(users < 0, self.unknown, users))
        past = F.dropout(self.history(histories.items), self.dropout, self.training)  # (h, d)
        for speed, linear in enumerate(self.maps):
            total = total + linear(_mean(past, histories, self.log_rates[speed].exp()))
        return F.normalize(total, dim=-1)


def _mean(past: Tensor, histories: Histories, rate: Tensor) -> Tensor:
    """Weighted mean ``(b, d)`` of each history's vectors ``(h, d)``; zeros for an empty one."""
    weights = torch.exp(-rate * histories.ages)
    sums = weights.new_zeros(len(histories)).index_add(0, histories.rows, weights)
    shares = weights / sums[histories.rows]
    means = past.new_zeros(len(histories), past.shape[1])
    return means.index_add(0, histories.rows, past * shares[:, None])
