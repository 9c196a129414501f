"""A content block as the item tower reads it: as it is, or by an encoder that learns on."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.content.text.tail import TunableBlock
from recsys.device import autocast, to_device
from recsys.towers.fusion import Part

__all__ = ["INITIAL_STD", "ContentInput", "TunedInput", "content_input"]

INITIAL_STD = 0.05  # of ids and of what content adds at first: neither drowns the other
CHUNK, CHUNK_CUDA = 16, 128  # texts of like length that are encoded together


class ContentInput(nn.Module):
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


def _forget_ready(content: ContentInput, _: object) -> None:
    """Other weights come with another mean and scale."""
    content.ready = None


class TunedInput(ContentInput):
    """A block of texts whose encoder's last layers learn together with the towers.

    Each step encodes a few items anew, with gradient; the vectors of the others are those of the
    last time that they were, at most a little old (as in a memory bank, Wu et al., CVPR 2018).
    Vectors are saved with the weights: they belong to them.
    """

    def __init__(self, block: TunableBlock, dim: int, known: Tensor) -> None:
        super().__init__(block, dim, known)
        self.register_buffer("content", self.content.clone())  # saved, and no longer the block's
        self.tail = deepcopy(block.tail)
        self.states, self.finetune = block.states, block.finetune
        self.there = block.present  # (n_items,), not on the GPU
        self._moving: tuple[Tensor, Tensor] | None = None

    @contextmanager
    def moving(
        self, items: NDArray[np.integer], random: np.random.Generator, precision: str
    ) -> Iterator[None]:
        """Let a few of the items ``(n,)`` be encoded anew, with gradient, within the block.

        Args:
            items: different numbers; those without content are left out.
            random: draws as many as ``finetune.items``.
            precision: see `recsys.device.autocast`.
        """
        able = items[self.there[items]].astype(np.int64)
        if len(able) > self.finetune.items:
            able = random.choice(able, self.finetune.items, replace=False)
        if not len(able):
            yield
            return
        vectors = self._encode(able, precision)
        numbers = to_device(able, vectors.device)
        self.content.index_copy_(0, numbers, vectors.detach())
        if self.ready is not None:
            fresh = self._standard(vectors.detach()).to(self.ready.dtype)
            self.ready.index_copy_(0, numbers, fresh)
        self._moving = numbers, vectors
        try:
            yield
        finally:
            self._moving = None

    @torch.no_grad()
    def encode_anew(self, precision: str) -> None:
        """Bring the vectors of all items to where the encoder is now."""
        items = np.flatnonzero(self.there)
        vectors = self._encode(items, precision)
        self.content.index_copy_(0, to_device(items, vectors.device), vectors)
        self.ready = None

    def _all(self) -> Tensor:
        ready = super()._all()
        if self._moving is None:
            return ready
        numbers, vectors = self._moving
        return ready.index_copy(0, numbers, self._standard(vectors).to(ready.dtype))

    def _encode(self, items: NDArray[np.int64], precision: str) -> Tensor:
        """Vectors float32 ``(b, width)`` of items that have texts, those of like length at once."""
        device = self.content.device
        order = np.argsort(-self.states.lengths[items], kind="stable")
        chunk = CHUNK_CUDA if device.type == "cuda" else CHUNK
        with autocast(device, precision):
            made = [
                self.tail(self.states.take(items[order[at : at + chunk]], device))
                for at in range(0, len(order), chunk)
            ]
        return torch.cat(made)[to_device(np.argsort(order), device)]


def content_input(block: ContentBlock, dim: int, known: Tensor) -> ContentInput:
    """The input of a block: ``dim`` wide, standardised on ``known`` items, bool ``(n_items,)``."""
    if isinstance(block, TunableBlock):
        return TunedInput(block, dim, known)
    return ContentInput(block, dim, known)
