"""CONFIG -> TABLES: where the log, the catalogue and the users come from.

The user's files, or a source that is built in: MovieLens, sequences, the synthetic generator. What
a source calls its columns is said in the config that comes with the tables.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recsys.config import DataConfig, SplitConfig
from recsys.data.clean import LABELS
from recsys.data.movielens import MovieLens, movielens_100k, movielens_small
from recsys.data.read import Table, expand, read_table
from recsys.data.sequences import read_sequences
from recsys.data.synthetic import generate
from recsys.errors import ConfigError

__all__ = ["Source", "open_source", "read_beside"]

FILE_LABEL = "part of the split"  # the column that says which labelled file a row is from


@dataclass(frozen=True, eq=False)
class Source:
    """Tables, and the config that names their columns.

    Attributes:
        config: as the user gave it, with the columns' names of ``log``, ``items`` and ``users``.
        log: one row an interaction.
        items: the catalogue.
        users: attributes of users.
        label: the column of the log that says train, validation or test.
        generated: whether the data were made by a generator.
    """

    config: DataConfig
    log: Table
    items: Table | None
    users: Table | None
    label: str | None = None
    generated: bool = False

    @property
    def items_folder(self) -> Path | None:
        """Where relative paths in ``items`` begin."""
        return None if self.config.items is None else self.config.items.parent


def open_source(data: DataConfig, split: SplitConfig, folder: Path | None = None) -> Source:
    """Read the tables of a config.

    Args:
        data: names files and columns, or a built-in source.
        split: with ``protocol = "files"`` its files are the log; with ``"column"`` it names one.
        folder: where ``source = "synthetic"`` writes what it generates.

    Raises:
        DataError: a file cannot be read; the message says which and why.
        ConfigError: the config names no log.
    """
    label = split.column if split.protocol == "column" else None
    if data.source == "synthetic":
        return _synthetic(data, folder, label)
    data, items, users = read_beside(data)
    if data.source is None:
        if split.protocol == "files":
            return Source(data, _labelled_files(data, split), items, users, FILE_LABEL)
        if not data.interactions:
            raise ConfigError("no log: give interactions = FILE, or source = NAME")
        return Source(data, _read(list(data.interactions), data), items, users, label)
    columns = {"user": "user_id", "item": "item_id"}
    if data.source == "sequences":
        paths, notes = expand(data.interactions)
        config = data.model_copy(update={**columns, "time": "position"})
        return Source(config, read_sequences(paths).with_notes(notes), items, users, label)
    lens = movielens_small() if data.source == "movielens-small" else movielens_100k(data.path)
    return _movielens(data.model_copy(update=columns), lens, items, users, label)


def read_beside(data: DataConfig) -> tuple[DataConfig, Table | None, Table | None]:
    """The config with the keys of catalogue and users, and these tables where there are any.

    Raises:
        DataError: a file cannot be read.
    """
    items = None if data.items is None else _read([data.items], data)
    users = None if data.users is None else _read([data.users], data)
    keys = {"item_key": data.item_key or data.item, "user_key": data.user_key or data.user}
    return data.model_copy(update=keys), items, users


def _read(paths: list[Path], data: DataConfig) -> Table:
    files, notes = expand(paths)
    return read_table(files, delimiter=data.delimiter).with_notes(notes)


def _labelled_files(data: DataConfig, split: SplitConfig) -> Table:
    """One table of the split's files, training first, with the column ``FILE_LABEL``."""
    files: list[Path] = []
    labels: list[str] = []
    notes: list[str] = []
    for label, path in zip(LABELS, (split.train, split.validation, split.test), strict=True):
        if path is not None:
            inside, more = expand([path])
            files += inside
            labels += [label] * len(inside)
            notes += more
    table = read_table(files, delimiter=data.delimiter).with_notes(notes)
    place = np.searchsorted(table.first_rows, table.rows, side="right") - 1
    return table.with_column(FILE_LABEL, pa.array(np.array(labels, dtype=object)[place]))


def _movielens(
    data: DataConfig, lens: MovieLens, items: Table | None, users: Table | None, label: str | None
) -> Source:
    """The user's own catalogue or users take the place of those that MovieLens brings."""
    columns = {"time": "timestamp", "weight": "rating"}
    if items is None:
        items, columns["item_key"] = lens.items, "item_id"
    if users is None:
        users, columns["user_key"] = lens.users, "user_id"
    return Source(data.model_copy(update=columns), lens.ratings, items, users, label)


def _synthetic(data: DataConfig, folder: Path | None, label: str | None) -> Source:
    folder = data.path or folder
    if folder is None:
        raise ConfigError('source = "synthetic" needs a folder to write to: path = FOLDER')
    generate(data.synthetic, folder)
    items = folder / "items.csv"
    columns = {"user": "user_id", "item": "item_id", "time": "time", "item_key": "item_id"}
    return Source(
        data.model_copy(update={**columns, "items": items}),
        read_table([folder / "interactions.csv"]),
        read_table([items]),
        None,
        label,
        generated=True,
    )
