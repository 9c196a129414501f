"""What changed in a bundle since it was made: ``BUNDLE/changes/000001``, ``000002``, ...

Each generation says all that changed, so that one folder is read: the newest. It appears by a
rename when it is whole; the one before it stays for whoever is reading it, older ones go.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.content.encoder import ContentBlock
from recsys.content.saved import load_blocks, save_blocks
from recsys.data.arrow import from_frame, read_parquet, to_frame, write_parquet
from recsys.errors import ArtifactError
from recsys.files import (
    FileFacts,
    atomic_folder,
    digest_json,
    read_json,
    remove_folder,
    write_json,
)
from recsys.index.live import LiveIndex
from recsys.index.vectors import Vectors
from recsys.recommenders.changed import ChangedItems, with_changes
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.serving.described import check_files, describe_files, digest_of

__all__ = ["Changes", "ItemRows", "newest", "read_newest_card", "write_changes"]

FOLDER, CARD = "changes", "changes.json"
ITEMS, OWN, INDEX, CONTENT = "items.parquet", "own.npy", "index", "content"
KEYS = ("number", "item_id", "generation")  # columns before those of the catalogue
AGAIN = "make the change again (`recsys items`)"


class ChangesCard(BaseModel):
    """What a generation says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    generation: int
    made: str  # when, UTC
    base: str  # digest of the bundle that changed
    digest: str  # of bundle and changes: what answers
    added: int  # items
    replaced: int
    removed: int
    files: dict[str, FileFacts]


class ItemRows(NamedTuple):
    """Items that were added or changed, ``m`` rows by ascending number.

    Attributes:
        numbers: int64 ``(m,)``.
        item_ids: ``(m,)``.
        generations: in which each changed last, int64 ``(m,)``.
        items: columns of the catalogue.
        own: where the item tower itself puts them, ``(m, d)``; None where the index says so.
        blocks: their content.
    """

    numbers: NDArray[np.int64]
    item_ids: NDArray[Any]
    generations: NDArray[np.int64]
    items: pd.DataFrame
    own: Vectors | None
    blocks: tuple[ContentBlock, ...]

    def take(self, which: NDArray[Any]) -> "ItemRows":
        """Some of the rows, by a mask or places."""
        return ItemRows(
            self.numbers[which],
            self.item_ids[which],
            self.generations[which],
            self.items.iloc[np.flatnonzero(which) if which.dtype == np.bool_ else which],
            None if self.own is None else self.own[which],
            tuple(ContentBlock(b.name, b.vectors[which], b.present[which]) for b in self.blocks),
        )

    def updated(self, by: "ItemRows") -> "ItemRows":
        """These rows and newer ones, which take the place of rows of the same number."""
        kept = self.take(~np.isin(self.numbers, by.numbers))
        if not len(kept.numbers):  # nor are there blocks, maybe
            return by.take(np.argsort(by.numbers))
        own = None
        if kept.own is not None and by.own is not None:
            own = np.concatenate([kept.own, by.own])
        both = ItemRows(
            np.concatenate([kept.numbers, by.numbers]),
            np.concatenate([kept.item_ids, by.item_ids]),
            np.concatenate([kept.generations, by.generations]),
            pd.concat([kept.items, by.items], ignore_index=True),
            own,
            tuple(map(_below, kept.blocks, by.blocks)),
        )
        return both.take(np.argsort(both.numbers))


@dataclass(frozen=True, eq=False)
class Changes:
    """A whole and checked generation.

    Attributes:
        folder: where it lies.
        card: what it says about itself.
        rows: the items that were added or changed.
    """

    folder: Path
    card: ChangesCard
    rows: ItemRows

    @classmethod
    def load(cls, folder: Path, base: str) -> Self:
        """Read a generation.

        Args:
            folder: of it.
            base: digest of the bundle that it must belong to.

        Raises:
            ArtifactError: a file is missing or damaged, or it is of another bundle.
        """
        card = _read_card(folder)
        if card.base != base:
            raise ArtifactError(
                f"{folder}: changes of bundle {card.base[:12]}, this is {base[:12]}; {AGAIN}"
            )
        check_files(folder, card.files, CARD, AGAIN)
        if card.digest != _digest(base, card.files):
            raise ArtifactError(f"{folder / CARD}: was altered; {AGAIN}")
        table = read_parquet(folder / ITEMS)
        numbers, item_ids, generations = (c.to_numpy() for c in table.columns[: len(KEYS)])
        items = to_frame(table.select(list(range(len(KEYS), table.num_columns))))
        if not items.shape[1]:
            items = pd.DataFrame(index=pd.RangeIndex(len(numbers)))
        own = np.load(folder / OWN, allow_pickle=False) if OWN in card.files else None
        blocks = load_blocks(folder / CONTENT)
        return cls(folder, card, ItemRows(numbers, item_ids, generations, items, own, blocks))

    def on(self, base: Recommender) -> Recommender:
        """What the bundle's recommender becomes by the changes; towers and index are shared.

        Raises:
            ArtifactError: the changes are of another index.
        """
        if not isinstance(base.ranker, TwoTowerRanker):
            raise ArtifactError(f"{self.folder}: changes of two towers, not {base.ranker.name}")
        new_ids = self.rows.item_ids[self.rows.numbers >= len(base.item_ids)].tolist()
        digest = base.item_ids.with_more(new_ids).digest
        index = LiveIndex.load(self.folder / INDEX, base.ranker.index, ids_digest=digest)
        return with_changes(base, ChangedItems(index, self.rows.own, new_ids, self.rows.items))


def write_changes(
    bundle: Path, base: str, generation: int, index: LiveIndex, rows: ItemRows
) -> Path:
    """Write a generation beside the others of a bundle; it appears when it is whole.

    The caller holds the bundle's lock.
    """
    folder = bundle / FOLDER / f"{generation:06d}"
    n_base = len(index.base)
    with atomic_folder(folder) as partial:
        index.save(partial / INDEX)
        keys = [pa.array(column) for column in (rows.numbers, rows.item_ids, rows.generations)]
        table = from_frame(rows.items)
        names = [*KEYS, *table.column_names]
        write_parquet(partial / ITEMS, pa.table(keys + table.columns, names=names))
        if rows.own is not None:
            np.save(partial / OWN, rows.own, allow_pickle=False)
        save_blocks(rows.blocks, partial / CONTENT)
        files = describe_files(partial)
        card = ChangesCard(
            generation=generation,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            base=base,
            digest=_digest(base, files),
            added=int((rows.numbers >= n_base).sum()),
            replaced=int((rows.numbers < n_base).sum()),
            removed=len(index.removed),
            files=files,
        )
        write_json(partial / CARD, card.model_dump(mode="json"))
    for number, old in _generations(bundle):
        if number < generation - 1:
            remove_folder(old)
    return folder


def newest(bundle: Path) -> Path | None:
    """The folder of a bundle's newest generation, if anything changed."""
    return max(_generations(bundle), default=(0, None))[1]


def read_newest_card(bundle: Path) -> ChangesCard | None:
    """What the newest generation says about itself; nothing else is looked at.

    Raises:
        ArtifactError: it has no card, or not one of ours.
    """
    folder = newest(bundle)
    return None if folder is None else _read_card(folder)


def _generations(bundle: Path) -> Sequence[tuple[int, Path]]:
    folder = bundle / FOLDER
    inside = folder.iterdir() if folder.is_dir() else ()
    return [(int(path.name), path) for path in inside if re.fullmatch(r"\d{6}", path.name)]


def _read_card(folder: Path) -> ChangesCard:
    try:
        return ChangesCard.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{folder / CARD}: {where}: {first['msg']}; {AGAIN}") from None


def _digest(base: str, files: dict[str, FileFacts]) -> str:
    return digest_json([base, digest_of(files)])


def _below(one: ContentBlock, other: ContentBlock) -> ContentBlock:
    return ContentBlock(
        one.name,
        np.concatenate([one.vectors, other.vectors]),
        np.concatenate([one.present, other.present]),
    )
