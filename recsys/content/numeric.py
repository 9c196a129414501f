"""Numbers as vectors: the value itself, and soft bins that let a tower bend it.

A tower's first layer is linear: from the year alone it can like newer or older films, but not the
eighties. Gaussian bumps over the quantiles (radial basis functions, Broomhead and Lowe, 1988) give
it a smooth piece of every era to weigh.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Encoded
from recsys.errors import DataError

__all__ = ["NumberEncoder"]

BUMPS = 8  # soft bins a column
CLIP = 4.0  # standard deviations: one price of a million must not drown the others


@dataclass(frozen=True, eq=False)
class NumberScale:
    """What the catalogue says about one column.

    Attributes:
        mean: of the values that are there.
        deviation: their standard deviation, 1 where all are equal.
        values: the distinct values in order, float64 ``(v,)``.
        ranks: share of the items below each, its equals counted half, in (0, 1), ``(v,)``.
    """

    mean: float
    deviation: float
    values: NDArray[np.float64]
    ranks: NDArray[np.float64]

    @classmethod
    def of(cls, column: NDArray[np.float64]) -> Self:
        """Measure a column ``(n,)`` whose missing values are NaN; at least one is not."""
        there = column[~np.isnan(column)]
        values, counts = np.unique(there, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / len(there)
        deviation = float(there.std()) if len(values) > 1 else 1.0
        return cls(float(there.mean()), deviation, values, ranks)

    def features(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the clipped standard score and the bumps of each value, ``(n, 1 + BUMPS)``."""
        score = np.clip((column - self.mean) / self.deviation, -CLIP, CLIP)
        rank = np.interp(column, self.values, self.ranks)
        centres = (np.arange(BUMPS) + 0.5) / BUMPS
        bumps = np.exp(-0.5 * ((rank[:, None] - centres) * BUMPS) ** 2)
        features = np.column_stack([score, bumps])
        features[np.isnan(column)] = 0.0
        return features


@dataclass(frozen=True, eq=False)
class NumberEncoder:
    """Every column's standard score and soft bins, side by side.

    Attributes:
        scales: one a column, fitted on the catalogue.
    """

    scales: tuple[NumberScale, ...]

    @classmethod
    def fit(cls, contents: Sequence[Sequence[float]]) -> Self:
        """Measure the catalogue's numbers, one row an item, NaN where missing.

        Raises:
            DataError: a column has no number at all.
        """
        table = np.asarray(contents, dtype=np.float64)
        empty = np.flatnonzero(np.isnan(table).all(axis=0))
        if len(empty):
            raise DataError(
                f"numbers: column {empty[0] + 1} of {table.shape[1]} is empty; leave it out"
            )
        return cls(tuple(NumberScale.of(column) for column in table.T))

    @property
    def name(self) -> str:
        """``numbers`` with the digest of the fitted scales."""
        digest = hashlib.sha256()
        for scale in self.scales:
            digest.update(scale.values.tobytes() + scale.ranks.tobytes())
        return f"numbers@{digest.hexdigest()[:12]}"

    @property
    def dim(self) -> int:
        """Nine numbers a column."""
        return len(self.scales) * (1 + BUMPS)

    def encode(self, contents: Sequence[Sequence[float]]) -> Encoded:
        """Return rows ``(n, dim)``; a missing number gives zeros, an item without any is absent."""
        table = np.asarray(contents, dtype=np.float64).reshape(len(contents), len(self.scales))
        parts = [scale.features(table[:, j]) for j, scale in enumerate(self.scales)]
        vectors = np.concatenate(parts, axis=1).astype(np.float32)
        missing = np.asarray(np.isnan(table).all(axis=1))
        return Encoded(vectors, ~missing)
