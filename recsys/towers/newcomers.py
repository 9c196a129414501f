"""Newcomers: items without interactions, ranked by their content through the same index.

Learned towers place new items badly: what they know of content serves items that have an id too.
So newcomers are placed by a model of their own, and both live in one vector:

    user  =  [ a u | b p | g | 0    ]      u: the tower's vector, p: the profile of the history
    known =  [   v | 0   | 0 | rest ]      v: the tower's vector
    new   =  [   0 | t c | o | rest ]      c: what its content says, o: how new items stand at all

All have length 1 (``rest`` fills up), so an angular index is exact for them. Among known items the
order is the tower's own; among new ones it is that of ``p . c``.

``c`` is a kernel ridge regression (Gaussian process mean) from content onto item factors, the right
singular vectors of the log; ``p`` sums the factors of a history, each dimension shrunk as far as
chance would have given it too. How much each kind of content says is learnt in episodes that play
known items as new (`recsys.training.newcomers`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.device import to_device

__all__ = ["ContentKernel", "Factors", "Newcomers", "item_factors"]

BLOCK = 4_096  # items placed at a time
FIRST_WEIGHT, FIRST_NOISE = 0.2, 5.0  # of the kernel


class Factors(NamedTuple):
    """What the log says about items, without any content.

    Attributes:
        items: float32 ``(n_items, r)``; zeros for items without rows and for unused dimensions.
        shrink: of each dimension, in [0, 1), float32 ``(r,)``.
    """

    items: NDArray[np.float32]
    shrink: NDArray[np.float32]

    @property
    def steps(self) -> NDArray[np.float32]:
        """What each item adds to the profile of who took it, ``(n_items, r)``."""
        return self.items * self.shrink


def item_factors(taken: sparse.csr_matrix, dim: int, *, seed: int) -> Factors:
    """Factor who took what: right singular vectors, and how far each is above chance.

    With singular values s, ``shrink = s^2 / (s^2 + noise)``, which makes ``taken V shrink V'`` a
    ridge regression of the log on itself. ``noise = p (1 - p) (sqrt(users) + sqrt(items))^2`` is
    where the largest s^2 of independent draws with the same density p lies (Marchenko and Pastur,
    1967): what chance alone would show counts half or less.

    Args:
        taken: binary ``(n_users, n_items)``; rows and columns without an entry count nothing.
        dim: width ``r``; a smaller log fills fewer.
        seed: of the randomised decomposition (Halko et al., 2011).
    """
    users = np.flatnonzero(np.diff(taken.indptr))
    items = np.flatnonzero(np.bincount(taken.indices, minlength=taken.shape[1]))
    seen = taken[users][:, items].astype(np.float32)
    rank = min(dim, *seen.shape)
    _, values, right = randomized_svd(seen, rank, random_state=seed)
    density = seen.nnz / (len(users) * len(items))
    noise = density * (1 - density) * (math.sqrt(len(users)) + math.sqrt(len(items))) ** 2
    factors = np.zeros((taken.shape[1], dim), dtype=np.float32)
    factors[items, :rank] = right.T * math.sqrt(len(items))  # of a size that no catalogue's is
    shrink = np.zeros(dim, dtype=np.float32)
    shrink[:rank] = values**2 / (values**2 + max(noise, 1e-9))
    return Factors(factors, shrink)


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
    coefficients: Tensor  # (m, r)
    centre: Tensor  # (r,): where an item lies whose content is like no other
    steps: Tensor  # (n_items, r): what a past item adds to a profile
    prior: Tensor  # (r,): one average step, all that is known of a user without history
    longest: Tensor  # (): length that no newcomer's c exceeds, so that t c fits into a unit vector
    gain: Tensor  # (): what p . c / longest counts beside the cosine of the towers, above 0
    offset: Tensor  # (): how far newcomers as a whole are lifted, in cosines of the towers

    def __init__(
        self, blocks: Sequence[ContentBlock], known: Tensor, *, n_anchors: int, dim: int
    ) -> None:
        """Prepare an empty model, for `place` or for weights from a file.

        Args:
            blocks: content of all items, at least one.
            known: items with training rows, bool ``(n_items,)``.
            n_anchors: how many known items newcomers are compared with.
            dim: width ``r`` of factors and profiles.
        """
        super().__init__()
        self.dim = dim
        self.contents = nn.ModuleList([_Standard(block, known.cpu()) for block in blocks])
        self.kernel = ContentKernel(len(blocks))
        self.register_buffer("known", known.cpu())
        self.register_buffer("anchors", torch.zeros(n_anchors, dtype=torch.int64))
        self.register_buffer("coefficients", torch.zeros(n_anchors, dim))
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("steps", torch.zeros(len(known), dim))
        self.register_buffer("prior", torch.zeros(dim))
        for name in ("longest", "gain"):
            self.register_buffer(name, torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    @property
    def shape(self) -> dict[str, int]:
        """What `__init__` asks beside content and known items."""
        return {"n_anchors": len(self.anchors), "dim": self.dim}

    @property
    def width(self) -> int:
        """What is added to the width of a vector."""
        return self.dim + 2

    def standard(self, items: Tensor) -> list[Tensor]:
        """Content of items ``(b,)`` as the kernel takes it: ``(b, width)`` a block."""
        return [content(items) for content in self.contents]

    @torch.no_grad()
    def place(
        self, factors: Factors, anchors: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        """Fit the regression of the learnt kernel, from the content of anchors onto factors.

        Args:
            factors: of all known items.
            anchors: numbers of ``n_anchors`` of these, ``(m,)``.
            counts: rows of each item, ``(n_items,)``.
        """
        device = self.known.device
        targets = to_device(factors.items[anchors], device)
        self.anchors.copy_(to_device(anchors, device))
        self.centre.copy_(targets.mean(dim=0))
        self.coefficients.copy_(
            self.kernel.coefficients(self.standard(self.anchors), targets - self.centre)
        )
        self.steps.copy_(to_device(factors.steps, device))
        rows = to_device(counts.astype(np.float32), device)
        self.prior.copy_(rows @ self.steps / rows.sum())
        lengths = self.places(torch.arange(len(self.known), device=device)).norm(dim=1)
        self.longest.copy_(lengths.max().clamp_min(1e-6))

    @torch.no_grad()
    def places(self, items: Tensor) -> Tensor:
        """What content says of items ``(b,)``: c, ``(b, r)``."""
        anchors = self.standard(self.anchors)
        blocks = [
            self.kernel(self.standard(block), anchors) @ self.coefficients
            for block in torch.split(items, BLOCK)
        ]
        return self.centre + torch.cat(blocks)

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
        wide[known, : vectors.shape[1]] = vectors[known]
        if not len(new):
            return wide
        places = self.places(to_device(new, self.known.device)) / self.longest
        lengths = places.norm(dim=1, keepdim=True).clamp_min(1.0)  # of content not seen at `place`
        wide[new, -self.width : -2] = (places / lengths).cpu().numpy() * share.place
        wide[new, -2] = share.offset
        rest = 1.0 - np.square(wide[new]).sum(axis=1)
        wide[new, -1] = np.sqrt(np.maximum(rest, 0.0))
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
        return _Shares.of(float(self.gain), float(self.offset))


class _Shares(NamedTuple):
    """The numbers of the module's table: a, b, g of users, t, o of newcomers."""

    tower: float  # a
    profile: float  # b
    standing: float  # g
    place: float  # t
    offset: float  # o

    @classmethod
    def of(cls, gain: float, offset: float) -> "_Shares":
        """The largest ``a`` for which all vectors have length 1.

        Wanted are ``b t = a gain`` and ``g o = a offset`` with ``a^2 + b^2 + g^2 = 1`` and
        ``t^2 + o^2 <= 1``. For any a, t^2 + o^2 is least where b^2 : g^2 = gain : abs(offset).
        """
        both = gain + abs(offset)
        tower = 1.0 / math.sqrt(1.0 + both * both)
        rest = math.sqrt(1.0 - tower * tower)
        profile, standing = rest * math.sqrt(gain / both), rest * math.sqrt(abs(offset) / both)
        own = tower * offset / standing if standing else 0.0
        return cls(tower, profile, standing, tower * gain / profile, own)
