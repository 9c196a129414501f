"""Attributes of users, such as age or country, as an input of the user tower."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import ContentBlock
from recsys.device import to_device

__all__ = ["Attributes", "Known"]

INITIAL_STD = 0.05  # of what an attribute adds at first, as of the ids


class Known(NamedTuple):
    """What is known of ``b`` users, of one block.

    Attributes:
        vectors: float32 ``(b, width)``.
        present: whether it is known at all, bool ``(b,)``.
    """

    vectors: Tensor
    present: Tensor

    @classmethod
    def of(cls, block: ContentBlock, device: torch.device) -> Self:
        """Move a block to a device."""
        return cls(to_device(block.vectors, device), to_device(block.present, device))

    def rows(self, rows: NDArray[np.int64]) -> "Known":
        """Some of the users."""
        return Known(self.vectors[rows], self.present[rows])


class Attributes(nn.Module):
    """``sum over blocks of project((attributes - mean) / scale), or missing``.

    Mean and scale are of the users that are learnt from; what is absent adds a learned "missing"
    vector. In training each block of each user is played as absent now and then: "missing" is
    learnt, and the history does not lean on what may not be known of somebody new.
    """

    def __init__(
        self, blocks: Sequence[ContentBlock], dim: int, known: Tensor, *, dropout: float
    ) -> None:
        """Prepare the inputs.

        Args:
            blocks: attributes of all users on record.
            dim: width ``d`` of what is added.
            known: users with training rows, bool ``(n_users,)``.
            dropout: share of a block's users that are played as absent, in [0, 1).
        """
        super().__init__()
        self.dropout = dropout
        self.inputs = nn.ModuleList(_Input(block, dim, known) for block in blocks)

    def on_record(self, users: Tensor) -> list[Known]:
        """What is on record of user numbers ``(b,)``; nothing of -1."""
        return [part.on_record(users) for part in self._inputs]

    def forward(self, known: Sequence[Known]) -> Tensor:
        """Add up what is known of ``b`` users, one `Known` a block: ``(b, d)``."""
        return torch.stack(
            [
                part(one.vectors, self._kept(one.present))
                for part, one in zip(self._inputs, known, strict=True)
            ]
        ).sum(dim=0)

    @property
    def _inputs(self) -> "list[_Input]":
        return [part for part in self.inputs if isinstance(part, _Input)]

    def _kept(self, present: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return present
        return present & (torch.rand(present.shape, device=present.device) >= self.dropout)


class _Input(nn.Module):
    """One block: centred, scaled by one number, projected."""

    table: Tensor  # (n_users, width), not saved: data, not what was learnt
    present: Tensor  # (n_users,)
    mean: Tensor  # (width,)
    scale: Tensor  # ()

    def __init__(self, block: ContentBlock, dim: int, known: Tensor) -> None:
        super().__init__()
        table, present = torch.from_numpy(block.vectors), torch.from_numpy(block.present)
        learnt_from = table[present & known]
        some = len(learnt_from) > 0
        mean = learnt_from.mean(dim=0) if some else torch.zeros(block.dim)
        length = (learnt_from - mean).square().sum(dim=1).mean().sqrt() if some else torch.zeros(())
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", length if length > 0 else torch.ones(()))
        self.project = nn.Linear(block.dim, dim, bias=False)
        self.missing = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.project.weight, std=INITIAL_STD)

    def on_record(self, users: Tensor) -> Known:
        row = users.clamp_min(0)
        return Known(self.table[row], self.present[row] & (users >= 0))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        projected = self.project((vectors - self.mean) / self.scale)
        return torch.where(present[:, None], projected, self.missing)
