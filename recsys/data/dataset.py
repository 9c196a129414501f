"""The data set: ids, interactions, and what is known of items and users. Frozen, self-checking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from recsys.config import DataConfig, SplitConfig
from recsys.data.arrow import from_frame, read_parquet, to_frame, write_parquet
from recsys.data.attributes import align, read_attributes
from recsys.data.clean import clean_log
from recsys.data.ids import ItemIds, UserIds, parse_ids
from recsys.data.interactions import Interactions
from recsys.data.sources import Source, open_source
from recsys.data.times import TimeKind
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json, write_json

__all__ = ["Counts", "Dataset", "TimeKind"]

INTERACTIONS, USERS, ITEMS = "interactions.parquet", "users.parquet", "items.parquet"
REJECTED, ABOUT = "rejected.parquet", "dataset.json"
ID_COLUMNS = {USERS: ("user_id",), ITEMS: ("item_id", "catalogue_row")}  # before the attributes


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
        user_ids: the users of the log, number = place.
        item_ids: the items of the log and of the catalogue, number = place.
        log: all positive interactions, by user, time and row.
        items: the catalogue, one row an item in item-number order, without the id column; an item
            that only the log knows has nothing (NaN or NA) in all columns. Columns are text,
            integers, floats, or lists.
        catalogue_rows: for each item its row in the catalogue file, -1 where the catalogue lacks
            it, int64 ``(n_items,)``; without a catalogue the item numbers themselves.
        users: attributes of users in user-number order, without the id column.
        time_kind: what ``log.times`` are.
        rejected: rows of the log that were not kept, with ``row`` and ``reason``; see
            `recsys.data.clean.Log`.
        counts: rows read, kept, rejected.
        notes: one line for each thing that a user should know (such as items without catalogue).
        generated: whether the data were made by a generator; said wherever they are shown.
        labels: for a split by column or files: ``"train"``, ``"validation"`` or ``"test"`` of each
            row of ``log``, object ``(n,)``; else None.

    Raises:
        DataError: sizes do not belong together.
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
    labels: NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        n_users, n_items, n_rows = len(self.user_ids), len(self.item_ids), len(self.log)
        for what, size, expected in (
            ("users of the log", self.log.n_users, n_users),
            ("items of the log", self.log.n_items, n_items),
            ("rows of users", len(self.users) if self.users.shape[1] else n_users, n_users),
            ("rows of items", len(self.items) if self.items.shape[1] else n_items, n_items),
            ("catalogue rows", len(self.catalogue_rows), n_items),
            ("labels", n_rows if self.labels is None else len(self.labels), n_rows),
            ("rows kept", self.counts.kept, n_rows),
        ):
            if size != expected:
                raise DataError(f"data set: {size:,} {what}, expected {expected:,}")

    def __repr__(self) -> str:
        n_users, n_items, n_rows = len(self.user_ids), len(self.item_ids), len(self.log)
        parts = [f"{n_users:,} users", f"{n_items:,} items", f"{n_rows:,} interactions"]
        parts.append(f"{100 * n_rows / (n_users * n_items):.2f} % of all pairs")
        if self.time_kind == "timestamp":
            first, last = np.array([self.log.times.min(), self.log.times.max()], "datetime64[ms]")
            parts.append(f"{str(first)[:10]} to {str(last)[:10]}")
        if self.items.shape[1]:
            parts.append(f"items with {', '.join(self.items.columns)}")
        return f"Dataset({'generated: ' if self.generated else ''}{', '.join(parts)})"

    @classmethod
    def from_files(
        cls,
        interactions: str | Path | Sequence[str | Path] = (),
        *,
        user: str = "user_id",
        item: str = "item_id",
        time: str | None = None,
        weight: str | None = None,
        positive_from: float | None = None,
        delimiter: str | None = None,
        duplicates: Literal["last", "first", "sum"] = "last",
        user_core: int = 1,
        item_core: int = 1,
        items: str | Path | None = None,
        item_key: str | None = None,
        users: str | Path | None = None,
        user_key: str | None = None,
        label_column: str | None = None,
        labelled_files: Mapping[str, str | Path] | None = None,
    ) -> Self:
        """Read a log, and the catalogue and users where there are any.

        Args:
            interactions: a file, a folder of parts, or several; csv, tsv, parquet or jsonl. Rows
                count in file-name order.
            user: its column of user ids.
            item: its column of item ids.
            time: its column of moments (seconds, milliseconds, ISO text) or of an integer order;
                without one, the order of the rows is the order in time.
            weight: its column of ratings or counts.
            positive_from: the least weight that is positive; without one every row is.
            delimiter: of csv files; else detected.
            duplicates: which row of one user and item stays: by time the last or first, or the
                last with the weights of all added up.
            user_core: drop users with fewer rows, and items likewise, until none has.
            item_core: see ``user_core``.
            items: the catalogue's file.
            item_key: its column of item ids; else called as in the log.
            users: the file of users' attributes.
            user_key: its column of user ids; else called as in the log.
            label_column: the log's column that says train, validation (valid, val, dev) or test.
            labelled_files: the log's files by these names; instead of ``interactions``.

        Raises:
            DataError: a file, column or id cannot be used, or there is nothing to learn from.
            ConfigError: the arguments do not fit together.
        """
        own = ("cls", "label_column", "labelled_files", "interactions")
        values = {name: value for name, value in locals().items() if name not in own}
        several = isinstance(interactions, Sequence) and not isinstance(interactions, str)
        paths = tuple(map(Path, interactions if several else (interactions,)))
        if bool(paths) == bool(labelled_files):
            raise ConfigError("give either interactions or labelled_files, not both or neither")
        try:
            data = DataConfig(interactions=paths, **values)
            if labelled_files:
                split = SplitConfig(protocol="files", **labelled_files)
            else:
                ...
        except ValidationError as error:
            ...
        return cls.from_config(data, split)
