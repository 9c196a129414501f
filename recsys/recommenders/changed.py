"""A recommender whose items changed after its towers learnt: what it answers from then on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.index.live import LiveIndex
from recsys.index.vectors import Vectors
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker

__all__ = [
    "ChangedItems",
    "catalogue_with",
    "live_index_of",
    "two_towers_of",
    "with_changes",
]


@dataclass(frozen=True, eq=False)
class ChangedItems:
    """Items as they are now, beside those that a recommender was made with.

    Attributes:
        index: over the recommender's own index, with the vectors that recommendations come from.
        own: where the item tower itself puts the changed items, ``(m, d)``; None where the index
            holds just that.
        new_ids: ids of the items that were added, in number order.
        items: the catalogue's columns of the changed items, ``m`` rows in number order.
    """

    index: LiveIndex
    own: Vectors | None
    new_ids: Sequence[Any]
    items: pd.DataFrame


def with_changes(before: Recommender, changed: ChangedItems) -> Recommender:
    """Return a recommender that knows of the changes; towers and index are shared with ``before``.

    Added items are found by what is like them and by a text, and recommended to who asks for new
    items or names them; removed ones are never answered, but stay what they were in a history.

    Raises:
        ArtifactError: the changes are not of this recommender.
    """
    ranker, live = before.ranker, changed.index
    if not isinstance(ranker, TwoTowerRanker) or live.base is not ranker.index:
        raise ArtifactError("changes: of another recommender; expected one over its own index")
    own = None
    if changed.own is not None:
        own = LiveIndex.over(ranker.own_index).put(live.numbers, changed.own)
        own = own.without(live.removed)
    return replace(
        before,
        ranker=replace(ranker, index=live, own=own),
        item_ids=before.item_ids.with_more(changed.new_ids),
        known=replace(before.known, n_items=len(live)),
        items=catalogue_with(before.items, live.numbers, changed.items),
    )


def catalogue_with(
    items: pd.DataFrame, numbers: NDArray[np.int64], changed: pd.DataFrame
) -> pd.DataFrame:
    """A catalogue ``(n, columns)`` with some rows replaced, and those from n on appended."""
    if not items.shape[1] or not len(numbers):
        n = max(len(items), int(numbers[-1]) + 1 if len(numbers) else 0)
        return items if n == len(items) else pd.DataFrame(index=pd.RangeIndex(n))
    kept = items[~np.isin(np.arange(len(items)), numbers)]
    rows = changed.reindex(columns=items.columns).set_axis(numbers)
    together: pd.DataFrame = pd.concat([kept, rows]).sort_index()
    return together


def two_towers_of(recommender: Recommender) -> TwoTowerRanker:
    """The two towers of a recommender.

    Raises:
        ArtifactError: it has none.
    """
    if not isinstance(recommender.ranker, TwoTowerRanker):
        raise ArtifactError(f"{recommender.ranker.name} has no item vectors; expected two towers")
    return recommender.ranker


def live_index_of(recommender: Recommender) -> LiveIndex:
    """The index of a recommender, as one that can change."""
    index = two_towers_of(recommender).index
    return index if isinstance(index, LiveIndex) else LiveIndex.over(index)
