"""Fusion: how an item's id and contents, all vectors of the same width, become one vector.

Every fusion starts as (nearly) the sum of the parts and learns where to differ from it. None lets
one member of a vector see another's: see `recsys.towers.two_tower`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.towers.transformer import GroupedLinear

__all__ = [
    "Attention",
    "FusionKind",
    "Gated",
    "Mlp",
    "Part",
    "Product",
    "Sum",
    "hide",
    "make_fusion",
]

FusionKind = Literal["sum", "mlp", "gated", "product", "attention"]

WIDER = 2  # times the width of a member: the hidden layer of the MLP


class Part(NamedTuple):
    """What one source says about items.

    Attributes:
        vectors: ``(b, d)``; ``absent`` where the source says nothing.
        there: whether it says something, bool ``(b,)``.
        absent: what stands for nothing, ``(d,)``: a learned vector for a content, zeros for the id.
    """

    vectors: Tensor
    there: Tensor
    absent: Tensor


def hide(part: Part, hidden: Tensor) -> Part:
    """The part as if its source said nothing of the items in ``hidden``, bool ``(b,)``."""
    vectors = torch.where(hidden[:, None], part.absent, part.vectors)
    return part._replace(vectors=vectors, there=part.there & ~hidden)


class Sum(nn.Module):
    """``base + sum of the parts``: the only fusion whose score is a sum of shares."""

    def forward(self, base: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return vectors ``(b, d)``, not scaled."""
        total = base
        for part in parts:
            total = total + part.vectors
        return total


class Product(nn.Module):
    """``base + product of (1 + part) - 1``, elementwise.

    That is the sum, plus the products of any two parts, of any three, ... Small parts multiply to
    next to nothing: at first there is only the sum. A part of zeros is no factor.
    """

    def forward(self, base: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return vectors ``(b, d)``, not scaled."""
        product = 1.0 + parts[0].vectors
        for part in parts[1:]:
            product = product * (1.0 + part.vectors)
        return base + (product - 1.0)


class Mlp(nn.Module):
    """``base + sum of the parts + MLP(parts side by side, and which of them are there)``."""

    def __init__(self, parts: int, dim: int, members: int) -> None:
        """Prepare an MLP with one hidden layer for each member; it starts at zero."""
        super().__init__()
        width = dim // members
        self.members = members
        self.widen = GroupedLinear(members, parts * (width + 1), WIDER * width)
        self.narrow = GroupedLinear(members, WIDER * width, width, gain=0.0)

    def forward(self, base: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return vectors ``(b, d)``, not scaled."""
        hidden = F.relu(self.widen(_side_by_side(parts, self.members)))
        more: Tensor = self.narrow(hidden)  # (m, b, w)
        total = base + more.transpose(0, 1).flatten(1)
        for part in parts:
            total = total + part.vectors
        return total


class Gated(nn.Module):
    """``base + sum of gate * part``: a weight in 0..2 for each part, member and item.

    Every gate looks at all parts, and at which of them are there, as in gated multimodal units
    (Arevalo et al., ICLR 2017 workshop).
    """

    def __init__(self, parts: int, dim: int, members: int) -> None:
        """Prepare gates for each member; they start at 1."""
        super().__init__()
        self.members = members
        self.gates = GroupedLinear(members, parts * (dim // members + 1), parts, gain=0.0)

    def forward(self, base: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return vectors ``(b, d)``, not scaled."""
        levels: Tensor = self.gates(_side_by_side(parts, self.members))  # (m, b, parts)
        gates = 2.0 * levels.sigmoid()
        return base + _weighted(_cut(parts, self.members), gates)


class Attention(nn.Module):
    """``base + n * sum of attention * part``: a learned query over the n parts as tokens.

    Each kind of part has keys of its own; as one query asks all of them, query and keys come down
    to a vector for each kind. The id of an item that has none is no token; a missing content is:
    its absence may say something.
    """

    def __init__(self, parts: int, dim: int, members: int) -> None:
        """Prepare a query for each member and part; all parts weigh the same at first."""
        super().__init__()
        self.members = members
        self.query = nn.Parameter(torch.zeros(members, 1, parts, dim // members))
        self.level = nn.Parameter(torch.zeros(2, members, 1, parts))  # absent, there

    def forward(self, base: Tensor, parts: Sequence[Part]) -> Tensor:
        """Return vectors ``(b, d)``, not scaled."""
        tokens = _cut(parts, self.members)
        there = torch.stack([part.there for part in parts], dim=1)  # (b, parts)
        scores = (F.layer_norm(tokens.float(), tokens.shape[-1:]) * self.query).sum(dim=-1)
        scores = scores + torch.where(there, self.level[1], self.level[0])  # (m, b, parts)
        asked = torch.cat([there[:, :1], torch.ones_like(there[:, 1:])], dim=1)
        shares = scores.masked_fill(~asked, -torch.inf).softmax(dim=-1)
        return base + _weighted(tokens, shares * asked.sum(dim=1, keepdim=True))


Fusion = Sum | Product | Mlp | Gated | Attention


def make_fusion(kind: FusionKind, parts: int, dim: int, members: int) -> Fusion:
    """Prepare a fusion.

    Args:
        kind: as ``towers.fusion`` names it.
        parts: how many there are; the first is the id. One part alone needs no fusion.
        dim: width ``d`` of the parts and of the result.
        members: parts of a vector that share nothing; a divisor of ``dim``.
    """
    if kind == "sum" or parts == 1:
        return Sum()
    if kind == "product":
        return Product()
    if kind == "mlp":
        return Mlp(parts, dim, members)
    if kind == "gated":
        return Gated(parts, dim, members)
    return Attention(parts, dim, members)


def _cut(parts: Sequence[Part], members: int) -> Tensor:
    """The parts of each member, ``(m, b, parts, w)``."""
    vectors = torch.stack([part.vectors for part in parts], dim=1)  # (b, parts, d)
    return vectors.reshape(*vectors.shape[:2], members, -1).permute(2, 0, 1, 3)


def _side_by_side(parts: Sequence[Part], members: int) -> Tensor:
    """All parts of an item in a row, then which are there, ``(m, b, parts * (w + 1))``.

    Normalised over the row: how large the parts have grown is no matter, their proportion is.
    """
    row = _cut(parts, members).flatten(-2).float()
    there = torch.stack([part.there for part in parts], dim=1).float()
    return torch.cat(
        [F.layer_norm(row, row.shape[-1:]), there.expand(members, *there.shape)], dim=-1
    )


def _weighted(tokens: Tensor, weights: Tensor) -> Tensor:
    """Sum ``(m, b, parts, w)`` over the parts with weights ``(m, b, parts)``: ``(b, d)``."""
    return (tokens * weights[..., None]).sum(dim=2).transpose(0, 1).flatten(1)
