"""Histories through a causal transformer (SASRec, Kang and McAuley, ICDM 2018), members at once.

With ``time_gaps`` attention also knows how long after one item the other came: a learnt bias for
each bucket of the logarithm of the time between them, as in HSTU (Zhai et al., "Actions speak
louder than words", ICML 2024; the idea is TiSASRec's, Li et al., WSDM 2020). HSTU measures from the
moment of the next item; nobody knows that one when it serves, so here only times between items of
the history count: the same numbers in training and serving.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.dropout import dropout
from recsys.towers.histories import Histories, at_places

__all__ = ["BUCKETS", "GroupedLinear", "Transformer", "time_buckets"]

BUCKETS = 64  # of the time between two items: below 1.35 s, then HSTU's steps of a factor 1.35
LOG_BASE = 0.301  # of that factor; the last bucket begins at five years


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
        self,
        members: int,
        width: int,
        heads: int,
        longest: int,
        dropout: float,
        layers: int,
        time_gaps: bool,
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
        self.gaps = nn.Parameter(torch.zeros(members, heads, BUCKETS)) if time_gaps else None

    def forward(self, stream: Tensor, histories: Histories, buckets: Tensor | None) -> Tensor:
        mixed = self._attend(self.norm_attention(stream), histories, buckets)
        stream = stream + dropout(mixed, self.dropout, self.training)
        narrow = self.narrow(F.relu(self.widen(self.norm_forward(stream))))
        return stream + dropout(narrow, self.dropout, self.training)

    def _attend(self, values: Tensor, histories: Histories, buckets: Tensor | None) -> Tensor:
        """Attention of every item to itself and those before it, ``(m, h, w) -> (m, h, w)``.

        Only here histories are laid side by side in a table; all else knows no padding.
        """
        table = histories.table(self.inward(values))  # (m, b, l, 3 w)
        query, key, value = (
            part.view(*part.shape[:-1], self.heads, part.shape[-1] // self.heads).transpose(-2, -3)
            for part in table.chunk(3, dim=-1)
        )  # (m, b, heads, l, w / heads)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        scores = scores + self._bias(histories.longest)
        if self.gaps is not None and buckets is not None:
            scores = scores + _looked_up(self.gaps, buckets)
        shares = scores.softmax(dim=-1)
        mixed = (shares @ value).transpose(-2, -3).flatten(-2)  # (m, b, l, w)
        outward: Tensor = self.outward(histories.packed(mixed))
        return outward

    def _bias(self, length: int) -> Tensor:
        """What is added to a score by the distance of two items, ``(m, 1, heads, l, l)``."""
        steps = torch.arange(length, device=self.near.device)
        distance = steps[:, None] - steps
        bias = self.near[:, :, distance.clamp(0, self.near.shape[-1] - 1)]
        return bias.masked_fill(distance < 0, -torch.inf)[:, None]


def time_buckets(histories: Histories) -> Tensor | None:
    """Which bucket the time between two items falls into, ``(b, longest, longest)``.

    ``floor(log(max(1, seconds between them)) / 0.301)``, at most ``BUCKETS - 1``; None where times
    are unknown.
    """
    if histories.times is None:
        return None
    # Double precision holds milliseconds exactly, so that a shift of all times changes nothing.
    times = histories.table(histories.times[:, None]).squeeze(-1).double()
    seconds = (times[:, :, None] - times[:, None]).abs_().div_(1000).clamp_(min=1)
    return seconds.log_().div_(LOG_BASE).clamp_(max=BUCKETS - 1).long()


def _looked_up(biases: Tensor, buckets: Tensor) -> Tensor:
    """The biases ``(m, heads, BUCKETS)`` of buckets ``(b, l, l)``, ``(m, b, heads, l, l)``.

    ``BUCKETS`` itself stands for unknown: 0, which says no more than any other number would, since
    it is the same for a whole history. `torch.gather` over an expanded table: its backward pass
    adds up a table for each history; with an index both passes take four times as long on a CPU.
    """
    b, length = buckets.shape[:2]
    m, heads = biases.shape[:2]
    table = F.pad(biases, (0, 1))[:, None].expand(m, b, heads, BUCKETS + 1)
    index = buckets.flatten(1)[:, None].expand(m, b, heads, length**2)
    return table.gather(-1, index).view(m, b, heads, length, length)


class Transformer(nn.Module):
    """Pre-norm blocks whose attention knows how far apart two items are, not where they stand.

    A bias a head and distance in place of position vectors (Press et al., ALiBi, ICLR 2022, but
    learnt): every prefix of a history then reads like a history of its own.
    """

    def __init__(
        self,
        members: int,
        width: int,
        *,
        layers: int,
        heads: int,
        longest: int,
        dropout: float,
        time_gaps: bool = False,
        time_dropout: float = 0.0,
    ) -> None:
        """Prepare ``layers`` blocks for histories of at most ``longest`` items.

        Args:
            members: models side by side.
            width: of each.
            layers: blocks.
            heads: of attention in each member.
            longest: items of a history.
            dropout: of what the blocks add.
            time_gaps: whether attention also looks at the time between two items.
            time_dropout: share of the histories whose times it does not see in training.
        """
        super().__init__()
        self.time_gaps, self.time_dropout = time_gaps, time_dropout
        self.gain = math.sqrt(width)  # of what comes in: comparable with what blocks add
        self.dropout = dropout
        self.blocks = nn.ModuleList(
            _Block(members, width, heads, longest, dropout, layers, time_gaps)
            for _ in range(layers)
        )
        self.norm = _Norm(members, width)

    def forward(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each item, ``(m, h, w)``, of past items ``(m, h, w)``."""
        stream = past * self.gain
        buckets = self._buckets(histories) if self.time_gaps else None
        for block in self.blocks:
            stream = block(stream, histories, buckets)
        states: Tensor = self.norm(stream)
        return states

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        return at_places(self(past, histories), histories.whole)

    def _buckets(self, histories: Histories) -> Tensor | None:
        """See `time_buckets`; ``BUCKETS`` for the histories whose times are hidden."""
        buckets = time_buckets(histories)
        if buckets is not None and self.training and self.time_dropout:
            hidden = torch.rand(len(histories), device=buckets.device) < self.time_dropout
            buckets = buckets.masked_fill(hidden[:, None, None], BUCKETS)
        return buckets
