"""Unit vectors in two bytes a number, or in one.

A row v is stored as codes q = v / max|v| in float16, or as the nearest whole numbers to
127 v / max|v| in int8 (symmetric quantisation with one scale a row: Jacob et al., CVPR 2018). What
is read is q / |q|: since a vector has length 1, the scale follows from the codes and takes no room
in a file. Packing what was unpacked gives the same codes: rebuilding an index loses nothing more.

With e = |q / s - v| for the scale s that was used, the angle between v and what is read has a sine
of at most e, so that a cosine with any unit vector moves by at most 2 e / sqrt(3), while e <= 0.86:

    float16: e <= 2^-11 + 2^-25 sqrt(dim)          int8: e <= max|v| sqrt(dim) / 254

the latter being 0.004 times the ratio of the row's largest number to its root mean square. Over
many vectors a cosine with int8 is off by about max|v| / 440 (rounding errors are uniform).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recsys.index.vectors import Rows, Vectors

__all__ = ["Kind", "Packed", "farthest", "kind_of", "pack", "rounded"]

Kind = Literal["float32", "float16", "int8"]

BLOCK = 1 << 16  # rows that are looked at together
LARGEST = {"float16": 1.0, "int8": 127.0}  # code of a row's largest number


@dataclass(frozen=True, eq=False)
class Packed:
    """Unit vectors that are unpacked where they are read, a block at a time.

    Attributes:
        codes: float16 or int8 ``(n, dim)``; they may be mapped from a file.
    """

    codes: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width, as of an array."""
        n, dim = self.codes.shape
        return n, dim

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def scales(self) -> NDArray[np.float32]:
        """One over the length of each row of codes, ``(n,)``."""
        scales = np.empty(len(self.codes), dtype=np.float32)
        for start in range(0, len(scales), BLOCK):
            wide = self.codes[start : start + BLOCK].astype(np.float64)
            scales[start : start + BLOCK] = 1.0 / np.sqrt(np.square(wide).sum(axis=1))
        return scales

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> Vectors:
        """Unpack rows: float32 ``(*rows, dim)``, each of length 1."""
        unpacked: Vectors = self.codes[rows].astype(np.float32)
        unpacked *= self.scales[rows][..., None]
        return unpacked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows, float32 ``(n, dim)``: what `numpy.asarray` makes of it."""
        if copy is False:
            raise ValueError("packed vectors cannot be unpacked without a copy")
        return self[:].astype(dtype or np.float32, copy=False)


def pack(vectors: Vectors, kind: Kind) -> Rows:
    """Store unit vectors ``(n, dim)`` in less room; with ``"float32"`` they are what is returned.

    Args:
        vectors: of length 1, checked.
        kind: of a number.
    """
    if kind == "float32":
        return vectors
    codes = np.empty(vectors.shape, dtype=kind)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        scaled = block * (LARGEST[kind] / np.abs(block).max(axis=1, keepdims=True))
        codes[start : start + BLOCK] = np.rint(scaled) if kind == "int8" else scaled
    return Packed(codes)


def rounded(vectors: Vectors, kind: Kind) -> Vectors:
    """What is read of vectors ``(n, dim)`` once they are packed, float32."""
    unpacked: Vectors = np.asarray(pack(vectors, kind), dtype=np.float32)
    return unpacked


def kind_of(dtype: np.dtype[Any]) -> Kind | None:
    """The kind that stores such numbers; None: no kind does."""
    return next((kind for kind in get_args(Kind) if dtype == np.dtype(kind)), None)


def farthest(read: Rows, vectors: Vectors) -> float:
    """The largest distance between a row that is read and what it was, both ``(n, dim)``."""
    starts = range(0, len(vectors), BLOCK)
    blocks = [slice(start, start + BLOCK) for start in starts]
    return max(float(np.linalg.norm(read[b] - vectors[b], axis=1).max()) for b in blocks)
