"""The contract of what proposes items to an approximate index: a forest of trees, or a graph."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.vectors import Vectors

__all__ = ["Proposer"]


class Proposer(Protocol):
    """Says which items may be near, and for how much effort."""

    @property
    def count(self) -> int:
        """How many items there are."""
        ...

    @property
    def most(self) -> int:
        """The effort with which all items are met."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether proposals come by cosine, so that the first ones are enough."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """What `save` writes."""
        ...

    def propose(
        self, queries: Vectors, fetch: NDArray[np.int64], efforts: NDArray[np.int64]
    ) -> Ragged:
        """Return items that queries ``(q, dim)`` meet, each once, q rows.

        Args:
            queries: unit vectors.
            fetch: at most so many items of each, ``(q,)``; all items: all that are met.
            efforts: how far to look for each, ``(q,)``, 1 to ``most``.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write it into a folder that exists."""
        ...
