"""The contract of content encoders, and what a tower gets of them.

An encoder keeps the order and count of its inputs and says which contents it could not encode, and
why; it never invents a vector for what is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = ["MISSING", "ContentBlock", "Encoded", "Encoder", "Model", "Unreadable", "reason_of"]

Content_contra = TypeVar("Content_contra", contravariant=True)

MISSING = "missing"  # the reason of what is not there, as opposed to what cannot be read
BLOCK = 4_096  # rows that are looked at at once: vectors may be mapped from a large file
NO_REASONS: Mapping[int, str] = MappingProxyType({})


class Unreadable(Exception):
    """A content that is there but cannot be encoded; the message is the reason, a few words."""


def reason_of(error: Unreadable | OSError | MemoryError) -> str:
    """The few words that stand in a table for an error."""
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


class Encoded(NamedTuple):
    """Vectors with the mark of what was there to encode."""

    vectors: NDArray[np.float32]  # (n, dim); a row that is not present is all zeros
    present: NDArray[np.bool_]  # (n,)
    reasons: Mapping[int, str] = NO_REASONS  # row -> why it is not present; else MISSING
    passing: frozenset[int] = frozenset()  # rows whose reason may be gone the next time


class Encoder(Protocol[Content_contra]):
    """Maps contents of one type (a text, the path of an image or a sound) to vectors."""

    @property
    def name(self) -> str:
        """Encoder, weights and preprocessing: the key of the cache."""
        ...

    @property
    def dim(self) -> int:
        """Width of every vector."""
        ...

    def encode(self, contents: Sequence[Content_contra]) -> Encoded:
        """Return vectors ``(n, dim)`` and presence ``(n,)`` in the order of ``contents``."""
        ...


class Model(NamedTuple):
    """A loaded model: what an encoder computes with."""

    dim: int  # width of the vectors
    forward: Callable[[Any], NDArray[np.float32]]  # a batch of n prepared inputs -> (n, dim)


@dataclass(frozen=True, eq=False)
class ContentBlock:
    """One kind of content for all items: what the item tower takes in beside the id.

    Attributes:
        name: the name of its ``[content.NAME]`` table.
        vectors: float32 ``(n_items, dim)``, zeros where absent; maybe mapped from a file.
        present: bool ``(n_items,)``.
    """

    name: str
    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.present.shape != (len(self.vectors),):
            raise DataError(
                f"content {self.name}: vectors {self.vectors.shape} and present "
                f"{self.present.shape} do not belong together"
            )
        starts = range(0, len(self.vectors), BLOCK)
        if not all(np.isfinite(self.vectors[start : start + BLOCK]).all() for start in starts):
            raise DataError(f"content {self.name}: vectors hold NaN or infinity")

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.vectors.shape[1])
