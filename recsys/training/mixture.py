"""How sharp and how high newcomers stand beside the items that the towers know."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.towers.losses import multi_positive_softmax
from recsys.towers.newcomers import Newcomers

__all__ = ["Mixture", "lift"]

SHARE_AT = 10  # places of a list in which newcomers get their share


@dataclass(frozen=True, eq=False)
class Mixture:
    """An episode in which hidden items stand beside all others, to set `Newcomers` against towers.

    Attributes:
        towers: cosines of users and items, float32 ``(b, n)``; of hidden items 0.
        profiles: ``p . c`` of users and items, float32 ``(b, n)``; of all but hidden items 0.
        hidden: bool ``(n,)``.
        asked: items that may be ranked: not in the history, bool ``(b, n)``.
        truth: what the users took next, bool ``(b, n)``; at least one of each.
        temperature: of the towers.
    """

    towers: Tensor
    profiles: Tensor
    hidden: Tensor
    asked: Tensor
    truth: Tensor
    temperature: float

    def scores(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Scores ``(b, n)`` in cosines of the towers; -inf where nothing is asked."""
        new = gain * self.profiles + offset
        return torch.where(self.hidden, new, self.towers).masked_fill(~self.asked, -torch.inf)


def lift(newcomers: Newcomers, mixture: Mixture, steps: int = 60) -> None:
    """Set gain and offset of newcomers so that they get their share of the lists.

    The gain is what makes the softmax over all items likeliest. The offset then is where the share
    of hidden items in the best ten of each user equals their share of the truth: what the towers
    learnt by heart about the other items must not bury the hidden ones.

    Args:
        newcomers: changed in place; the gain is that of ``p . c``.
        mixture: the episode.
        steps: of the search for the likeliest.
    """
    device = mixture.towers.device
    log_gain = torch.zeros((), device=device, requires_grad=True)
    offset = torch.zeros((), device=device, requires_grad=True)
    optimizer = torch.optim.Adam([log_gain, offset], lr=0.1)
    rows, columns = mixture.truth.nonzero(as_tuple=True)
    weights = 1.0 / mixture.truth.sum(dim=1)[rows]
    barred = mixture.truth | ~mixture.asked
    for _ in range(steps):
        scores = mixture.scores(log_gain.exp(), offset) / mixture.temperature
        finite = scores.masked_fill(~mixture.asked, 0.0)
        loss = multi_positive_softmax(finite, barred, rows, columns, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    newcomers.gain.copy_(log_gain.detach().exp())
    newcomers.offset.copy_(_fair_offset(mixture, newcomers.gain))


@torch.no_grad()
def _fair_offset(mixture: Mixture, gain: Tensor) -> Tensor:
    """The offset at which hidden items have their share of the best places, by bisection."""
    fair = float(mixture.truth[:, mixture.hidden].sum() / mixture.truth.sum())
    places = min(SHARE_AT, mixture.truth.shape[1])
    reach = 1.0 + float(gain * mixture.profiles.abs().max())  # beyond it all or none come first
    low, high = -reach - 1.0, reach + 1.0
    for _ in range(30):
        middle = (low + high) / 2
        best = mixture.scores(gain, gain.new_tensor(middle)).topk(places).indices
        share = float(mixture.hidden[best].float().mean())
        low, high = (low, middle) if share > fair else (middle, high)
    return gain.new_tensor((low + high) / 2)
