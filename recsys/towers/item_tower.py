"""The item tower: a learned id and any number of content blocks in, a unit vector out."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.towers.content_input import INITIAL_STD, TunedInput, content_input
from recsys.towers.fusion import Part, hide, make_fusion

__all__ = ["INITIAL_STD", "ItemTower", "cut_members", "unit_vectors"]


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
        inputs = [content_input(block, dim, known) for block in blocks]
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
    def tuned(self) -> list[TunedInput]:
        """The contents whose encoders learn."""
        return [content for content in self.contents if isinstance(content, TunedInput)]

    @contextmanager
    def tuning(
        self, items: NDArray[np.integer], random: np.random.Generator, precision: str
    ) -> Iterator[None]:
        """Let gradients reach the encoders that learn; see `TunedInput.moving`."""
        with ExitStack() as stack:
            for content in self.tuned:
                stack.enter_context(content.moving(items, random, precision))
            yield

    def encode_anew(self, precision: str) -> None:
        """Encode all items by the encoders that learn, as these are now."""
        for content in self.tuned:
            content.encode_anew(precision)

    def as_tuned(self, blocks: Sequence[ContentBlock]) -> list[ContentBlock]:
        """Return the blocks that the tower was made with, with the vectors of encoders that learnt.

        They are on the CPU, and follow the encoders no further.
        """
        pairs = zip(blocks, self.contents, strict=True)
        return [
            replace(block, vectors=content.content.cpu().numpy().copy())
            if isinstance(content, TunedInput)
            else block
            for block, content in pairs
        ]

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
