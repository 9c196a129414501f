"""Histories as tensors: lists of different lengths without padding."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.device import to_device

__all__ = ["Histories"]


@dataclass(frozen=True, eq=False)
class Histories:
    """A block of histories, oldest item first.

    Attributes:
        items: item numbers, one history after another, int64 ``(h,)``.
        offsets: where each history starts, int64 ``(b,)``.
        rows: the history of each item, int64 ``(h,)``.
        ages: how many items of its history are newer, int64 ``(h,)``: 0 is the newest.
    """

    items: Tensor
    offsets: Tensor
    rows: Tensor
    ages: Tensor

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of(cls, ragged: Ragged, device: torch.device) -> Self:
        """Move a block to a device."""
        rows = ragged.row_numbers
        ages = ragged.indptr[1:][rows] - 1 - np.arange(len(rows))
        columns = (ragged.values.astype(np.int64), ragged.indptr[:-1], rows, ages)
        return cls(*(to_device(column, device) for column in columns))
