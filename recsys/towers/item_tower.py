"""The item tower: a learned id and any number of content blocks in, a unit vector out."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.towers.fusion import Part, hide, make_fusion

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
    ready: Tensor | None  # (n_items, width): centred and scaled once, for all steps of training

    def __init__(self, block: ContentBlock, dim: int, known: Tensor) -> None:
        super().__init__()
        content, present = torch.from_numpy(block.vectors), torch.from_numpy(block.present)
        learnt_from = content[present & known]
        mean = learnt_from.mean(dim=0) if len(learnt_from) else torch.zeros(block.dim)
        squares = (learnt_from - mean).square().sum(dim=1)
        length = squares.mean().sqrt() if len(learnt_from) else torch.zeros(())
        self.register_buffer("content", content, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("ready", None, persistent=False)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", length if length > 0 else torch.ones(()))
        self.project = nn.Linear(block.dim, dim, bias=False)
        self.missing = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.project.weight, std=INITIAL_STD)
        self.register_load_state_dict_post_hook(_forget_ready)  # type: ignore[no-untyped-call]

    def forward(self, items: Tensor | None) -> Part:
        """What the block says of items ``(b,)``, of all items when None."""
        present = self.present if items is None else self.present[items]
        content = self._all() if items is None else self._standard(self.content[items])
        vectors = torch.where(present[:, None], self.project(content), self.missing)
        return Part(vectors, present, self.missing)

    def _standard(self, content: Tensor) -> Tensor:
        return (content - self.mean) / self.scale

    def _all(self) -> Tensor:
        """The whole content, kept from one step to the next in the precision of its products."""
        device, dtype = self.content.device.type, self.content.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if self.ready is None or self.ready.dtype != dtype:
            self.ready = self._standard(self.content).to(dtype)
        return self.ready


def _forget_ready(content: _ContentInput, _: object) -> None:
    """Other weights come with another mean and scale."""
    content.ready = None


class ItemTower(nn.Module):
    """Fuses a learned id and one projection a content block, then scales to length 1.

    ``vector(i) = normalise(fusion(base, id[i], project(content[i]) or missing, ...))``, each
    member's part by itself (`unit_vectors`). An item without training rows has no id to speak of:
    it lies where its content puts it.

    A block that an item lacks shows a learned "missing" vector instead: zeros or a mean would pass
    for content.

    In training, ``content_dropout`` and ``id_dropout`` of the config hide a block or the id of
    items, drawn anew at each call: the towers learn to do without.
    """

    known: Tensor  # (n_items,): items with training rows

    def __init__(
        self, n_items: int, blocks: Sequence[ContentBlock], known: Tensor, config: TowersConfig
    ) -> None:
        """Prepare a tower.

        Args:
            n_items: items of the data set.
            blocks: content of all items.
            known: items with training rows, bool ``(n_items,)``.
            config: width ``d``, members, fusion and what is hidden in training.
        """
        super().__init__()
        dim = config.dim
        self.members, self.block_names = config.members, [block.name for block in blocks]
        self.id_dropout, self.content_dropout = config.id_dropout, config.content_dropout
        self.register_buffer("known", known)
        self.id = nn.Embedding(n_items, dim)
        self.base = nn.Parameter(torch.randn(dim) * INITIAL_STD)
        inputs = [_ContentInput(block, dim, known) for block in blocks]
        self.contents = nn.ModuleList(inputs)
        nn.init.normal_(self.id.weight, std=INITIAL_STD)
        self.fusion = make_fusion(config.fusion, 1 + len(blocks), dim, config.members)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(b, d)`` of item numbers ``(b,)``; of all items when None."""
        parts = self.parts(items)
        if self.training:
            chances = [self.id_dropout] + [self.content_dropout] * len(self.contents)
            parts = [_sometimes_hidden(*pair) for pair in zip(parts, chances, strict=True)]
        return self.fuse(parts)

    def parts(self, items: Tensor | None = None) -> list[Part]:
        """What the id, then each content block says of items ``(b,)``; of all items when None."""
        ids = self.id.weight if items is None else self.id(items)
        known = self.known if items is None else self.known[items]
        own = Part(ids * known[:, None], known, ids.new_zeros(ids.shape[1]))
        return [own, *(content(items) for content in self.contents)]

    def fuse(self, parts: Sequence[Part]) -> Tensor:
        """Return unit vectors ``(b, d)`` of what `parts` gave, maybe with something hidden."""
        return unit_vectors(self.fusion(self.base, parts), self.members)

    @property
    def scorable(self) -> Tensor:
        """Items whose vectors mean something: learnt from, or with content; bool ``(n_items,)``."""
        able = self.known
        for content in self.contents:
            able = able | content.get_buffer("present")
        return able


def _sometimes_hidden(part: Part, chance: float) -> Part:
    if not chance:
        return part
    return hide(part, torch.rand(len(part.there), device=part.there.device) < chance)


def cut_members(vectors: Tensor, members: int) -> Tensor:
    """Cut vectors ``(b, d)`` into the parts of their members, ``(b, members, d / members)``."""
    return vectors.reshape(len(vectors), members, vectors.shape[1] // members)


def unit_vectors(vectors: Tensor, members: int) -> Tensor:
    """Scale each member's part of ``(b, d)`` to the same length, and the whole to length 1.

    The cosine of two such vectors is the mean of their members' cosines.
    """
    parts = cut_members(vectors, members)
    return F.normalize(parts, dim=-1).flatten(1) / math.sqrt(members)
