"""Histories through a recurrent net (GRU4Rec, Hidasi et al., ICLR 2016)."""

import math

import torch
from torch import Tensor, nn

from recsys.towers.dropout import dropout
from recsys.towers.histories import Histories, at_places
from recsys.towers.transformer import GroupedLinear

__all__ = ["Gru"]


class Gru(nn.Module):
    """Gated recurrent units, layer on layer, and a linear map of what the last layer says.

    Rows run in a table filled from the left: a state knows nothing of the zeros behind it. Without
    padding (``PackedSequence``) torch's backward pass on a CPU takes ten times as long.
    """

    def __init__(self, members: int, width: int, *, layers: int, dropout: float) -> None:
        """Prepare ``layers`` recurrent layers of ``width`` for each of ``members``."""
        super().__init__()
        self.gain = math.sqrt(width)  # of what comes in: comparable with a state
        self.dropout = dropout
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.GRU(width, width, batch_first=True) for _ in range(members))
            for _ in range(layers)
        )
        self.outward = GroupedLinear(members, width, width)

    def forward(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each item, ``(m, h, w)``, of past items ``(m, h, w)``."""
        if not len(histories.items):
            return past  # a recurrent net must not be asked to read nothing
        stream = histories.table(past * self.gain)  # (m, b, l, w)
        for layer in self.layers:
            runs = [unit(part)[0] for unit, part in zip(layer.children(), stream, strict=True)]
            stream = dropout(torch.stack(runs), self.dropout, self.training)
        states: Tensor = self.outward(histories.packed(stream))
        return states

    def last(self, past: Tensor, histories: Histories) -> Tensor:
        """Return the state after each history's newest item, ``(m, b, w)``; zeros without any."""
        return at_places(self(past, histories), histories.whole)
