"""How sharp and how high newcomers stand beside the items that the towers know.

Both are read off known items that are played as new, among the items that nobody was seen to take:
of those that somebody took, the towers know more than they would of anything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Mixture", "best_of_others", "fair_offset", "teacher_gain"]

SHARE_AT = 10  # places of a list in which newcomers get their share
LEAST = 1e-2  # gain: newcomers' content counts, however little the towers agree with it


@dataclass(frozen=True, eq=False)
class Mixture:
    """Hidden items beside all others, as users would be served: what they took is left out.

    Attributes:
        others: cosines of users and items that are not hidden, best first, ``(b, 10)`` at most;
            -inf where there are fewer.
        predicted: what content says of users and hidden items, ``(b, h)``.
        taught: the cosines that the towers, which know them, give the same, ``(b, h)``.
        asked: hidden items that a user did not take, bool ``(b, h)``.
        share: of the hidden items in what the users took.
    """

    others: Tensor
    predicted: Tensor
    taught: Tensor
    asked: Tensor
    share: float


def best_of_others(cosines: Tensor, allowed: Tensor) -> Tensor:
    """The best cosines of each user, ``(b, 10)`` of ``(b, n)``, among the allowed ``(b, n)``."""
    places = min(SHARE_AT, cosines.shape[1])
    return cosines.masked_fill(~allowed, -torch.inf).topk(places, dim=1).values


def teacher_gain(mixtures: Sequence[Mixture]) -> float:
    """The slope of the least squares line from what content says to what the towers say."""
    said = torch.cat([mixture.predicted[mixture.asked] for mixture in mixtures]).double()
    taught = torch.cat([mixture.taught[mixture.asked] for mixture in mixtures]).double()
    said = said - said.mean()
    slope = float((said * taught).sum() / said.square().sum().clamp_min(1e-12))
    return max(slope, LEAST)


def fair_offset(mixtures: Sequence[Mixture], gain: float) -> float:
    """The offset at which hidden items hold their share of the ten best places, by bisection."""
    fair = sum(mixture.share for mixture in mixtures) / len(mixtures)
    reach = max(gain * float(mixture.predicted.abs().max()) for mixture in mixtures)
    low, high = -2.0 - reach, 2.0 + reach  # below it no hidden item comes first, above it each
    for _ in range(30):
        middle = (low + high) / 2
        shares = [_share(mixture, gain, middle) for mixture in mixtures]
        low, high = (low, middle) if sum(shares) / len(shares) > fair else (middle, high)
    return (low + high) / 2


def _share(mixture: Mixture, gain: float, offset: float) -> float:
    """Which part of everybody's best ten are hidden items."""
    new = (gain * mixture.predicted + offset).masked_fill(~mixture.asked, -torch.inf)
    places = mixture.others.shape[1]
    both = torch.cat([mixture.others, new], dim=1).topk(places, dim=1)
    taken = torch.isfinite(both.values)
    return float((taken & (both.indices >= places)).sum() / taken.sum().clamp_min(1))
