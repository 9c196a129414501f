"""The labels that vectors are asked for: which items carry which, frequent ones only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["LEAST_POSITIVES", "Labels"]

LEAST_POSITIVES = 20  # items that carry a label, and items that do not, before it is asked for
MOST_LABELS = 50  # the most frequent ones; ties go to the first in the alphabet


@dataclass(frozen=True, eq=False)
class Labels:
    """Items by labels.

    Attributes:
        names: of the labels, in alphabetical order.
        carried: which item carries which label, bool ``(n, labels)``.
        known: which items carry any label at all, frequent or not, bool ``(n,)``; of the others
            nothing is known.
    """

    names: tuple[str, ...]
    carried: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Sequence[Sequence[str]]) -> Self:
        """Collect labels, one sequence an item, as `recsys.content.columns.labels` gives them."""
        sets = [set(of) for of in labels]
        rows = np.repeat(np.arange(len(sets)), [len(of) for of in sets])
        codes, names = pd.factorize(
            np.array([name for of in sets for name in sorted(of)], dtype=object), sort=True
        )
        carried = np.zeros((len(sets), len(names)), dtype=np.bool_)
        carried[rows, codes] = True
        known = np.asarray(carried.any(axis=1))
        counts = carried.sum(axis=0)
        kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_LABELS])
        return cls(tuple(str(names[place]) for place in kept), carried[:, kept], known)

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Labels":
        """The given items, and of their labels those that can be asked for."""
        carried, known = self.carried[which], self.known[which]
        positives = carried[known].sum(axis=0)
        enough = (positives >= LEAST_POSITIVES) & (known.sum() - positives >= LEAST_POSITIVES)
        names = tuple(name for name, there in zip(self.names, enough, strict=True) if there)
        return Labels(names, carried[:, enough], known)

    def rarest(self) -> NDArray[np.int64]:
        """Each item's rarest label ``(n,)``, -1 where it has none: one class an item.

        The rarest says most: of "Drama" and "Western", "Western". Ties go to the first.
        """
        counts = np.where(self.carried, self.carried.sum(axis=0), np.iinfo(np.int64).max)
        if not len(self.names):
            return np.full(len(self.carried), -1)
        return np.where(self.carried.any(axis=1), counts.argmin(axis=1), -1)
