"""Prepare a log that memory need not hold: the same data set and split, as arrays on disk.

Three passes over the files: ids and times; rows into pieces by user; and, where any was rejected,
the rejected ones. Then the pieces one by one. Memory is bounded by blocks, pieces and ids.
"""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import DataConfig, SplitConfig
from recsys.data.arrow import first_rows, to_frame
from recsys.data.attributes import Attributes, align, read_attributes
from recsys.data.clean import check_askable
from recsys.data.dataset import Dataset
from recsys.data.dataset_files import LOG, REJECTED, SHOWN
from recsys.data.disk.cut import CAN_CUT, Numbers, cutter, write_arrays
from recsys.data.disk.judge import GROUP_ROWS, Groups, Looked, Reasons, group
from recsys.data.disk.parquet import BLOCK_ROWS, ParquetLog, rows_of_parquet
from recsys.data.disk.rejected import write_rejected
from recsys.data.disk.settle import Kept, settle
from recsys.data.disk.tally import Ids
from recsys.data.ids import ItemIds, UserIds, parse_ids
from recsys.data.mapped import load_log
from recsys.data.sources import read_beside
from recsys.data.splits import Split
from recsys.data.verdicts import Counts, check_enough
from recsys.errors import ConfigError
from recsys.files import remove_folder

__all__ = ["Sizes", "goes_to_disk", "prepare_on_disk"]

FROM_ROWS = 20_000_000  # with storage = "auto"; so many take about 2 GB in memory, several times
WORK = "work"  # the folder of what is removed at the end

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """How many rows are held at a time: the tests take few, so that there are many pieces."""

    block_rows: int = BLOCK_ROWS
    group_rows: int = GROUP_ROWS


def goes_to_disk(data: DataConfig, split: SplitConfig) -> bool:
    """Whether a log is prepared by `prepare_on_disk`.

    Raises:
        ConfigError: it is asked for, but cannot be.
        DataError: a file is missing or damaged.
    """
    if data.storage == "memory" or (data.storage == "auto" and not data.interactions):
        return False
    can = data.source is None and split.protocol in CAN_CUT
    if data.storage == "auto":
        return can and (rows_of_parquet(data.interactions) or 0) > FROM_ROWS
    if data.source is not None or not data.interactions:
        raise ConfigError('data.storage = "disk" needs interactions = FILES, in parquet')
    if not can:
        raise ConfigError(
            f'data.storage = "disk": split.protocol = "{split.protocol}" needs the whole log in '
            f'memory; take one of {", ".join(CAN_CUT)}, or storage = "memory"'
        )
    return True


def prepare_on_disk(
    data: DataConfig,
    split: SplitConfig,
    folder: Path,
    *,
    sizes: Sizes | None = None,
    now: int | None = None,
) -> tuple[Dataset, Split]:
    """Read, check and split a log; write it into ``folder`` and map it.

    Args:
        data: names parquet files and their columns.
        split: the protocol.
        folder: gets what ``Dataset.save`` and ``Split.save`` write, but the log as arrays.
        sizes: how many rows are held at a time.
        now: milliseconds since 1970; by default the clock's.

    Raises:
        DataError: a file, column or id cannot be used, or there is nothing to learn from.
        ConfigError: the protocol, or a file, is none of those that can be read so.
    """
    sizes = sizes or Sizes()
    data, item_table, user_table = read_beside(data)
    log = ParquetLog.open(data.interactions, block_rows=sizes.block_rows)
    check_askable(log.name, log.n_rows, data)
    items = users = None
    if item_table is not None:
        items = read_attributes(item_table, data.item_key or data.item, "item")
    if user_table is not None:
        users = read_attributes(user_table, data.user_key or data.user, "user")
    clock = int(time.time() * 1000) if now is None else now
    work = folder / WORK
    kept = _keep(log, data, work, sizes, clock)
    counts = _count(folder, log, kept)
    known = _known(kept, items, users)
    cut = cutter(kept.groups, kept.left.rows, split)
    weighed = not kept.left.equal_weights
    numbers = _numbers(kept, known)
    write_arrays(kept.groups, numbers, split, cut, (folder / LOG, folder), weighed=weighed)
    remove_folder(work)
    dataset = Dataset(
        known.user_ids,
        known.item_ids,
        load_log(folder / LOG, counts.kept, numbers.n_users, numbers.n_items),
        known.items,
        known.catalogue_rows,
        known.users,
        kept.groups.time_kind,
        to_frame(first_rows(folder / REJECTED, SHOWN)),
        counts,
        (*log.notes, *known.notes),
        items_folder=None if data.items is None else data.items.parent,
    )
    dataset.save_around(folder, mapped=True)
    parts = Split.load(folder, dataset)
    parts.check_parts()
    return dataset, parts


@dataclass(frozen=True, eq=False)
class _Kept:
    """The rows that are kept, their ids, and what became of the others."""

    looked: Looked
    groups: Groups
    left: Kept
    reasons: Reasons


def _keep(log: ParquetLog, data: DataConfig, work: Path, sizes: Sizes, clock: int) -> _Kept:
    """Number, group and settle the rows."""
    used = (data.user, "user"), (data.item, "item"), (data.time, "time"), (data.weight, "weight")
    for column, used_as in used:
        if column is not None:
            log.check_column(column, used_as)
    looked = Looked.at(log, data)
    logger.info(
        "prepare: %s rows, %s users, %s items",
        *(f"{n:,}" for n in (log.n_rows, len(looked.users), len(looked.items))),
    )
    while True:
        reasons = Reasons(work / "rejected", sizes.block_rows)
        groups = group(
            log, data, looked, reasons, work / "rows", group_rows=sizes.group_rows, now=clock
        )
        left = settle(groups, data, reasons, len(looked.users), len(looked.items))
        users = looked.users.left(left.users > 0)
        if users is None:
            return _Kept(looked, groups, left, reasons)
        # Without those that went, the ids are all integers: their order is another one.
        looked = replace(looked, users=users)
        remove_folder(work)


def _count(folder: Path, log: ParquetLog, kept: _Kept) -> Counts:
    """Write the rejected rows; refuse a log of which nothing is left."""
    rejected = write_rejected(folder / REJECTED, log, kept.reasons)
    counts = Counts(log.n_rows, kept.left.rows, rejected)
    distinct = (int((kept.left.users > 0).sum()), int((kept.left.items > 0).sum()))
    check_enough(log.name, counts, distinct, to_frame(first_rows(folder / REJECTED, 1)))
    return counts


@dataclass(frozen=True, eq=False)
class _Known:
    """The ids of a data set and what is known of them, see `Dataset`."""

    user_ids: UserIds
    item_ids: ItemIds
    items: pd.DataFrame
    catalogue_rows: NDArray[np.int64]
    users: pd.DataFrame
    notes: tuple[str, ...]


def _known(kept: _Kept, items: Attributes | None, users: Attributes | None) -> _Known:
    user_ids = UserIds.of(_left(kept.looked.users, kept.left.users))
    logged = _left(kept.looked.items, kept.left.items)
    item_ids = ItemIds.of(logged) if items is None else ItemIds.of(logged, items.ids)
    item_frame, catalogue_rows, item_notes = align(items, item_ids, len(logged))
    user_frame, _, user_notes = align(users, user_ids, len(user_ids))
    notes = (*item_notes, *user_notes)
    return _Known(user_ids, item_ids, item_frame, catalogue_rows, user_frame, notes)


def _left(ids: Ids, counts: NDArray[np.int64]) -> NDArray[Any]:
    """The ids that have rows, int64 or text."""
    return parse_ids(pd.Series(ids.values[counts > 0]))


def _numbers(kept: _Kept, known: _Known) -> Numbers:
    """The numbers that the data set gives to those of the first pass."""
    return Numbers(
        known.user_ids.find(kept.looked.users.values),
        known.item_ids.find(kept.looked.items.values),
        len(known.user_ids),
        len(known.item_ids),
    )
