"""Which file is the log, the catalogue, the users; which column is what: with the reasons.

Names are believed first. Where they say nothing, values do: times look like times, ratings are a
few numbers, ids repeat; and of two columns of ids the users' is the one that in the order of time
more often follows itself, for a person's actions come in runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.arrow import as_text
from recsys.data.columns import Profile, called, profile
from recsys.data.read import Table
from recsys.data.times import parse_times
from recsys.errors import DataError

__all__ = [
    "LOOK_AT",
    "Choice",
    "Link",
    "LogRoles",
    "Sheet",
    "choose_log",
    "choose_roles",
    "link",
]

LOOK_AT = 300_000  # rows
LEAST_OVERLAP = 0.5  # of the log's ids must be in a table that describes them


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table and what its columns seem to be, by its first rows."""

    table: Table
    columns: dict[str, Any]
    profiles: dict[str, Profile]

    @classmethod
    def of(cls, table: Table) -> "Sheet":
        """Look at a table."""
        head = table.columns.slice(0, LOOK_AT)
        columns = {name: head[name].combine_chunks() for name in head.column_names}
        profiles = {name: profile(name, column) for name, column in columns.items()}
        return cls(table, columns, profiles)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.table.files[0]

    def ids(self, column: str) -> Any:
        """The values of a column as ids, as the reader reads them."""
        return pc.utf8_trim_whitespace(as_text(self.columns[column]))


@dataclass(frozen=True)
class Choice:
    """A column and why it was chosen."""

    column: str
    why: str


@dataclass(frozen=True)
class LogRoles:
    """What the columns of a log are for."""

    user: Choice
    item: Choice
    time: Choice | None
    weight: Choice | None
    split: Choice | None


@dataclass(frozen=True)
class Link:
    """A table that describes the log's users or items, by its key."""

    key: Choice
    overlap: float  # share of the log's ids that it has


def choose_log(sheets: Sequence[Sheet]) -> tuple[int, str]:
    """Return the place of the log among tables, and why it is taken for one."""
    if len(sheets) == 1:
        return 0, "the only table"

    def evidence(sheet: Sheet) -> list[str]:
        profiles = sheet.profiles.values()
        most = max(other.table.n_rows for other in sheets)
        checks = {
            "its name": called(sheet.name, "log"),
            "a column of times": any(p.moments for p in profiles),
            "no column with its own value in each row": not any(p.is_key for p in profiles),
            "columns of users and items": all(
                any(called(name, kind) for name in sheet.profiles) for kind in ("user", "item")
            ),
            "the most rows": sheet.table.n_rows == most,
        }
        return [what for what, holds in checks.items() if holds]

    found = [evidence(sheet) for sheet in sheets]
    best = max(range(len(sheets)), key=lambda n: (len(found[n]), sheets[n].table.n_rows))
    return best, ", ".join(found[best]) or "the first table"


def choose_roles(sheet: Sheet) -> LogRoles:
    """Choose the columns of a log.

    Raises:
        DataError: fewer than two columns can be users and items.
    """
    left = dict(sheet.profiles)

    def take(choice: Choice | None) -> Choice | None:
        if choice is not None:
            del left[choice.column]
        return choice

    split = take(next((Choice(n, "train, test") for n, p in left.items() if p.labels), None))
    time = take(_time(left))
    user, item = take(_by_name(left, "user")), take(_by_name(left, "item"))
    weight = take(_weight_by_name(left))
    if user is None or item is None:
        user, item = _ids_by_values(sheet, left, user, item, time)
        left = {n: p for n, p in left.items() if n not in (user.column, item.column)}
    if time is None:
        time = take(_order(sheet, left, user.column))
    if weight is None:
        weight = _weight_by_values(left)
    return LogRoles(user, item, time, weight, split)


def _time(profiles: dict[str, Profile]) -> Choice | None:
    moments = [p for p in profiles.values() if p.moments]
    if not moments:
        return None
    best = max(moments, key=lambda p: (called(p.name, "time"), not p.numeric, p.distinct))
    return Choice(best.name, f"times, {best.moments}")


def _by_name(profiles: dict[str, Profile], kind: str) -> Choice | None:
    """The column called so; rather one with "id" in its name, and rather one that repeats."""
    named = [
        p
        for p in profiles.values()
        if called(p.name, kind) and p.distinct > 1 and not (p.is_fractional or p.several)
    ]
    if not named:
        return None
    best = max(named, key=lambda p: (p.may_be_id, "id" in p.name.lower(), -len(p.name)))
    return Choice(best.name, f"by its name; {best.distinct:,} different")


def _weight_by_name(profiles: dict[str, Profile]) -> Choice | None:
    for p in profiles.values():
        if p.numeric and p.distinct > 1 and not p.is_key and called(p.name, "weight"):
            return Choice(p.name, f"by its name; {p.low:g} to {p.high:g}")
    return None


def _weight_by_values(profiles: dict[str, Profile]) -> Choice | None:
    for p in profiles.values():
        if p.is_scale and not called(p.name, "time"):
            return Choice(p.name, f"{p.distinct:,} different numbers, {p.low:g} to {p.high:g}")
    return None


def _ids_by_values(
    sheet: Sheet,
    profiles: dict[str, Profile],
    user: Choice | None,
    item: Choice | None,
    time: Choice | None,
) -> tuple[Choice, Choice]:
    """Fill in the users' or the items' column, or both, from columns whose values repeat."""
    ids = [p for p in profiles.values() if p.may_be_id]
    needed = (user is None) + (item is None)
    ids = sorted(ids, key=lambda p: (p.is_scale, -p.distinct))[:needed]
    if len(ids) < needed:
        columns = ", ".join(sheet.profiles)
        raise DataError(
            f"{sheet.name}: cannot tell the columns of users and items among {columns}; "
            "write a config that names them: user = ..., item = ..."
        )
    if len(ids) == 1:
        why = f"repeated values; {ids[0].distinct:,} different"
        only = Choice(ids[0].name, why)
        return (user, only) if user is not None else (only, item or only)
    order = _time_order(sheet, time)
    runs = {p.name: _follows_itself(sheet.ids(p.name), order) for p in ids}
    names = sorted(runs, key=lambda name: -runs[name])
    users, items = (sheet.profiles[name] for name in names)
    why = f"in time order more often the same as before than {items.name!r}"
    return (
        Choice(users.name, f"{why}; {users.distinct:,} different"),
        Choice(items.name, f"repeated values; {items.distinct:,} different"),
    )


def _time_order(sheet: Sheet, time: Choice | None) -> NDArray[np.int64]:
    rows = len(next(iter(sheet.columns.values())))
    if time is None:
        return np.arange(rows)
    return np.argsort(parse_times(sheet.columns[time.column], 2**62).values, kind="stable")


def _follows_itself(ids: Any, order: NDArray[np.int64]) -> float:
    """Share of rows with the value of the row before, less what chance would give."""
    numbers = pc.fill_null(ids, "").dictionary_encode().indices.to_numpy()[order]
    chance = np.sum((np.bincount(numbers) / len(numbers)) ** 2)
    return float(np.mean(numbers[1:] == numbers[:-1]) - chance)


def _order(sheet: Sheet, profiles: dict[str, Profile], user: str) -> Choice | None:
    """A column of integers that counts each user's rows from 0 or 1 on."""
    for p in profiles.values():
        if p.whole and p.low in (0, 1) and p.n == p.rows and p.distinct > 1:
            pairs = pa.table({"user": sheet.ids(user), "place": sheet.ids(p.name)})
            if pairs.group_by(["user", "place"]).aggregate([]).num_rows == p.rows and not p.is_key:
                return Choice(p.name, "counts each user's rows: an order, not moments")
    return None


def link(sheet: Sheet, ids: Any, kind: str, column: str) -> Link | None:
    """See whether a table describes the log's users or items.

    Args:
        sheet: the table.
        ids: the log's ids as text.
        kind: "user" or "item".
        column: what the log calls them.
    """
    wanted = pc.unique(ids)
    best: Link | None = None
    for p in sheet.profiles.values():
        if not p.is_key:
            continue
        overlap = pc.mean(pc.is_in(wanted, sheet.ids(p.name))).as_py()
        same = p.name == column or called(p.name, kind)
        if overlap >= LEAST_OVERLAP and (best is None or (overlap, same) > (best.overlap, False)):
            why = f"one row each, and {overlap:.0%} of the log's {kind}s are in it"
            best = Link(Choice(p.name, why), overlap)
    return best
