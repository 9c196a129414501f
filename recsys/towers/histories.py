"""Histories as tensors: lists of different lengths without padding."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.device import to_device

__all__ = ["Histories", "Places", "at_places"]


class Places(NamedTuple):
    """Parts of histories: each from its history's beginning up to an item.

    Attributes:
        rows: the history of each part, int64 ``(p,)``.
        newest: the newest item of each, a place in ``Histories.items``; -1: the part is empty.
    """

    rows: Tensor
    newest: Tensor


def at_places(states: Tensor, places: Places) -> Tensor:
    """The states ``(m, p, w)`` at places, of the states after each item ``(m, h, w)``.

    The state of an empty part is zero.
    """
    nothing = states.new_zeros(len(states), 1, states.shape[-1])
    return torch.cat([states, nothing], dim=1)[:, places.newest]


@dataclass(frozen=True, eq=False)
class Histories:
    """A block of histories, oldest item first.

    Attributes:
        items: item numbers, one history after another, int64 ``(h,)``.
        offsets: where each history starts, int64 ``(b,)``.
        rows: the history of each item, int64 ``(h,)``.
        ages: how many items of its history are newer, int64 ``(h,)``: 0 is the newest.
        longest: items of the longest history, at least 1.
        times: when each item was taken, milliseconds, int64 ``(h,)``; None: unknown.
    """

    items: Tensor
    offsets: Tensor
    rows: Tensor
    ages: Tensor
    longest: int
    times: Tensor | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of(cls, ragged: Ragged, device: torch.device) -> Self:
        """Move a block to a device."""
        rows = ragged.row_numbers
        ages = ragged.indptr[1:][rows] - 1 - np.arange(len(rows))
        return cls(
            items=to_device(ragged.values.astype(np.int64), device),
            offsets=to_device(ragged.indptr[:-1], device),
            rows=to_device(rows, device),
            ages=to_device(ages, device),
            longest=max(1, int(ragged.lengths.max(initial=0))),
            times=None if ragged.times is None else to_device(ragged.times, device),
        )

    @cached_property
    def whole(self) -> "Places":
        """The newest item of each history, ``b`` places."""
        stops = torch.cat([self.offsets[1:], self.offsets.new_tensor([len(self.items)])])
        rows = torch.arange(len(self), device=self.offsets.device)
        return Places(rows, torch.where(stops > self.offsets, stops - 1, -1))

    @cached_property
    def cells(self) -> Tensor:
        """The cell of each item in a table ``(b, longest)`` filled from the left, ``(h,)``."""
        places = torch.arange(len(self.items), device=self.items.device)
        return self.rows * self.longest + places - self.offsets[self.rows]

    def table(self, values: Tensor) -> Tensor:
        """Lay values ``(..., h, w)`` out as ``(..., b, longest, w)``, zeros behind the newest.

        What attends causally needs no mask for these zeros: they are newer than every item.
        """
        shape = (*values.shape[:-2], len(self) * self.longest, values.shape[-1])
        laid = values.new_zeros(shape).index_copy(-2, self.cells, values)
        return laid.view(*shape[:-2], len(self), self.longest, shape[-1])

    def packed(self, table: Tensor) -> Tensor:
        """Take values ``(..., h, w)`` back out of a table ``(..., b, longest, w)``."""
        return table.flatten(-3, -2).index_select(-2, self.cells)
