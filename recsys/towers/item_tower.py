"""The item tower: a learned id and any number of content blocks in, a unit vector out."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock

__all__ = ["INITIAL_STD", "ItemTower", "cut_members", "unit_vectors"]

INITIAL_STD = 0.05  # of ids and of what content adds at first: neither drowns the other


class _ContentInput(nn.Module):
    """One content block of all items: centred, scaled, projected; "missing" where it is absent.

    Mean and scale are of the items that are learnt from. Without the mean all text vectors point
    nearly the same way. One scale for all columns keeps their weights among themselves, and gives
    rows a length of about 1: a step of Adam then moves what content adds about as far as an id, and
    content that says nothing does not drown the ids.
    """

    content: Tensor  # (n_items, width), not saved: content is data, weights are what was learnt
    present: Tensor  # (n_items,)
    mean: Tensor  # (width,)
    scale: Tensor  # ()

    def __init__(self, block: ContentBlock, dim: int, known: Tensor) -> None:
        super().__init__()
        content, present = torch.from_numpy(block.vectors), torch.from_numpy(block.present)
        learnt_from = content[present & known]
        mean = learnt_from.mean(dim=0) if len(learnt_from) else torch.zeros(block.dim)
        squares = (learnt_from - mean).square().sum(dim=1)
        length = squares.mean().sqrt() if len(learnt_from) else torch.zeros(())
        self.register_buffer("content", content, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", length if length > 0 else torch.ones(()))
        self.project = nn.Linear(block.dim, dim, bias=False)
        self.missing = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.project.weight, std=INITIAL_STD)

    def forward(self, items: Tensor | None) -> Tensor:
        """What the block adds to items ``(b,)`` (all items when None): ``(b, d)``."""
        content = self.content if items is None else self.content[items]
        present = self.present if items is None else self.present[items]
        projected = self.project((content - self.mean) / self.scale)
        return torch.where(present[:, None], projected, self.missing)


class ItemTower(nn.Module):
    """Adds a learned id and one projection a content block, then scales to length 1.

    ``vector(i) = normalise(base + id[i] + sum over blocks of project(content[i]) or missing)``,
    each member's part by itself (`unit_vectors`). An item without training rows has no id to speak
    of: it lies where its content puts it.

    A block that an item lacks adds a learned "missing" vector instead: zeros or a mean would pass
    for content.
    """

    known: Tensor  # (n_items,): items with training rows

    def __init__(
        self,
        n_items: int,
        dim: int,
        blocks: Sequence[ContentBlock],
        known: Tensor,
        members: int = 1,
    ) -> None:
        """Prepare a tower.

        Args:
            n_items: items of the data set.
            dim: width ``d`` of the vectors.
            blocks: content of all items.
            known: items with training rows, bool ``(n_items,)``.
            members: parts of a vector that are scaled by themselves; a divisor of ``dim``.
        """
        super().__init__()
        self.members = members
        self.register_buffer("known", known)
        self.id = nn.Embedding(n_items, dim)
        self.base = nn.Parameter(torch.randn(dim) * INITIAL_STD)
        inputs = [_ContentInput(block, dim, known) for block in blocks]
        self.contents = nn.ModuleList(inputs)
        nn.init.normal_(self.id.weight, std=INITIAL_STD)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(b, d)`` of item numbers ``(b,)``; of all items when None."""
        ids = self.id.weight if items is None else self.id(items)
        known = self.known if items is None else self.known[items]
        total = self.base + ids * known[:, None]
        for content in self.contents:
            total = total + content(items)
        return unit_vectors(total, self.members)

    @property
    def scorable(self) -> Tensor:
        """Items whose vectors mean something: learnt from, or with content; bool ``(n_items,)``."""
        able = self.known
        for content in self.contents:
            able = able | content.get_buffer("present")
        return able


def cut_members(vectors: Tensor, members: int) -> Tensor:
    """Cut vectors ``(b, d)`` into the parts of their members, ``(b, members, d / members)``."""
    return vectors.reshape(len(vectors), members, vectors.shape[1] // members)


def unit_vectors(vectors: Tensor, members: int) -> Tensor:
    """Scale each member's part of ``(b, d)`` to the same length, and the whole to length 1.

    The cosine of two such vectors is the mean of their members' cosines.
    """
    parts = cut_members(vectors, members)
    return F.normalize(parts, dim=-1).flatten(1) / math.sqrt(members)
