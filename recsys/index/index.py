"""The contract of an index, and its kinds: exact, and by what an Annoy forest proposes."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex
from recsys.index.saved import read_card
from recsys.index.topk import TopK
from recsys.index.vectors import Rows, Vectors

__all__ = ["Index", "build_index", "check_recall", "load_index"]


class Index(Protocol):
    """Answers "which items point the same way as this vector?"; passes ``tests/suites``.

    Items are numbers 0..n-1; translating them to catalogue ids is the caller's job. All kinds
    give the same score to the same pair, and order by score, then by smaller number.
    """

    @property
    def vectors(self) -> Rows:
        """The items' unit vectors ``(n_items, dim)``; row number = item number."""
        ...

    @property
    def config(self) -> IndexConfig:
        """What it was built with."""
        ...

    @property
    def ids_digest(self) -> str:
        """Of the item ids that the rows belong to."""
        ...

    def __len__(self) -> int:
        """How many items it holds."""
        ...

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return k items of high cosine of each query, best first, shapes ``(q, k)``.

        Rows end in item -1, score -inf only when fewer than k items are allowed.

        Args:
            queries: unit vectors, float32 ``(q, dim)``; q may be 0.
            k: how many, at least 1; may exceed the number of items.
            exclude: per query, item numbers never to return, q rows.
            candidates: item numbers allowed for every query, bool ``(n_items,)``.

        Raises:
            DataError: queries are of another width, not finite, or not of length 1.
            ValueError: k is below 1, or ``exclude`` or ``candidates`` do not fit.
        """
        ...

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        """How many different items each query looks at, shape ``(q,)``."""
        ...

    def save(self, folder: Path) -> None:
        """Write the index into a folder, which is made where it is absent."""
        ...


def build_index(
    vectors: Vectors,
    config: IndexConfig,
    *,
    ids_digest: str = "",
    askers: Vectors | None = None,
    exclude: Ragged | None = None,
) -> Index:
    """Build the kind that the configuration names.

    Args:
        vectors: the items' unit vectors, float32 ``(n_items, dim)``.
        config: kind, the recall that is wanted, seed.
        ids_digest: of the item ids that the rows belong to; asked for again at load.
        askers: unit vectors ``(q, dim)`` like those that will be asked, such as the users'; an
            approximate index measures with them how far it must look.
        exclude: what each asker is not to get, q rows.

    Raises:
        DataError: there are no vectors, or one is not of length 1.
    """
    if config.kind == "exact":
        return ExactIndex.build(vectors, config, ids_digest=ids_digest)
    return ApproximateIndex.build(
        vectors, config, ids_digest=ids_digest, askers=askers, exclude=exclude
    )


def load_index(folder: Path, *, ids_digest: str = "") -> Index:
    """Load an index of whatever kind lies in the folder.

    Raises:
        ArtifactError: a file is missing or damaged, or the index is of other items.
    """
    if read_card(folder).config.kind == "exact":
        return ExactIndex.load(folder, ids_digest=ids_digest)
    return ApproximateIndex.load(folder, ids_digest=ids_digest)


def check_recall(index: Index, config: IndexConfig) -> None:
    """Refuse an index that finds less than is asked for.

    Raises:
        ConfigError: it does, since ``inspect`` or ``search_k`` does not let it look farther.
    """
    if not isinstance(index, ApproximateIndex) or index.calibration.chosen.recall >= config.recall:
        return
    found = index.calibration
    by_hand = [name for name in ("inspect", "search_k") if getattr(config, name)]
    raise ConfigError(
        f"index: recall@{found.k} is {found.chosen.recall:.4f}, below index.recall = "
        f"{config.recall}, looking at {found.chosen.inspected:.1%} of {len(index):,} items; raise "
        f"{' or '.join(f'index.{name}' for name in by_hand) or 'index.trees'}, lower "
        'index.recall, or take index.kind = "exact"'
    )
