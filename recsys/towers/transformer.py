"""Histories through a causal transformer (SASRec, Kang and McAuley, ICDM 2018), members at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.dropout import dropout
from recsys.towers.histories import Histories, at_places

__all__ = ["GroupedLinear", "Transformer"]


class GroupedLinear(nn.Module):
    """A linear map for each member: ``(m, h, w_in) -> (m, h, w_out)``."""

    def __init__(self, members: int, width_in: int, width_out: int, *, gain: float = 1.0) -> None:
        """Start like ``nn.init.xavier_uniform_`` times ``gain``."""
        super().__init__()
        bound = gain * math.sqrt(6 / (width_in + width_out))
        first = torch.empty(members, width_in, width_out).uniform_(-bound, bound)
        self.weight = nn.Parameter(first)
        self.bias = nn.Parameter(torch.zeros(members, 1, width_out))

    def forward(self, values: Tensor) -> Tensor:
        """Map each member's values with its own weights."""
        return torch.baddbmm(self.bias, values, self.weight)


class _Norm(nn.Module):
    """Layer norm with a gain and an offset for each member."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, width))
        self.offset = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, values: Tensor) -> Tensor:
        normal = F.layer_norm(values.float(), values.shape[-1:])
        return normal * self.gain + self.offset


class _Block(nn.Module):
    """Attention to what came before, then a feed-forward net, each added to its input."""

    def __init__(
        self, members: int, width: int, heads: int, longest: int, dropout: float, layers: int
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_forward = _Norm(members, width), _Norm(members, width)
        self.inward = GroupedLinear(members, width, 3 * width)
        gain = 1 / math.sqrt(2 * layers)  # as many additions to the stream: GPT-2's scaling
        self.outward = GroupedLinear(members, width, width, gain=gain)
        self.widen = GroupedLinear(members, width, 4 * width)
        self.narrow = GroupedLinear(members, 4 * width, width, gain=gain)
        # ALiBi's slopes at first: heads that look near and heads that look far.
        slopes = 2.0 ** -torch.linspace(1, 7, heads)
        distances = torch.arange(longest).float()
        first = -slopes[:, None] * distances
        self.near = nn.Parameter(first.repeat(members, 1, 1))  # (m, heads, longest)

    def forward(self, stream: Tensor, histories: Histories) -> Tensor:
        mixed = self._attend(self.norm_attention(stream), histories)
        stream = stream + dropout(mixed, self.dropout, self.training)
        narrow = self.narrow(F.relu(self.widen(self.norm_forward(stream))))
        return stream + dropout(narrow, self.dropout, self.training)

    def _attend(self, values: Tensor, histories: Histories) -> Tensor:
        """Attention of every item to itself and those before it, ``(m, h, w) -> (m, h, w)``.

        Only here histories are laid side by side in a table; all else knows no padding.
        """
        table = histories.table(self.inward(values))  # (m, b, l, 3 w)
        query, key, value = (
            part.view(*part.shape[:-1], self.heads, part.shape[-1] // self.heads).transpose(-2, -3)
            for part in table.chunk(3, dim=-1)
        )  # (m, b, heads, l, w / heads)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        shares = (scores + self._bias(histories.longest)).softmax(dim=-1)
        mixed = (shares @ value).transpose(-2, -3).flatten(-2)  # (m, b, l, w)
        outward: Tensor = self.outward(histories.packed(mixed))
        return outward

    def _bias(self, length: int) -> Tensor:
        """What is added to a score by the distance of two items, ``(m, 1, heads, l, l)``."""
        steps = torch.arange(length, device=self.near.device)
        distance = steps[:, None] - steps
        bias = self.near[:, :, distance.clamp(0, self.near.shape[-1] - 1)]
        return bias.masked_fill(distance < 0, -torch.inf)[:, None]


class Transformer(nn.Module):
    """Pre-norm blocks whose attention knows how far apart two items are, not where they stand.

    A bias a head and distance in place of position vectors (Press et al., ALiBi, ICLR 2022, but
    learnt): every prefix of a history then reads like a history of its own.
    """

    def __init__(
        self, members: int, width: int, *, layers: int, heads: int, longest: int, dropout: float
    ) -> None:
        """Prepare ``layers`` blocks for histories of at most ``longest`` items."""
        super().__init__()
        self.gain = math.sqrt(width)  # of what comes in: comparable with what blocks add
        self.dropout = dropout
        self.blocks = nn.ModuleList(
            _Block(members, width, heads, longest, dropout, layers) for _ in range(layers)
        )
        self.norm = _Norm(members, width)

    def forward(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each item, ``(m, h, w)``, of past items ``(m, h, w)``."""
        stream = past * self.gain
        for block in self.blocks:
            stream = block(stream, histories)
        states: Tensor = self.norm(stream)
        return states

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        return at_places(self(past, histories), histories.whole)
