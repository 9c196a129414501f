"""The data set: ids, interactions, and what is known of items and users. Frozen, self-checking."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.errors import DataError

__all__ = ["Counts", "Dataset", "TimeKind"]

TimeKind = Literal["timestamp", "order", "row"]  # a moment, a per-user order, the row of the log


@dataclass(frozen=True)
class Counts:
    """What came in and what became of it: ``read == kept + sum(rejected.values())``."""

    read: int
    kept: int
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows

    def __post_init__(self) -> None:
        if self.read != self.kept + sum(self.rejected.values()):
            raise DataError(f"rows are lost: read {self.read}, {self.kept} kept, {self.rejected}")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A log of positive interactions with its ids, catalogue and users.

    Attributes:
        user_ids: the users, number = place.
        item_ids: the items of the log and of the catalogue, number = place.
        log: all positive interactions, by user, time and row.
        items: the catalogue, one row an item in item-number order, without the id column; an item
            that only the log knows has NaN in all columns.
        catalogue_rows: for each item its row in the catalogue file, -1 where the catalogue lacks
            it, int64 ``(n_items,)``; without a catalogue the item numbers themselves.
        users: attributes of users in user-number order, without the id column.
        time_kind: what ``log.times`` are.
        rejected: rows of the log that were not kept, with ``row`` and ``reason``.
        counts: rows read, kept, rejected.
        notes: one line for each thing that a user should know (such as items without catalogue).
        generated: whether the data were made by a generator; said wherever they are shown.
    """

    user_ids: UserIds
    item_ids: ItemIds
    log: Interactions
    items: pd.DataFrame
    catalogue_rows: NDArray[np.int64]
    users: pd.DataFrame
    time_kind: TimeKind
    rejected: pd.DataFrame
    counts: Counts
    notes: tuple[str, ...] = ()
    generated: bool = False
