"""Groupings: who or what of a task belongs together. Over them `recsys.evaluation.slices` measures.

A grouping is of users (all that is asked of them) or of held-out rows (by what is known of the
item). Numbers are cut at quartiles; a cell of several labels puts its row into several groups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.content.columns import labels, number_rows
from recsys.content.encoder import ContentBlock
from recsys.data.dataset import Dataset
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.errors import ConfigError, DataError

__all__ = [
    "Grouping",
    "Unit",
    "check_columns",
    "column_grouping",
    "default_groupings",
    "users_of_units",
]

Unit = Literal["users", "rows"]

FEWEST_USERS = 10  # a group of fewer is not shown
MOST_GROUPS = 20  # of one grouping; the largest are shown
FEW_VALUES = 10  # a column of so few distinct numbers holds codes, not amounts
READABLE = 0.9  # of a text column's cells are dates or numbers: then it is one of these


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which units belong to which groups.

    Attributes:
        name: such as ``"history length"`` or ``"items.genres"``.
        unit: what is grouped: the ``u`` users of the task, or its ``t`` held-out rows.
        labels: the groups' names, ``g`` of them.
        codes: the group numbers of each unit, ``u`` or ``t`` rows; none where nothing is known.
        left_out: groups that are not among the labels: too few users, or too many groups.
    """

    name: str
    unit: Unit
    labels: tuple[str, ...]
    codes: Ragged
    left_out: int = 0

    @classmethod
    def whole(cls, unit: Unit, task: Task) -> "Grouping":
        """All units of a task in one group."""
        n = len(users_of_units(task, unit))
        return cls("all", unit, ("",), Ragged(np.arange(n + 1), np.zeros(n, dtype=np.int32)))


def default_groupings(
    task: Task, learnt: NDArray[np.int64], blocks: Sequence[ContentBlock] = ()
) -> list[Grouping]:
    """Group by popularity, history length, whether items are new, and missing content.

    - popularity decile: an item with c > 0 training rows is in decile ``ceil(10 F(c))``, where F is
      the share of such items with at most c rows: 10 holds the most popular; equals share theirs;
    - item: "known" with training rows, "new" without;
    - history length: quartiles of the users by the rows in their history;
    - content NAME: whether the item has it; left out where all or no rows do.

    Args:
        task: who is asked, and the held-out rows.
        learnt: training rows of each item, ``(n_items,)``.
        blocks: content of ``n_items`` items each.
    """
    items = task.truth.items
    lengths = task.history.user_counts()[task.users]
    counts = learnt[items].astype(np.float64)
    known = np.sort(learnt[learnt > 0])
    share = np.searchsorted(known, counts, side="right") / max(len(known), 1)
    decile = np.where(counts > 0, np.ceil(10 * share), np.nan)
    found = [
        _of_bins(task, "popularity decile", "rows", decile, counts, "in training"),
        _of_codes(task, "item", "rows", ["known", "new"], (counts == 0).astype(np.int64)),
        _by_quartiles(task, "history length", "users", lengths.astype(np.float64)),
    ]
    for block in blocks:
        lacks = (~block.present[items]).astype(np.int64)
        found.append(_of_codes(task, f"content {block.name}", "rows", ["there", "missing"], lacks))
    return [grouping for grouping in found if len(grouping.labels) > 1]


def column_grouping(name: str, dataset: Dataset, task: Task) -> Grouping:
    """Group by a column of the users' file or of the catalogue.

    Amounts and dates are cut at quartiles; labels, and numbers of at most ten distinct values, are
    groups of their own. Groups with fewer than ten users are left out, and all but the 20 largest.

    Args:
        name: ``"users.COLUMN"`` or ``"items.COLUMN"``.
        dataset: whose columns they are.
        task: of this data set.

    Raises:
        ConfigError: there is no such column.
    """
    check_columns([name], dataset)
    of, _, column = name.partition(".")
    unit: Unit = "users" if of == "users" else "rows"
    frame = (dataset.users if of == "users" else dataset.items)[[column]]
    places = task.users if of == "users" else task.truth.items
    numbers = _numbers(frame)
    if numbers is not None:
        return _by_quartiles(task, name, unit, numbers[places])
    carried = labels(frame)
    values, codes = np.unique([label for cell in carried for label in cell], return_inverse=True)
    ends = np.cumsum([0, *map(len, carried)], dtype=np.int64)
    rows = Ragged(ends, codes.astype(np.int32)).take(places)
    return _shown(task, name, unit, [str(value) for value in values], rows)


def check_columns(names: Iterable[str], dataset: Dataset, categories: str | None = None) -> None:
    """Refuse an evaluation by columns that are not there.

    Args:
        names: ``evaluation.slices``.
        dataset: that has the columns.
        categories: ``evaluation.categories``.

    Raises:
        ConfigError: a name is not ``users.COLUMN`` or ``items.COLUMN`` of this data set, or the
            categories are no column of its catalogue.
    """
    if categories is not None and categories not in dataset.items.columns:
        there = ", ".join(map(str, dataset.items.columns)) or "none"
        raise ConfigError(
            f"evaluation.categories: the catalogue has no column {categories!r}; it has: {there}"
        )
    for name in names:
        of, _, column = name.partition(".")
        frame = {"users": dataset.users, "items": dataset.items}.get(of)
        if frame is None or column not in frame.columns:
            known = [f"users.{c}" for c in dataset.users] + [f"items.{c}" for c in dataset.items]
            raise ConfigError(
                f"evaluation.slices: {name!r} is no column; known: {', '.join(known) or 'none'}"
            )


def users_of_units(task: Task, unit: Unit) -> NDArray[np.int64]:
    """The place in ``task.users`` of each unit's user, ``(u,)`` or ``(t,)``."""
    if unit == "users":
        return np.arange(len(task.users))
    return np.searchsorted(task.users, task.truth.users)


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64] | None:
    """A column of amounts or dates (in years), NaN where missing; None where it holds labels."""
    cells = frame.iloc[:, 0]
    measured = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    moment = pd.api.types.is_datetime64_any_dtype(cells)
    if not (measured or moment or pd.api.types.is_string_dtype(cells.dropna())):
        return None
    try:
        numbers = np.array(number_rows(frame), dtype=np.float64)[:, 0]
    except DataError:
        return None
    read = np.isfinite(numbers)
    if read.sum() < READABLE * cells.notna().sum() or len(np.unique(numbers[read])) <= FEW_VALUES:
        return None
    return numbers


def _by_quartiles(task: Task, name: str, unit: Unit, values: NDArray[np.float64]) -> Grouping:
    """Quarters of the units that have a value; equal values share theirs."""
    there = np.sort(values[np.isfinite(values)])
    if not len(there):
        return Grouping(name, unit, (), Ragged(np.zeros(len(values) + 1, np.int64), _NONE))
    edges = np.quantile(there, [0.25, 0.5, 0.75], method="inverted_cdf")
    quarter = np.searchsorted(edges, values, side="left") + 1.0  # NaN sorts last
    return _of_bins(task, name, unit, np.where(np.isfinite(values), quarter, np.nan), values, "")


def _of_bins(
    task: Task,
    name: str,
    unit: Unit,
    bins: NDArray[np.float64],
    values: NDArray[np.float64],
    what: str,
) -> Grouping:
    """Groups of numbered bins, NaN for none, labelled by the smallest and largest value."""
    found = np.unique(bins[np.isfinite(bins)])
    names = []
    for number in found:
        inside = values[bins == number]
        low, high = f"{inside.min():.6g}", f"{inside.max():.6g}"
        span = low if low == high else f"{low} to {high}"
        names.append(f"{number:.0f} ({span} {what})" if what else span)
    codes = np.where(np.isfinite(bins), np.searchsorted(found, bins), -1)
    return _of_codes(task, name, unit, names, codes)


def _of_codes(
    task: Task, name: str, unit: Unit, names: Sequence[str], codes: NDArray[np.int64]
) -> Grouping:
    """Groups of which each unit has at most one: -1 is none."""
    there = codes >= 0
    ends = np.concatenate([[0], np.cumsum(there, dtype=np.int64)])
    return _shown(task, name, unit, names, Ragged(ends, codes[there].astype(np.int32)))


def _shown(task: Task, name: str, unit: Unit, names: Sequence[str], codes: Ragged) -> Grouping:
    """Keep the groups with enough users, the largest of them if there are many, in their order."""
    users = users_of_units(task, unit)[codes.row_numbers]
    pairs = np.unique(codes.values.astype(np.int64) * len(task.users) + users)
    counts = np.bincount(pairs // max(len(task.users), 1), minlength=len(names))
    enough = np.flatnonzero(counts >= FEWEST_USERS)
    kept = np.sort(enough[np.argsort(-counts[enough], kind="stable")[:MOST_GROUPS]])
    place = np.full(len(names), -1, dtype=np.int32)
    place[kept] = np.arange(len(kept))
    there = place[codes.values] >= 0
    lengths = np.bincount(codes.row_numbers[there], minlength=len(codes))
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    left_out = int((counts > 0).sum()) - len(kept)
    labels_kept = tuple(names[group] for group in kept)
    return Grouping(name, unit, labels_kept, Ragged(ends, place[codes.values[there]]), left_out)


_NONE: NDArray[Any] = np.zeros(0, dtype=np.int32)
