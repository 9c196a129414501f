"""Unit vectors and their cosines: checked once, computed so that every index agrees."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = [
    "TOLERANCE",
    "Rows",
    "Vectors",
    "cosines",
    "cosines_of_pairs",
    "float32_error",
    "unit_vectors",
]

Vectors = NDArray[np.float32]  # (n, dim), each row of length 1

TOLERANCE = 1e-3  # of a length: float32 rounding is far below it, bfloat16 rounding far above
PAIRS = 1 << 20  # numbers of vectors that are multiplied in double at a time


class Rows(Protocol):
    """Unit vectors ``(n, dim)`` of which some are read at a time: an array, or `Packed` ones.

    ``numpy.asarray`` makes one array of all.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""
        ...

    def __len__(self) -> int:
        """How many rows."""
        ...

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]], /) -> Vectors:
        """Rows as float32 ``(*rows, dim)``."""
        ...

    def __array__(self) -> NDArray[Any]:
        """All of them."""
        ...


def unit_vectors(vectors: NDArray[Any], what: str, *, dim: int | None = None) -> Vectors:
    """Return ``vectors`` as contiguous float32 after checking every row.

    Annoy checks nothing and can crash the process on bad input, so nothing reaches it unchecked.

    Args:
        vectors: shape ``(n, dim)``; n may be 0.
        what: names the vectors in a message, such as ``"item vectors"``.
        dim: the expected width; any when None.

    Raises:
        DataError: the shape is wrong, a number is NaN or infinite, or a row is not of length 1.
    """
    expected = "(n, dim)" if dim is None else f"(n, {dim})"
    if vectors.ndim != 2 or vectors.shape[1] != (dim or vectors.shape[1]) or not vectors.shape[1]:
        raise DataError(f"{what}: shape {vectors.shape}, expected {expected}")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise DataError(f"{what}: {vectors.dtype}, expected floats of shape {expected}")
    result = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(result, axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= TOLERANCE))  # NaN compares False: bad as well
    if len(bad):
        raise DataError(
            f"{what}: {len(bad)} of {len(result)} rows are not of length 1, first: row {bad[0]} "
            f"with length {lengths[bad[0]]:.4g}; divide each row by its length"
        )
    return result


def cosines(queries: Vectors, vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return every query's cosine with every vector, shape ``(q, n)``.

    Computed in double and rounded once: so the scores of a pair are the same in every block size,
    with every number of threads and in every index, and equal vectors tie.
    """
    wide = queries.astype(np.float64) @ vectors.astype(np.float64, copy=False).T
    return wide.astype(np.float32)


def cosines_of_pairs(
    queries: Vectors,
    vectors: Rows,
    rows: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Return the cosine of query ``rows[i]`` with vector ``items[i]``, shape ``(m,)``.

    The same numbers as in ``cosines``, bit for bit. However many pairs there are, few vectors are
    copied at a time.
    """
    found = np.empty(len(rows), dtype=np.float32)
    size = max(1, PAIRS // vectors.shape[1])
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        left, right = queries[rows[part]], vectors[items[part]]
        products = left.astype(np.float64) * right.astype(np.float64)
        found[part] = products.sum(axis=1)
    return found


def float32_error(dim: int) -> float:
    """How far a product of unit vectors in float32 may be from the cosine that counts, at most.

    ``|product - exact one| <= dim * 2**-24 * |a| |b|`` (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1); the cosine itself is rounded as well.
    """
    return float((dim + 2) * 2.0**-24 * (1 + TOLERANCE) ** 2)
