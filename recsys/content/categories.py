"""Labels as vectors: which of the catalogue's frequent labels an item carries."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from recsys.content.encoder import Encoded
from recsys.errors import DataError

__all__ = ["CategoryEncoder"]

LEAST_ITEMS = 2  # a label on one item only says nothing about any other
MOST_LABELS = 512  # the most frequent ones; ties go to the first in the alphabet


@dataclass(frozen=True)
class CategoryEncoder:
    """Multi-hot rows of unit length over a vocabulary of labels.

    Attributes:
        vocabulary: the labels in alphabetical order; column j says whether an item carries label j.
    """

    vocabulary: tuple[str, ...]

    @classmethod
    def fit(cls, contents: Sequence[Sequence[str]]) -> Self:
        """Take the vocabulary from the catalogue's labels, one sequence an item.

        Raises:
            DataError: no label is carried by two items.
        """
        counts = Counter(label for labels in contents for label in set(labels))
        frequent = [label for label, count in counts.items() if count >= LEAST_ITEMS]
        if not frequent:
            raise DataError(
                f"categories: none of {len(counts)} labels is carried by {LEAST_ITEMS} items; "
                "use other columns, or a text encoder for free text"
            )
        kept = sorted(frequent, key=lambda label: (-counts[label], label))[:MOST_LABELS]
        return cls(tuple(sorted(kept)))

    @property
    def name(self) -> str:
        """``categories`` with the digest of the vocabulary."""
        return f"categories@{hashlib.sha256(repr(self.vocabulary).encode()).hexdigest()[:12]}"

    @property
    def dim(self) -> int:
        """How many labels the vocabulary has."""
        return len(self.vocabulary)

    def encode(self, contents: Sequence[Sequence[str]]) -> Encoded:
        """Return unit rows ``(n, dim)``; an item without a label of the vocabulary is absent."""
        rows = np.repeat(np.arange(len(contents)), [len(labels) for labels in contents])
        labels = pd.Index([label for labels in contents for label in labels], dtype=object)
        columns = pd.Index(self.vocabulary, dtype=object).get_indexer(labels)
        known = columns >= 0
        vectors = np.zeros((len(contents), self.dim), dtype=np.float32)
        vectors[rows[known], columns[known]] = 1.0
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(vectors / np.maximum(norms, 1.0), norms[:, 0] > 0)
