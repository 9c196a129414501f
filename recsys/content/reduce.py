"""Fewer dimensions: principal components or a random projection, fitted on the training items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recsys.content.encoder import Encoded
from recsys.errors import ArtifactError, DataError

__all__ = ["Reduction"]

BLOCK = 4_096  # rows that are looked at at once


@dataclass(frozen=True, eq=False)
class Reduction:
    """``(vector - mean) @ axes``.

    Attributes:
        mean: float32 ``(width,)``; zeros for a random projection.
        axes: float32 ``(width, dim)``.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        kind: Literal["pca", "random"],
        dim: int,
        vectors: NDArray[np.float32],
        rows: NDArray[np.int64],
        seed: int = 0,
    ) -> Self:
        """Fit on some rows of vectors.

        Args:
            kind: ``"pca"``: the axes of largest variance; ``"random"``: Gaussian axes, which keep
                lengths on average (Johnson and Lindenstrauss, 1984).
            dim: the new width.
            vectors: ``(n, width)``, maybe mapped from a file.
            rows: those to fit on, ``(m,)``.
            seed: of the random axes.

        Raises:
            DataError: ``dim`` is above the width, or PCA has fewer rows than that.
        """
        width = vectors.shape[1]
        limits = {f"the width {width}": width}
        if kind == "pca":
            limits[f"the {len(rows):,} training items that have this content"] = len(rows)
        for what, limit in limits.items():
            if dim > limit:
                raise DataError(f"reduce: dim = {dim} is more than {what}; take a smaller one")
        if kind == "random":
            axes = np.random.default_rng(seed).standard_normal((width, dim)) / np.sqrt(dim)
            return cls(np.zeros(width, np.float32), axes.astype(np.float32))
        mean, products = np.zeros(width), np.zeros((width, width))
        for start in range(0, len(rows), BLOCK):
            block = vectors[rows[start : start + BLOCK]].astype(np.float64)
            mean += block.sum(axis=0) / len(rows)
            products += block.T @ block / len(rows)
        _, found = np.linalg.eigh(products - np.outer(mean, mean))
        axes = found[:, ::-1][:, :dim]
        signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)])
        return cls(mean.astype(np.float32), (axes * signs).astype(np.float32))

    def apply(self, encoded: Encoded) -> Encoded:
        """Return reduced vectors ``(n, dim)``; absent rows stay zeros."""
        n = len(encoded.vectors)
        reduced = np.zeros((n, self.axes.shape[1]), dtype=np.float32)
        for start in range(0, n, BLOCK):
            here = slice(start, start + BLOCK)
            centred = encoded.vectors[here] - self.mean
            reduced[here] = (centred @ self.axes) * encoded.present[here, None]
        return encoded._replace(vectors=reduced)

    def save(self, path: Path) -> None:
        """Write a ``.safetensors``."""
        save_file({"mean": self.mean, "axes": np.ascontiguousarray(self.axes)}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: it is damaged.
        """
        try:
            return cls(**load_file(path))
        except (SafetensorError, TypeError) as error:
            raise ArtifactError(f"{path}: is damaged ({error}); run embed again") from None
