"""The data set: ids, interactions, and what is known of items and users. Frozen, self-checking."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from recsys.config import DataConfig, SplitConfig
from recsys.data.arrow import from_frame, write_parquet
from recsys.data.attributes import align, read_attributes
from recsys.data.clean import Counts, clean_log
from recsys.data.dataset_files import (
    ABOUT,
    INTERACTIONS,
    ITEMS,
    LOG_COLUMNS,
    REJECTED,
    SHOWN,
    USERS,
    read_columns,
    read_log,
    read_rejected,
    write_columns,
)
from recsys.data.ids import ItemIds, UserIds, parse_ids
from recsys.data.interactions import Interactions
from recsys.data.sources import Source, open_source
from recsys.data.times import TimeKind
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json, write_json

__all__ = ["Counts", "Dataset", "TimeKind"]


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
        rejected: rows that were not kept, see `recsys.data.clean.Log`; of a mapped log the first.
        counts: rows read, kept, rejected.
        notes: one line for each thing to know, such as items without catalogue.
        generated: whether the data were made by a generator; said wherever they are shown.
        labels: for a split by column or files: ``"train"``, ``"validation"`` or ``"test"`` of each
            row of ``log``, object ``(n,)``; else None.
        items_folder: where relative paths in the catalogue begin; not saved.

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
    items_folder: Path | None = None

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
        paths = [interactions] if isinstance(interactions, str | Path) else interactions
        if bool(paths) == bool(labelled_files):
            raise ConfigError("from_files: give either interactions or labelled_files")
        try:
            split = SplitConfig()
            if labelled_files:
                split = SplitConfig.model_validate({"protocol": "files", **labelled_files})
            elif label_column is not None:
                split = SplitConfig(protocol="column", column=label_column)
            data = DataConfig(
                interactions=tuple(map(Path, paths)),
                user=user,
                item=item,
                time=time,
                weight=weight,
                positive_from=positive_from,
                delimiter=delimiter,
                duplicates=duplicates,
                user_core=user_core,
                item_core=item_core,
                items=None if items is None else Path(items),
                item_key=item_key,
                users=None if users is None else Path(users),
                user_key=user_key,
            )
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
            raise ConfigError(f"from_files: {'; '.join(faults)}") from None
        return cls.from_config(data, split)

    @classmethod
    def from_config(
        cls, data: DataConfig, split: SplitConfig | None = None, *, folder: Path | None = None
    ) -> Self:
        """Read the data set of a config, from files or a built-in source.

        Args:
            data: its [data] table.
            split: its [split] table: with ``protocol = "column"`` or ``"files"`` rows are labelled.
            folder: where ``source = "synthetic"`` writes what it generates.

        Raises:
            DataError: a file, column or id cannot be used, or there is nothing to learn from.
            ConfigError: the config names no log, or a threshold but no weight.
        """
        return cls._of(open_source(data, split or SplitConfig(), folder))

    @classmethod
    def _of(cls, source: Source) -> Self:
        """Clean the log, number the ids, and bring catalogue and users into their order."""
        config = source.config
        log = clean_log(source.log, config, label=source.label)
        items = users = None
        if source.items is not None:
            items = read_attributes(source.items, config.item_key or config.item, "item")
        if source.users is not None:
            users = read_attributes(source.users, config.user_key or config.user, "user")
        user_ids = UserIds.of(parse_ids(pd.Series(log.users.values)))
        logged = parse_ids(pd.Series(log.items.values))
        item_ids = ItemIds.of(logged) if items is None else ItemIds.of(logged, items.ids)
        user_numbers = user_ids.numbers(log.users.values)[log.users.numbers]
        item_numbers = item_ids.numbers(log.items.values)[log.items.numbers]
        order = np.lexsort((log.rows, log.times, user_numbers))
        item_frame, catalogue_rows, item_notes = align(items, item_ids, len(logged))
        user_frame, _, user_notes = align(users, user_ids, len(user_ids))
        return cls(
            user_ids,
            item_ids,
            Interactions(
                user_numbers[order],
                item_numbers[order],
                log.times[order],
                log.weights[order],
                log.rows[order],
                len(user_ids),
                len(item_ids),
            ),
            item_frame,
            catalogue_rows,
            user_frame,
            log.time_kind,
            log.rejected,
            log.counts,
            (*source.log.notes, *item_notes, *user_notes),
            source.generated,
            None if log.labels is None else log.labels[order],
            source.items_folder,
        )

    def save(self, folder: Path) -> None:
        """Write parquet and json files into ``folder``; the same data set gives the same bytes."""
        columns = {name: pa.array(getattr(self.log, name)) for name in LOG_COLUMNS}
        if self.labels is not None:
            columns["labels"] = pa.array(self.labels, pa.string())
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / INTERACTIONS, pa.table(columns))
        write_parquet(folder / REJECTED, from_frame(self.rejected))
        self.save_around(folder)

    def save_around(self, folder: Path, *, mapped: bool = False) -> None:
        """Write all but the log and what is rejected; ``mapped``: the log lies there as arrays."""
        write_columns(folder / USERS, [self.user_ids.values], self.users)
        write_columns(folder / ITEMS, [self.item_ids.values, self.catalogue_rows], self.items)
        about = {
            "schema": 1,
            "users": len(self.user_ids),
            "items": len(self.item_ids),
            "counts": asdict(self.counts),
            "time_kind": self.time_kind,
            "generated": self.generated,
            "notes": list(self.notes),
        }
        if self.item_ids.appended:
            about["appended"] = self.item_ids.appended
        if mapped:
            about["mapped"] = True
        write_json(folder / ABOUT, about)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: a file is missing, damaged, or does not belong to the others.
        """
        about = read_json(folder / ABOUT)
        (user_ids,), users = read_columns(folder / USERS)
        (item_ids, catalogue_rows), items = read_columns(folder / ITEMS)
        try:
            log, labels = read_log(folder, about)
            return cls(
                UserIds(user_ids),
                ItemIds(item_ids, appended=about.get("appended", 0)),
                log,
                items,
                catalogue_rows,
                users,
                about["time_kind"],
                read_rejected(folder / REJECTED, SHOWN if about.get("mapped") else None),
                Counts(**about["counts"]),
                tuple(about["notes"]),
                about["generated"],
                labels,
            )
        except (DataError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder}: its files do not fit together ({error})") from None
