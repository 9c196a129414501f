"""The parts of a split as arrays on disk, each as it is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recsys.data.interactions import Interactions
from recsys.data.mapped import LOG_KINDS, load_log
from recsys.data.parts import Part

__all__ = ["STORED", "StoredParts"]

STORED = {
    "train": frozenset({Part.TRAIN}),
    "validation": frozenset({Part.VALIDATION}),
    "test": frozenset({Part.TEST}),
    "refit": frozenset({Part.TRAIN, Part.VALIDATION}),
}  # folder -> the parts whose rows are in it


@dataclass(frozen=True, eq=False)
class StoredParts:
    """Folders of interactions by what they are for.

    Attributes:
        folder: that the folders of ``STORED`` lie in.
        sizes: the rows of each.
        n_users: of the data set.
        n_items: of the data set.
    """

    folder: Path
    sizes: dict[str, int]
    n_users: int
    n_items: int
    _open: dict[str, Interactions] = field(default_factory=dict)

    def of(self, *parts: Part) -> Interactions | None:
        """The rows of some parts, by user and in the order of the split; None: they are not stored.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        asked = frozenset(parts) & STORED["refit"].union(STORED["test"])
        if not asked:
            none = {name: np.empty(0, kind) for name, kind in LOG_KINDS.items()}
            return Interactions(**none, n_users=self.n_users, n_items=self.n_items)
        name = next((name for name, kept in STORED.items() if kept == asked), None)
        return None if name is None else self.named(name)

    def named(self, name: str) -> Interactions:
        """The rows of a folder of ``STORED``.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        if name not in self._open:
            self._open[name] = load_log(
                self.folder / name, self.sizes[name], self.n_users, self.n_items
            )
        return self._open[name]
