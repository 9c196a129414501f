"""What an approximate index needs of a data structure: items that may be near."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.vectors import Vectors

__all__ = ["Proposer"]


class Proposer(Protocol):
    """Proposes items; the index drops what is barred and ranks the rest by exact cosines."""

    @property
    def count(self) -> int:
        """How many items there are."""
        ...

    @property
    def most(self) -> int:
        """The effort at which every item is looked at, or as good as that."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether proposals come by cosine, so that the first of them suffice."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """What `save` writes."""
        ...

    def propose(self, queries: Vectors, fetch: NDArray[np.int64], effort: int) -> Ragged:
        """Return items that query i of ``(q, dim)`` meets, each once, at most ``fetch[i]``."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files into a folder that exists."""
        ...
