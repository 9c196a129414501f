"""Items added to, changed in and removed from a bundle, without training or building anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import Config
from recsys.content.encoder import ContentBlock
from recsys.content.more import encode_more
from recsys.content.saved import load_blocks
from recsys.content.store import VectorStore
from recsys.data.arrow import to_frame
from recsys.data.attributes import read_attributes
from recsys.data.ids import ItemIds
from recsys.data.read import read_table
from recsys.errors import ConfigError, DataError
from recsys.files import locked
from recsys.index.live import LiveIndex
from recsys.index.vectors import Vectors
from recsys.recommenders.changed import (
    ChangedItems,
    live_index_of,
    two_towers_of,
    with_changes,
)
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import ENCODERS, Bundle
from recsys.serving.changes import Changes, ItemRows, write_changes
from recsys.serving.search import learnt_catalogue
from recsys.stages.wishes import read_ids
from recsys.towers.others import towers_for
from recsys.towers.two_tower import TwoTower

__all__ = ["Edited", "edit_items"]


@dataclass(frozen=True)
class Edited:
    """What a change did.

    Attributes:
        generation: its number.
        added: items that were not known.
        replaced: items that were.
        removed: items.
        ignored: columns that the catalogue does not have.
    """

    generation: int
    added: int
    replaced: int
    removed: int
    ignored: tuple[str, ...] = ()


def edit_items(folder: Path, add: Path | None = None, remove: Path | None = None) -> Edited:
    """Change the items of a bundle; all is done, or nothing.

    Args:
        folder: of the bundle, or a link to it.
        add: a table with the columns of the run's catalogue, one row an item; an item that is
            known is replaced.
        remove: a table, or a text file, of ids.

    Raises:
        DataError: a file cannot be read, an id is unknown, or an item has no content.
        ConfigError: neither is given, a column, an encoder or its weights are not here, or a
            condition of ``[recommend]`` cannot be asked any more.
        ArtifactError: the bundle is broken, or its towers cannot be told of new items.
    """
    if add is None and remove is None:
        raise ConfigError("items: give a file of items to add, of ids to remove, or both")
    folder = Path(folder).resolve()
    with locked(folder):
        bundle = Bundle.load(folder)
        base = Recommender.load(folder)
        changes = bundle.changes
        now = base if changes is None else changes.on(base)
        live = live_index_of(now)
        generation = 1 if changes is None else changes.card.generation + 1
        rows, key = None, _key(bundle.config)
        ignored: tuple[str, ...] = ()
        gone: list[str] = []
        if remove is not None:
            gone = read_ids(remove, now.item_ids, key, "item_id")
            live = live.without(now.item_ids.numbers(gone).astype(np.int64))
        if add is not None:
            read = _read_items(add, key, bundle.config, now)
            both = np.intersect1d(read.numbers, now.item_ids.find(gone))
            if len(both):
                twice = str(now.item_ids.ids(both)[0])
                raise DataError(f"item {twice!r} is to be added and removed; leave one of them")
            ignored = read.ignored
            rows, vectors = _place(read, add, bundle, base, generation)
            live = live.put(rows.numbers, vectors, ids_digest=read.item_ids.digest)
        together = _together(changes, rows, base)
        _check_answers(base, live, together)
        write_changes(folder, bundle.card.digest, generation, live, together)
        n = len(now.item_ids)
        added = 0 if rows is None else int((rows.numbers >= n).sum())
        replaced = 0 if rows is None else len(rows.numbers) - added
        return Edited(generation, added, replaced, len(gone), ignored)


@dataclass(frozen=True, eq=False)
class _Read:
    """A file of items: ``m`` rows.

    Attributes:
        ids: as they are told to people.
        numbers: known ones have theirs, the others the next, int64 ``(m,)``.
        item_ids: all ids, the new ones after the others.
        items: the catalogue's columns of the items.
        ignored: columns that are none of those.
    """

    ids: NDArray[Any]
    numbers: NDArray[np.int64]
    item_ids: ItemIds
    items: pd.DataFrame
    ignored: tuple[str, ...]


def _key(config: Config) -> str:
    data = config.data
    return data.item_key or ("item_id" if data.source else data.item)


def _read_items(path: Path, key: str, config: Config, now: Recommender) -> _Read:
    table = read_table([path], delimiter=config.data.delimiter)
    if table.malformed:
        bad = table.malformed[0]
        raise DataError(f"{path}: row {bad.row}: {bad.reason}; nothing was changed")
    attributes = read_attributes(table, key, "item")
    if len(attributes.ids) < table.n_rows:
        raise DataError(f"{path}: a row has no {key!r}; nothing was changed")
    if not len(attributes.ids):
        raise DataError(f"{path}: holds no items; nothing was changed")
    ids = attributes.ids
    numbers = now.item_ids.find(ids).astype(np.int64)
    new = numbers < 0
    numbers[new] = np.arange(len(now.item_ids), len(now.item_ids) + int(new.sum()))
    if new.any():
        _check_columns(path, config, attributes.columns.column_names)
    given = to_frame(attributes.columns)
    ignored = tuple(str(name) for name in given.columns.difference(now.items.columns, sort=False))
    item_ids = now.item_ids.with_more(ids[new].tolist())
    try:
        items = _like(given, now.items, numbers)
    except DataError as error:
        raise DataError(f"{path}: {error}; nothing was changed") from None
    return _Read(ids, numbers, item_ids, items, ignored)


def _numbers(given: pd.Series) -> pd.Series:
    """The cells of a column that is one of numbers, or of flags, in the catalogue."""
    if pd.api.types.is_numeric_dtype(given):
        return given
    numbers = pd.to_numeric(given, errors="coerce")
    wrong = np.flatnonzero(given.notna() & numbers.isna())
    if len(wrong):
        raise DataError(
            f"column {str(given.name)!r} holds {str(given.iloc[wrong[0]])!r}, expected numbers as "
            "in the catalogue"
        )
    return numbers


def _check_columns(path: Path, config: Config, columns: list[str]) -> None:
    for name, content in config.content.items():
        lacking = [column for column in content.columns if column not in columns]
        if lacking:
            raise ConfigError(
                f"{path}: has no column {lacking[0]!r}, which [content.{name}] reads; there are "
                f"{', '.join(columns) or 'none but the ids'}"
            )


def _like(given: pd.DataFrame, catalogue: pd.DataFrame, numbers: NDArray[np.int64]) -> pd.DataFrame:
    """The catalogue's columns as given; where a column is not, known items keep what they have."""
    columns = {}
    for name in catalogue.columns:
        if name not in given.columns:
            columns[name] = catalogue[name].reindex(numbers).reset_index(drop=True)
        elif pd.api.types.is_string_dtype(catalogue[name]) and not pd.api.types.is_string_dtype(
            given[name]
        ):  # titles such as 1984 and 2001 only: text as in the catalogue
            column = given[name]
            columns[name] = column.astype(str).where(column.notna(), None)
        elif pd.api.types.is_numeric_dtype(catalogue[name]):
            columns[name] = _numbers(given[name])
        else:
            columns[name] = given[name]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(numbers)))


def _place(
    read: _Read, path: Path, bundle: Bundle, base: Recommender, generation: int
) -> tuple[ItemRows, Vectors]:
    """Encode the items and put them through the item tower; their rows, and the index's vectors."""
    content, config = bundle.folder / "content", bundle.config
    blocks = load_blocks(content)
    old = np.where(read.numbers < len(base.item_ids), read.numbers, -1)
    encoded = encode_more(
        read.items,
        read.ids.tolist(),
        items_folder=path.resolve().parent,
        before=learnt_catalogue(bundle.folder, config),
        blocks=blocks,
        numbers=old,
        configs=config.content,
        encoders=bundle.card.encoders,
        store=VectorStore(bundle.folder / ENCODERS),
        reductions=content,
    )
    vectors, own = _through_towers(two_towers_of(base).towers, old, encoded, blocks)
    stamps = np.full(len(read.numbers), generation)
    item_ids = read.item_ids.ids(read.numbers)
    return ItemRows(read.numbers, item_ids, stamps, read.items, own, encoded), vectors


def _through_towers(
    towers: TwoTower,
    old: NDArray[np.int64],
    encoded: tuple[ContentBlock, ...],
    blocks: tuple[ContentBlock, ...],
) -> tuple[Vectors, Vectors | None]:
    """Vectors of items ``(m, ...)``: those of the index, and the item tower's own if they differ.

    Who has training rows keeps what was learnt of it; content is the new one.
    """
    if towers.newcomers is None:
        return towers_for(towers, old, encoded).items_alone(), None
    anchors = towers.newcomers.anchors.numpy()  # newcomers are placed by how like these they are
    beside = tuple(
        ContentBlock(
            one.name,
            np.concatenate([one.vectors, block.vectors[anchors]]),
            np.concatenate([one.present, block.present[anchors]]),
        )
        for one, block in zip(encoded, blocks, strict=True)
    )
    others = towers_for(towers, np.concatenate([old, anchors]), beside)
    m = len(old)
    return others.item_vectors()[:m], others.items_alone()[:m]


def _check_answers(base: Recommender, live: LiveIndex, rows: ItemRows) -> None:
    """Refuse what a server would refuse: a price of "soon" where a rule compares prices."""
    new_ids = rows.item_ids[rows.numbers >= len(base.item_ids)].tolist()
    made = with_changes(base, ChangedItems(live, rows.own, new_ids, rows.items))
    try:
        made.recommend(made.user_ids.values[:1], k=1)
    except ConfigError as error:
        raise ConfigError(f"{error}; nothing was changed") from None


def _together(changes: Changes | None, rows: ItemRows | None, base: Recommender) -> ItemRows:
    """All rows of a generation."""
    if changes is not None:
        return changes.rows if rows is None else changes.rows.updated(rows)
    if rows is not None:
        return rows.take(np.argsort(rows.numbers))
    towers = two_towers_of(base).towers
    nothing = np.empty(0, dtype=np.int64)
    own = np.empty((0, towers.config.dim), dtype=np.float32)
    return ItemRows(
        nothing,
        base.item_ids.values[:0],
        nothing,
        base.items.iloc[:0],
        None if towers.newcomers is None else own,
        (),
    )
