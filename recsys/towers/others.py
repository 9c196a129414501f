"""Trained towers for other items: some of theirs, and new ones that they know by content alone."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.errors import ArtifactError
from recsys.towers.content_input import ContentInput
from recsys.towers.newcomers import Newcomers
from recsys.towers.two_tower import TwoTower

__all__ = ["towers_for"]


def towers_for(
    towers: TwoTower, numbers: NDArray[np.int64], blocks: Sequence[ContentBlock]
) -> TwoTower:
    """Return towers that say of other items what these would; nothing is learnt.

    All that has no row an item is shared with ``towers``, which must not be trained on. Where an
    item that newcomers are compared with has other content now, their regression is fitted to it.

    Args:
        towers: trained, on the CPU.
        numbers: what item each new one is, ``(m,)``; -1: none that they know. Where one comes
            twice, `Newcomers` compares with the last.
        blocks: content of the new items, ``m`` rows each, encoded as that of the old.

    Raises:
        ArtifactError: an encoder learnt with the towers: what it would make of the blocks' content
            is not in them; or an item that newcomers are compared with is left out.
    """
    if towers.items.tuned:
        raise ArtifactError(
            "content whose encoder learnt with the towers (finetune) cannot be added to; train "
            "again with the new items, or `recsys update`"
        )
    tensors = [*towers.parameters(), *towers.buffers()]
    others = copy.deepcopy(towers, {id(tensor): tensor for tensor in tensors})
    there = torch.from_numpy(numbers >= 0)
    rows = torch.from_numpy(np.maximum(numbers, 0))
    others.n_items = len(numbers)
    others.items.known = towers.items.known[rows] & there
    _take_rows(others.items.id, rows, there)
    if others.users.history is not None:
        _take_rows(others.users.history, rows, there)
    if others.ratings is not None and towers.ratings is not None:
        others.ratings.item_offsets = towers.ratings.item_offsets[rows] * there
    _give(others.items.contents, blocks)
    if others.newcomers is not None and towers.newcomers is not None:
        _renumber(others.newcomers, numbers, rows, there)
        _give(others.newcomers.contents, blocks)
        _fit_again(others.newcomers, towers.newcomers)
    return others.eval()


def _take_rows(table: nn.Embedding, rows: Tensor, there: Tensor) -> None:
    """The rows of an item table; zeros of those that it lacks."""
    weight = table.weight.detach()[rows] * there[:, None]
    table.weight = nn.Parameter(weight, requires_grad=False)
    table.num_embeddings = len(rows)


def _give(inputs: nn.ModuleList, blocks: Sequence[ContentBlock]) -> None:
    """Hand the content of the new items to what reads content."""
    for one, block in zip(inputs, blocks, strict=True):
        one.content = torch.from_numpy(block.vectors)
        one.present = torch.from_numpy(block.present)
        if isinstance(one, ContentInput):
            one.ready = None


def _renumber(
    newcomers: Newcomers, numbers: NDArray[np.int64], rows: Tensor, there: Tensor
) -> None:
    places = np.full(len(newcomers.known), -1, dtype=np.int64)
    places[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)
    anchors = places[newcomers.anchors.numpy()]
    if (anchors < 0).any():
        raise ArtifactError("newcomers: an item that they are compared with is left out")
    newcomers.anchors = torch.from_numpy(anchors)
    newcomers.known = newcomers.known[rows] & there
    newcomers.steps = newcomers.steps[rows] * there[:, None]


@torch.no_grad()
def _fit_again(newcomers: Newcomers, before: Newcomers) -> None:
    """Fit what the anchors were fitted to, now from their content as it is."""
    then, now = before.standard(before.anchors), newcomers.standard(newcomers.anchors)
    if all(torch.equal(*pair) for pair in zip(then, now, strict=True)):
        return
    kernel = before.kernel
    noise = kernel.log_noise.exp()
    targets = kernel(then, then) @ before.coefficients + noise * before.coefficients
    newcomers.coefficients = kernel.coefficients(now, targets)
