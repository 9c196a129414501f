"""ROWS by user -> the rows that stay: duplicates, the threshold, users and items with too few."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.config import DataConfig
from recsys.data.disk.judge import Groups, Reasons
from recsys.data.disk.pieces import in_order, order_of
from recsys.data.verdicts import DUPLICATE, too_few, too_light

__all__ = ["Kept", "by_user_and_time", "settle"]

Gone = list[tuple[str, NDArray[np.int64]]]  # reasons, and the rows that go for them


@dataclass(frozen=True, eq=False)
class Kept:
    """What is left of a log.

    Attributes:
        users: how many rows each user has, int64 ``(n,)``.
        items: how many each item has, int64 ``(n,)``.
        equal_weights: whether all weights are 1.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    equal_weights: bool

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.users.sum())


def settle(
    groups: Groups, config: DataConfig, reasons: Reasons, n_users: int, n_items: int
) -> Kept:
    """Leave the rows that are learnt from in the groups' pieces, by user, time and row.

    Args:
        groups: changed in place.
        config: the rule for duplicates, the threshold and the cores.
        reasons: takes the rows that go.
        n_users: that rows have numbers of.
        n_items: likewise.
    """

    def work(number: int) -> tuple[NDArray[Any], Gone]:
        return _settle(groups.pieces.get(number), config, n_items)

    users, items = np.zeros(n_users, np.int64), np.zeros(n_items, np.int64)
    equal = True
    for number, (rows, gone) in enumerate(in_order(work, range(len(groups)))):
        groups.pieces.put(number, rows)
        for reason, which in gone:
            reasons.add(reason, which)
        _count(rows, users, items)
        equal = equal and (not groups.weighed or bool((rows["weight"] == 1).all()))
    while _cut(groups, config, reasons, users, items):
        pass
    return Kept(users, items, equal)


def _count(rows: NDArray[Any], users: NDArray[np.int64], items: NDArray[np.int64]) -> None:
    if not len(rows):
        return
    first = int(rows["user"].min())
    counts = np.bincount(rows["user"] - first)
    users[first : first + len(counts)] += counts
    items += np.bincount(rows["item"], minlength=len(items))


def by_user_and_time(rows: NDArray[Any]) -> NDArray[np.int64]:
    """The stable order of rows by user, then time, ``(n,)``."""
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    users = rows["user"].astype(np.int64) - int(rows["user"].min())
    least, most = int(rows["time"].min()), int(rows["time"].max())
    if (most - least + 1) * (int(users.max()) + 1) < 2**63:  # both in one number
        return order_of(users * (most - least + 1) + (rows["time"] - least))
    return np.lexsort((rows["time"], users))


def _settle(rows: NDArray[Any], config: DataConfig, n_items: int) -> tuple[NDArray[Any], Gone]:
    """The rows of a group that stay before anything is counted, and the others."""
    rows = rows.take(by_user_and_time(rows))
    if not len(rows):
        return rows, []
    rows, gone = _one_of_each(rows, config.duplicates, n_items)
    if config.positive_from is not None:
        light = rows["weight"] < config.positive_from
        gone.append((too_light(config.positive_from), rows["row"][light]))
        rows = rows.compress(~light)
    return rows, gone


def _one_of_each(
    rows: NDArray[Any], rule: Literal["last", "first", "sum"], n_items: int
) -> tuple[NDArray[Any], Gone]:
    """One row of each user and item, with the weights of all under "sum"."""
    pairs = (rows["user"].astype(np.int64) - int(rows["user"].min())) * n_items + rows["item"]
    order = order_of(pairs)
    ordered = pairs[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    if len(starts) == len(rows):
        return rows, []
    ends = np.append(starts[1:], len(rows)) - 1
    if rule == "sum" and "weight" in (rows.dtype.names or ()):
        rows["weight"][order[ends]] = np.add.reduceat(rows["weight"][order], starts)
    kept = np.zeros(len(rows), dtype=np.bool_)
    kept[order[starts if rule == "first" else ends]] = True
    return rows.compress(kept), [(DUPLICATE, rows["row"][~kept])]


def _cut(
    groups: Groups,
    config: DataConfig,
    reasons: Reasons,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> bool:
    """Cut users, then items with too few rows, once; return whether there were any."""
    few_users, few_items = users < config.user_core, items < config.item_core
    few_users &= users > 0
    found = bool(few_users.any())
    if found:
        _reject(groups, "user", few_users, too_few("user", config.user_core), reasons, users, items)
        few_items = items < config.item_core
    few_items &= items > 0
    if few_items.any():
        found = True
        _reject(groups, "item", few_items, too_few("item", config.item_core), reasons, users, items)
    return found


def _reject(
    groups: Groups,
    kind: Literal["user", "item"],
    few: NDArray[np.bool_],
    reason: str,
    reasons: Reasons,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> None:
    """Take the rows of those users or items out of all groups."""
    for number in range(len(groups)):
        rows = groups.pieces.get(number)
        out = few[rows[kind]]
        if not out.any():
            continue
        reasons.add(reason, rows["row"][out])
        users -= np.bincount(rows["user"][out], minlength=len(users))
        items -= np.bincount(rows["item"][out], minlength=len(items))
        groups.pieces.put(number, rows.compress(~out))
