"""Newcomers: items without interactions, ranked by their content through the same index.

Learned towers place new items badly: what they know of content serves items that have an id too.
So newcomers are placed by a model of their own, and both live in one vector:

    user  =  [ a u | b p | g | 0    ]      u: the tower's vector, p: the profile of the history
    known =  [ s v | 0   | 0 | rest ]      v: the tower's vector
    new   =  [ l w | t c | o | rest ]      w, c: what v and an item's factors would be, by content

All have length 1 (``rest`` fills up), so an angular index is exact for them. Among known items the
order is the tower's own; a new one stands where a known one of cosine

    gain (u . w + profile  p . c) + offset

would. ``w`` and ``c`` are kernel ridge regressions (Gaussian process means) from content onto the
towers' vectors of known items, and onto item factors, the right singular vectors of the log; ``p``
sums the factors of a history, each dimension shrunk as far as chance would have given it too. The
towers know the order of a history, the factors the taste of years. How much each kind of content
says is learnt in episodes that play known items as new (`recsys.training.newcomers`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.device import to_device
from recsys.towers.factors import Factors

__all__ = ["ContentKernel", "Newcomers"]

BLOCK = 4_096  # items placed at a time
FIRST_WEIGHT, FIRST_NOISE = 0.2, 5.0  # of the kernel
LARGEST = 0.8  # part of a newcomer's vector that the towers' may fill


class _Standard(nn.Module):
    """One content block, centred on the known items and scaled to unit rows; zeros where absent."""

    content: Tensor  # (n_items, width), not saved: content is data
    present: Tensor  # (n_items,)
    mean: Tensor  # (width,)

    def __init__(self, block: ContentBlock, known: Tensor) -> None:
        super().__init__()
        content, present = torch.from_numpy(block.vectors), torch.from_numpy(block.present)
        learnt_from = content[present & known]
        mean = learnt_from.mean(dim=0) if len(learnt_from) else torch.zeros(block.dim)
        self.register_buffer("content", content, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("mean", mean)

    def forward(self, items: Tensor) -> Tensor:
        """Unit rows ``(b, width)`` of item numbers ``(b,)``."""
        centred = F.normalize(self.content[items].float() - self.mean, dim=1)
        return centred * self.present[items, None]


class ContentKernel(nn.Module):
    """How alike items are, from the cosines g_k of their content blocks k.

    ``exp(-sum_k w_k (2 - 2 g_k)) + sum_k a_k g_k``: items that are close in all contents together,
    and, for what is close to nothing, in any of them.
    """

    def __init__(self, n_blocks: int) -> None:
        """Start with blocks of equal weight."""
        super().__init__()
        self.log_widths = nn.Parameter(torch.full((n_blocks,), math.log(FIRST_WEIGHT)))
        self.log_slopes = nn.Parameter(torch.full((n_blocks,), math.log(FIRST_WEIGHT)))
        self.log_noise = nn.Parameter(torch.tensor(math.log(FIRST_NOISE)))

    def forward(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
        """Kernel ``(n, m)`` of items with unit rows ``(n, width)`` and ``(m, width)`` a block."""
        cosines = [ours @ theirs.T for ours, theirs in zip(left, right, strict=True)]
        widths, slopes = self.log_widths.exp(), self.log_slopes.exp()
        apart = sum(w * (2 - 2 * g) for w, g in zip(widths, cosines, strict=True))
        near = sum(a * g for a, g in zip(slopes, cosines, strict=True))
        return torch.exp(-torch.as_tensor(apart)) + torch.as_tensor(near)

    def coefficients(self, anchors: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Fit targets ``(m, r)`` at anchors: what times `forward` gives the regression."""
        noise = self.log_noise.exp() * torch.eye(len(targets), device=targets.device)
        solved: Tensor = torch.linalg.solve(self(anchors, anchors) + noise, targets)
        return solved


class Newcomers(nn.Module):
    """Widens the vectors of users and items by the part in which newcomers are ranked.

    Attributes:
        known: items with training rows, which stay with the towers, bool ``(n_items,)``.
        anchors: known items whose content and factors newcomers are compared with, ``(m,)``.
    """

    known: Tensor
    anchors: Tensor
    coefficients: Tensor  # (m, r + d)
    centre: Tensor  # (r + d,): where an item lies whose content is like no other
    steps: Tensor  # (n_items, r): what a past item adds to a profile
    prior: Tensor  # (r,): one average step, all that is known of a user without history
    longest: Tensor  # (2,): lengths that no newcomer's c and w exceed: they must fit a unit vector
    gain: Tensor  # (): above 0
    profile: Tensor  # (): what p . c counts beside u . w, above 0
    offset: Tensor  # (): how far newcomers as a whole are lifted, in cosines of the towers

    def __init__(
        self,
        blocks: Sequence[ContentBlock],
        known: Tensor,
        *,
        n_anchors: int,
        dim: int,
        tower_dim: int,
    ) -> None:
        """Prepare an empty model, for `place` or for weights from a file.

        Args:
            blocks: content of all items, at least one.
            known: items with training rows, bool ``(n_items,)``.
            n_anchors: how many known items newcomers are compared with.
            dim: width ``r`` of factors and profiles.
            tower_dim: width ``d`` of the towers' vectors.
        """
        super().__init__()
        self.dim, self.tower_dim = dim, tower_dim
        self.contents = nn.ModuleList([_Standard(block, known.cpu()) for block in blocks])
        self.kernel = ContentKernel(len(blocks))
        self.register_buffer("known", known.cpu())
        self.register_buffer("anchors", torch.zeros(n_anchors, dtype=torch.int64))
        self.register_buffer("coefficients", torch.zeros(n_anchors, dim + tower_dim))
        self.register_buffer("centre", torch.zeros(dim + tower_dim))
        self.register_buffer("steps", torch.zeros(len(known), dim))
        self.register_buffer("prior", torch.zeros(dim))
        self.register_buffer("longest", torch.ones(2))
        for name in ("gain", "profile"):
            self.register_buffer(name, torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    @property
    def shape(self) -> dict[str, int]:
        """What `__init__` asks beside content and known items."""
        return {"n_anchors": len(self.anchors), "dim": self.dim, "tower_dim": self.tower_dim}

    @property
    def width(self) -> int:
        """What is added to the width of a vector."""
        return self.dim + 2

    def standard(self, items: Tensor) -> list[Tensor]:
        """Content of items ``(b,)`` as the kernel takes it: ``(b, width)`` a block."""
        return [content(items) for content in self.contents]

    @torch.no_grad()
    def place(
        self,
        factors: Factors,
        vectors: NDArray[np.float32],
        anchors: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> None:
        """Fit the regressions of the learnt kernel, from the content of anchors.

        Args:
            factors: of all known items.
            vectors: of the item tower, ``(n_items, d)``.
            anchors: numbers of ``n_anchors`` of these, ``(m,)``.
            counts: rows of each item, ``(n_items,)``.
        """
        device = self.known.device
        self.anchors.copy_(to_device(anchors, device))
        self.fit(to_device(np.hstack([factors.items[anchors], vectors[anchors]]), device))
        self.steps.copy_(to_device(factors.steps, device))
        rows = to_device(counts.astype(np.float32), device)
        self.prior.copy_(rows @ self.steps / rows.sum())

    @torch.no_grad()
    def fit(self, targets: Tensor) -> None:
        """Fit the regressions to the factors and vectors ``(m, r + d)`` of the anchors."""
        self.centre = targets.mean(dim=0)
        anchors = self.standard(self.anchors)
        self.coefficients = self.kernel.coefficients(anchors, targets - self.centre)
        placed = self.places(torch.arange(len(self.known), device=targets.device))
        lengths = [part.norm(dim=1).max() for part in placed]
        self.longest = torch.stack(lengths).clamp_min(1e-6)

    @torch.no_grad()
    def targets(self) -> Tensor:
        """What the regressions were fitted to, ``(m, r + d)``."""
        anchors = self.standard(self.anchors)
        noise = self.kernel.log_noise.exp()
        placed: Tensor = self.kernel(anchors, anchors) @ self.coefficients
        return self.centre + placed + noise * self.coefficients

    @torch.no_grad()
    def places(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """What content says of items ``(b,)``: c ``(b, r)`` and w ``(b, d)``."""
        anchors = self.standard(self.anchors)
        blocks = [
            self.kernel(self.standard(block), anchors) @ self.coefficients
            for block in torch.split(items, BLOCK)
        ]
        placed = self.centre + torch.cat(blocks)
        factors, vectors = torch.split(placed, [self.dim, self.tower_dim], dim=1)
        return factors, vectors

    @torch.no_grad()
    def profiles(self, histories: Ragged) -> Tensor:
        """Unit profiles p of histories, ``(b, r)``; unknown items add nothing."""
        device = self.known.device
        rows = to_device(histories.row_numbers, device)
        steps = self.steps[to_device(histories.values.astype(np.int64), device)]
        sums = self.prior.repeat(len(histories), 1).index_add(0, rows, steps)
        return F.normalize(sums, dim=1)

    def beside_items(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Widen the towers' unit vectors of all items ``(n_items, d)`` to ``(n_items, d + width)``.

        Known items keep theirs; those of newcomers are replaced.
        """
        known = self.known.cpu().numpy()
        new = np.flatnonzero(~known)
        share = self._shares()
        wide = np.zeros((len(vectors), vectors.shape[1] + self.width), dtype=np.float32)
        wide[known, : vectors.shape[1]] = vectors[known] * share.known
        if len(new):
            factors, tower = (
                (part / part.norm(dim=1, keepdim=True).clamp_min(longest)).cpu().numpy()
                for part, longest in zip(
                    self.places(to_device(new, self.known.device)), self.longest, strict=True
                )
            )
            wide[new, : vectors.shape[1]] = tower * share.tower_place
            wide[new, -self.width : -2] = factors * share.place
            wide[new, -2] = share.offset
        rest = 1.0 - np.square(wide).sum(axis=1)
        wide[:, -1] = np.sqrt(np.maximum(rest, 0.0))
        return wide

    def beside_users(self, vectors: NDArray[np.float32], histories: Ragged) -> NDArray[np.float32]:
        """Widen the towers' unit vectors ``(b, d)`` of users to ``(b, d + width)``."""
        share = self._shares()
        wide = np.zeros((len(vectors), vectors.shape[1] + self.width), dtype=np.float32)
        wide[:, : vectors.shape[1]] = vectors * share.tower
        wide[:, -self.width : -2] = self.profiles(histories).cpu().numpy() * share.profile
        wide[:, -2] = share.standing
        return wide

    def _shares(self) -> "_Shares":
        longest_place, longest_vector = self.longest.tolist()
        gain = float(self.gain)
        return _Shares.of(
            gain * longest_vector, gain * float(self.profile) * longest_place, float(self.offset)
        )


class _Shares(NamedTuple):
    """The numbers of the module's table, for c and w of length 1 at most."""

    tower: float  # a
    profile: float  # b
    standing: float  # g
    known: float  # s
    tower_place: float  # l
    place: float  # t
    offset: float  # o

    @classmethod
    def of(cls, by_tower: float, by_profile: float, offset: float) -> "_Shares":
        """The largest scale ``a s`` of all scores for which all vectors have length 1.

        Wanted are ``l = s by_tower``, ``b t = a s by_profile`` and ``g o = a s offset``, with
        ``a^2 + b^2 + g^2 = 1`` and ``l^2 + t^2 + o^2 <= 1``. For any a and s, t^2 + o^2 is least
        where ``b^2 : g^2 = by_profile : abs(offset)``; a then follows. s is below 1 only where l
        would leave no room.
        """
        known = min(1.0, LARGEST / by_tower)
        both, room = by_profile + abs(offset), 1.0 - (known * by_tower) ** 2
        tower = math.sqrt(room / (room + (known * both) ** 2))
        left = math.sqrt(1.0 - tower * tower)
        profile, standing = (
            left * math.sqrt(by_profile / both),
            left * math.sqrt(abs(offset) / both),
        )
        scale = tower * known
        own = scale * offset / standing if standing else 0.0
        return cls(
            tower, profile, standing, known, known * by_tower, scale * by_profile / profile, own
        )
