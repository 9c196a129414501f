"""Histories pooled by attention: how much an item counts hangs on the item and on its age."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.histories import Histories
from recsys.towers.means import FASTEST, SLOWEST

__all__ = ["AttentionPooling"]

NEVER = -1e4  # the score of a dropped item: far below all others, and still a number


class AttentionPooling(nn.Module):
    """``state = sum over heads of map_h(sum over the history of share_h(item) * item)``.

    The shares are a softmax of ``query_h . item + bias_h(age)``: a learnt query asks the same of
    every item (Yang et al., Hierarchical Attention Networks, NAACL 2016), a learnt bias an age,
    counted in items, makes room for order. At first the query asks nothing and the biases fall at
    one speed a head: `Means`.
    """

    def __init__(
        self, members: int, width: int, *, heads: int, longest: int, item_dropout: float
    ) -> None:
        """Prepare ``heads`` a member for histories of at most ``longest`` items."""
        super().__init__()
        self.item_dropout = item_dropout
        self.gain = math.sqrt(width)  # of the items a query sees: of length about 1 or more
        self.queries = nn.Parameter(torch.zeros(members, width, heads))
        rates = torch.linspace(math.log(FASTEST), math.log(SLOWEST), heads).exp()
        first_bias = -rates[:, None] * torch.arange(longest)
        self.bias = nn.Parameter(first_bias.repeat(members, 1, 1))  # (m, heads, longest)
        self.maps = nn.Parameter(torch.eye(width).repeat(members, heads, 1, 1) / heads)

    def forward(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each item, ``(m, h, w)``, of past items ``(m, h, w)``."""
        kept = self._kept(past)
        steps = torch.arange(histories.longest, device=past.device)
        ages = steps[:, None] - steps  # (l, l): of each item when a later one is the newest
        bias = self._bias_at(ages.clamp_min(0)).masked_fill(ages < 0, -torch.inf)
        scores = histories.table(self._scores(past, kept)).transpose(-1, -2)  # (m, b, heads, l)
        shares = (scores[..., None, :] + bias[:, None]).softmax(dim=-1)  # (m, b, heads, l, l)
        there = histories.table(past * kept[:, None])  # (m, b, l, w): what is dropped adds nothing
        pooled = (shares.flatten(2, 3) @ there).view(*shares.shape[:4], there.shape[-1])
        return self._mapped(histories.packed(pooled.transpose(1, 2)))

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        kept = self._kept(past)
        scores = self._scores(past, kept).transpose(-1, -2) + self._bias_at(histories.ages)
        shape = (*scores.shape[:2], len(histories))  # (m, heads, b)
        index = histories.rows.expand_as(scores)
        largest = scores.new_full(shape, NEVER).scatter_reduce(2, index, scores.detach(), "amax")
        weights = torch.exp(scores - largest[..., histories.rows]) * kept  # the largest is 1
        sums = weights.new_zeros(shape).index_add(2, histories.rows, weights)
        shares = (
            weights / sums.clamp_min(1.0)[..., histories.rows]
        )  # below 1 only if all is dropped
        parts = past[:, None] * shares[..., None]  # (m, heads, h, w)
        pooled = parts.new_zeros(*shape, parts.shape[-1]).index_add(2, histories.rows, parts)
        return self._mapped(pooled)

    def _kept(self, past: Tensor) -> Tensor:
        """Which items count in this step, float ``(h,)``."""
        ones = torch.ones(past.shape[1], device=past.device)
        return (F.dropout(ones, self.item_dropout, self.training) > 0).float()

    def _scores(self, past: Tensor, kept: Tensor) -> Tensor:
        """What each head's query makes of each item, ``(m, h, heads)``."""
        return ((past * self.gain) @ self.queries).float() + NEVER * (1 - kept)[:, None]

    def _bias_at(self, ages: Tensor) -> Tensor:
        """The bias of each head at ages of any shape, ``(m, heads, *ages.shape)``."""
        return self.bias[:, :, ages.clamp_max(self.bias.shape[-1] - 1)]

    def _mapped(self, pooled: Tensor) -> Tensor:
        """The sum over heads of their maps, ``(m, heads, n, w) -> (m, n, w)``."""
        return (pooled @ self.maps).sum(dim=1)
