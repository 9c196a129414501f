"""Vectors of some items, looked up by item number as those of all items would be."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SomeItems"]


@dataclass(frozen=True, eq=False)
class SomeItems:
    """What a step needs of a large catalogue.

    Attributes:
        numbers: of these items, rising, each once, int64 ``(c,)``.
        vectors: theirs, ``(c, d)``.
    """

    numbers: Tensor
    vectors: Tensor

    def __getitem__(self, items: Tensor) -> Tensor:
        """Vectors ``(..., d)`` of item numbers ``(...)``, all of which must be among these."""
        return self.vectors[torch.searchsorted(self.numbers, items)]
