"""Is a log fit to learn from? Counts, and what they mean, in plain words."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.dataset import Dataset
from recsys.data.wording import counted

__all__ = ["FitnessReport", "check_fitness"]

FEW = 5  # interactions: with fewer, little is learnt of a user or an item
TIMES = {
    "order": "an order within each user, no moments: no split by global time",
    "row": "no time column: rows count as oldest first",
}


@dataclass(frozen=True)
class FitnessReport:
    """What `check_fitness` found; plain values, shares in [0, 1].

    Attributes:
        generated: whether a generator made the data.
        read: rows of the log.
        kept: rows after cleaning, in which all below is counted.
        rejected: reason -> rows.
        examples: reason -> where the first such row is.
        users: users with rows.
        items: items with rows; ``new_items`` are those that only the catalogue knows.
        density: share of all pairs of user and item that are in the log.
        times: their span, or what stands for them.
        equal_times: share of rows whose user has another row at that time.
        per_user: rows of a user (least, median, most); ``per_item`` likewise.
        users_below_2: users with one row, of whom nothing can be held out.
        users_below_5: users with fewer than 5 rows; ``items_below_5`` likewise.
        items_below_2: items with one row.
        items_without_catalogue: items of the log that the catalogue lacks; None without one.
        notes: what the reader noted.
        verdict: one line each, that begin with fit, thin or not fit.
    """

    generated: bool
    read: int
    kept: int
    rejected: dict[str, int]
    examples: dict[str, str]
    users: int
    items: int
    new_items: int
    density: float
    times: str
    equal_times: float
    per_user: tuple[int, float, int]
    per_item: tuple[int, float, int]
    users_below_2: int
    users_below_5: int
    items_below_2: int
    items_below_5: int
    items_without_catalogue: int | None
    notes: tuple[str, ...]
    verdict: tuple[str, ...]

    @property
    def is_fit(self) -> bool:
        """Whether nothing speaks against learning from the log."""
        return not any(line.startswith("not fit") for line in self.verdict)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values for json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for a terminal."""
        lines = ["These data were made by a generator."] if self.generated else []
        rejected = self.read - self.kept
        lines += [f"rows          {self.read:,} read = {self.kept:,} kept + {rejected:,} rejected"]
        for reason, n in self.rejected.items():
            first = f", first: {self.examples[reason]}" if reason in self.examples else ""
            lines.append(f"  rejected    {n:,} {reason}{first}")
        shared = f"; {self.equal_times:.0%} of the rows share theirs with another of the same user"
        shared = shared if self.equal_times else ""
        users = f"{self.users_below_2:,} with one, {self.users_below_5:,} with fewer than {FEW}"
        items = f"{self.items_below_2:,} with one, {self.items_below_5:,} with fewer than {FEW}"
        lines += [
            f"users         {self.users:,}; rows each {_spread(self.per_user)}; {users}",
            f"items         {self.items:,}; rows each {_spread(self.per_item)}; {items}",
            f"density       {self.density:.3%} of all pairs",
            f"times         {self.times}{shared}",
        ]
        if self.items_without_catalogue is not None:
            lines.append(
                f"catalogue     lacks {counted(self.items_without_catalogue, 'item')} of the log, "
                f"has {self.new_items:,} that the log lacks"
            )
        lines += [f"note          {note}" for note in self.notes]
        return [*lines, *self.verdict]


def _spread(numbers: tuple[int, float, int]) -> str:
    least, median, most = numbers
    return f"{least:,} to {most:,}, median {median:g}"


def check_fitness(dataset: Dataset) -> FitnessReport:
    """Count what decides whether a recommender can learn from a data set."""
    log = dataset.log
    user_counts = np.bincount(log.users, minlength=log.n_users)
    all_counts = log.item_counts()
    item_counts = all_counts[all_counts > 0]
    has_catalogue = dataset.items.shape[1] > 0
    lacking = int((dataset.catalogue_rows < 0).sum()) if has_catalogue else None
    first = dataset.rejected.drop_duplicates("reason")
    places = first["file"] + " row " + first["row"].astype(str)
    report = FitnessReport(
        generated=dataset.generated,
        read=dataset.counts.read,
        kept=dataset.counts.kept,
        rejected=dataset.counts.rejected,
        examples=dict(zip(first["reason"].tolist(), places.tolist(), strict=True)),
        users=log.n_users,
        items=len(item_counts),
        new_items=len(all_counts) - len(item_counts),
        density=len(log) / (log.n_users * len(item_counts)),
        times=_times(dataset),
        equal_times=_equal_times(log.users, log.times),
        per_user=_quantiles(user_counts),
        per_item=_quantiles(item_counts),
        users_below_2=int((user_counts < 2).sum()),
        users_below_5=int((user_counts < FEW).sum()),
        items_below_2=int((item_counts < 2).sum()),
        items_below_5=int((item_counts < FEW).sum()),
        items_without_catalogue=lacking,
        notes=dataset.notes,
        verdict=(),
    )
    return replace(report, verdict=_verdict(report))


def _quantiles(counts: NDArray[np.int64]) -> tuple[int, float, int]:
    return int(counts.min()), float(np.median(counts)), int(counts.max())


def _times(dataset: Dataset) -> str:
    if dataset.time_kind != "timestamp":
        return TIMES[dataset.time_kind]
    moments = np.array([dataset.log.times.min(), dataset.log.times.max()], "datetime64[ms]")
    first, last = moments.astype("datetime64[D]")
    return f"{first} to {last}, {counted(int((last - first).astype(int)), 'day')}"


def _equal_times(users: NDArray[np.int32], times: NDArray[np.int64]) -> float:
    return float(pd.DataFrame({"user": users, "time": times}).duplicated(keep=False).mean())


def _verdict(report: FitnessReport) -> tuple[str, ...]:
    """A line for each rule that speaks against the log, or one that says that none does."""
    wanted = ("weight below", "duplicate", "user with fewer", "item with fewer")  # cut on purpose
    broken = sum(n for reason, n in report.rejected.items() if not reason.startswith(wanted))
    lacking = report.items_without_catalogue or 0
    rules = (
        (
            report.users - report.users_below_2 < 2,
            "not fit: fewer than 2 users have 2 rows; nothing can be held out to test",
        ),
        (
            report.kept < 1_000,
            f"thin: {counted(report.kept, 'row')}; expect little more than popularity and content",
        ),
        (
            report.per_user[1] < FEW,
            f"thin: half of the users have {report.per_user[1]:g} rows or fewer to be known by",
        ),
        (
            2 * report.items_below_5 > report.items,
            f"thin: {report.items_below_5 / report.items:.0%} of the items have fewer than {FEW} "
            "rows; give them content, or cut with item_core",
        ),
        (
            report.equal_times > 0.3,
            f"thin: {report.equal_times:.0%} of the rows share their time with another of the same "
            "user; their order is by rule, not by time",
        ),
        (
            broken > 0.05 * report.read,
            f"thin: {broken / report.read:.0%} of the rows are broken; see rejected.parquet",
        ),
        (
            10 * lacking > report.items,
            f"thin: the catalogue lacks {lacking / report.items:.0%} of the log's items",
        ),
    )
    against = tuple(line for holds, line in rules if holds)
    return against or ("fit: enough rows of enough users and items",)
