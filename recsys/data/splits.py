"""Splits: which rows are learnt from, which choose, which test. A split is a partition.

split(dataset, "user-time")   ->  Split   every row of the log in exactly one part
split.learnable(refit=...)    ->  the rows to fit on
split.task("test")            ->  Task    who is asked, what would have been right
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.config import Protocol
from recsys.data import protocols
from recsys.data.arrow import read_parquet, write_parquet
from recsys.data.blocks import count
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.mapped import load_array, load_log
from recsys.data.moments import check_moments
from recsys.data.parts import NAMES, Part, Parts, learnable, parts_named, ties_of
from recsys.data.stored_parts import StoredParts
from recsys.data.tasks import Task
from recsys.data.times import TimeKind
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json, write_json

__all__ = ["ABOUT", "MAPPED", "PARTS", "ROWS", "Split", "Task", "split"]

ROWS, ABOUT = "split.parquet", "split.json"  # the files of a saved split
MAPPED, PARTS = "split", "parts.npy"  # of one on disk: a folder, and a file in it


@dataclass(frozen=True, eq=False)
class Split:
    """A log and the part that each of its rows plays under a protocol.

    Attributes:
        protocol: how the log was cut.
        log: all rows by user and time; equal times by row of the file for ``"leave-last-out"``, by
            item number otherwise.
        parts: the `Part` of each row, int8 ``(n,)``.
        item_parts: for ``"cold-items"`` the part each item was drawn for, else all
            ``Part.TRAIN``; int8 ``(n_items,)``.
        time_kind: what ``log.times`` are.
        stored: the parts, where they lie on disk.
    """

    protocol: Protocol
    log: Interactions
    parts: Parts
    item_parts: Parts
    time_kind: TimeKind = "timestamp"
    stored: StoredParts | None = None

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.log) or len(self.item_parts) != self.log.n_items:
            raise DataError(
                f"split: {len(self.parts)} parts for {len(self.log)} rows, "
                f"{len(self.item_parts)} for {self.log.n_items} items"
            )

    def __repr__(self) -> str:
        counts = zip(NAMES, count(self.parts, len(Part)), strict=True)
        named = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts if n)
        return f"Split({self.protocol}: {named})"

    def check_parts(self) -> None:
        """Refuse a split of which no row would train, or none would test.

        Raises:
            DataError: it is one.
        """
        if not len(self.train) or not len(self.test):
            raise DataError(
                f"{self!r} of {len(self.log):,} rows: at least one must train and one test; "
                "use another protocol or fraction"
            )

    @property
    def train(self) -> Interactions:
        """The rows to learn from."""
        return self._rows(Part.TRAIN)

    @property
    def validation(self) -> Interactions:
        """The rows that choose epochs and settings."""
        return self._rows(Part.VALIDATION)

    @property
    def test(self) -> Interactions:
        """The rows for the table."""
        return self._rows(Part.TEST)

    @property
    def history(self) -> Interactions:
        """Cold users only: their rows that are given when they are asked, and not learnt from."""
        return self._rows(Part.VALIDATION_HISTORY, Part.TEST_HISTORY)

    @property
    def trained_items(self) -> NDArray[np.bool_]:
        """Items with training rows, ``(n_items,)``: what may be fitted, is fitted on these."""
        return self.train.item_counts() > 0

    @property
    def trained_users(self) -> NDArray[np.bool_]:
        """Users with training rows, ``(n_users,)``: what may be fitted, is fitted on these."""
        return self.train.user_counts() > 0

    def learnable(self, *, refit: bool) -> Interactions:
        """The rows to fit on: training, and with ``refit`` all that validation held back."""
        return self._rows(*learnable(refit=refit))

    def task(
        self,
        part: Literal["validation", "test"],
        *,
        candidates: Literal["train", "catalogue"] = "train",
        most_users: int | None = None,
    ) -> Task:
        """What is asked of a recommender that learnt from all rows before this part.

        Before the validation part lie the training rows, before the test part those of validation
        too. With ``candidates="train"`` the items of these rows may be recommended
        (``"leave-last-out"``: all items of the log; ``"cold-items"``: the items drawn for this
        part), and held-out rows of other items, or of users without history, are dropped.
        ``"catalogue"`` allows every item and drops neither. An item that the user already has is
        no truth in either case.

        Args:
            part: what is held out.
            candidates: what may be recommended.
            most_users: ask no more than so many of the users with rows in this part, at even
                distances in the order of their numbers; only their rows are read. None: all.
        """
        known = {Part.TRAIN, Part.VALIDATION_HISTORY}
        if part == "test":
            known |= {Part.VALIDATION, Part.TEST_HISTORY}
        everything = candidates == "catalogue"
        history, asked = self._rows(*known), self.test if part == "test" else self.validation
        users = np.flatnonzero(asked.user_counts())
        if most_users is not None and len(users) > most_users:
            users = users[np.arange(most_users) * len(users) // most_users]
            history, asked = history.of_users(users), asked.of_users(users)
        return Task.of(
            history,
            asked,
            np.ones(self.log.n_items, np.bool_) if everything else self._candidates(part),
            new_users=everything,
        )

    def _candidates(self, part: Literal["validation", "test"]) -> NDArray[np.bool_]:
        if self.protocol == "cold-items":
            drawn: NDArray[np.bool_] = self.item_parts == Part[part.upper()]
            return drawn
        if self.protocol == "leave-last-out":
            return self.log.item_counts() > 0
        return self.learnable(refit=part == "test").item_counts() > 0

    def save(self, folder: Path) -> None:
        """Write the part of each row of the log, and which items are cold, into ``folder``."""
        parts = pa.array(NAMES).take(pa.array(self.parts))
        write_parquet(folder / ROWS, pa.table({"row": self.log.rows, "part": parts}))
        cold = {
            part.name.lower(): np.flatnonzero(self.item_parts == part).tolist()
            for part in (Part.VALIDATION, Part.TEST)
        }
        write_json(folder / ABOUT, {"protocol": self.protocol, "cold_item_numbers": cold})

    @classmethod
    def load(cls, folder: Path, dataset: Dataset) -> Self:
        """Read what ``save`` wrote, for the same data set.

        Raises:
            ArtifactError: a file is missing or damaged, or is of another log.
        """
        about = read_json(folder / ABOUT)
        if "sizes" in about:
            return cls._load_mapped(folder, about, dataset)
        log = dataset.log.ordered(ties_of(about["protocol"]))
        table = read_parquet(folder / ROWS)
        if not np.array_equal(table["row"].to_numpy(), log.rows):
            raise ArtifactError(
                f"{folder / ROWS}: is of another log ({table.num_rows:,} rows, this one has "
                f"{len(log):,}); run the stage that splits again"
            )
        item_parts = np.full(log.n_items, Part.TRAIN, dtype=np.int8)
        for name, numbers in about["cold_item_numbers"].items():
            item_parts[np.array(numbers, dtype=np.int64)] = Part[name.upper()]
        return cls(
            about["protocol"], log, parts_named(table["part"]), item_parts, dataset.time_kind
        )

    @classmethod
    def _load_mapped(cls, folder: Path, about: dict[str, Any], dataset: Dataset) -> Self:
        """Map what `recsys.data.disk` wrote."""
        log, sizes = dataset.log, about["sizes"]
        if about["rows"] != len(log):
            raise ArtifactError(
                f"{folder / ABOUT}: is of another log ({about['rows']:,} rows, this one has "
                f"{len(log):,}); run the stage that splits again"
            )
        if about["reordered"]:
            log = load_log(folder / MAPPED / "log", len(log), log.n_users, log.n_items)
        return cls(
            about["protocol"],
            log,
            load_array(folder / MAPPED / PARTS, np.int8, len(log)),
            np.full(log.n_items, Part.TRAIN, dtype=np.int8),
            dataset.time_kind,
            StoredParts(folder / MAPPED, sizes, log.n_users, log.n_items),
        )

    def _rows(self, *parts: Part) -> Interactions:
        stored = None if self.stored is None else self.stored.of(*parts)
        return self.log.take(np.isin(self.parts, parts)) if stored is None else stored


def split(
    dataset: Dataset,
    protocol: Protocol = "user-time",
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    folds: int = 1,
    fold: int = 1,
) -> Split:
    """Cut a data set's log into training, validation and test rows.

    Args:
        dataset: for the protocols ``"column"`` and ``"files"`` with labels.
        protocol: ``"user-time"`` each user's last rows test; ``"leave-last-out"`` each user's last
            row; ``"global-time"`` all rows from one moment on; ``"random"`` rows; ``"cold-items"``
            all rows of random items; ``"cold-users"`` the last rows of random users whose other
            rows are history; ``"column"``, ``"files"`` as the log says. `recsys.data.protocols`
            has the rules.
        test_fraction: in (0, 1), of each user's rows, all rows, items or users; not read by
            ``"leave-last-out"``, ``"column"`` and ``"files"``.
        validation_fraction: in (0, 1), of what does not test; not read by ``"leave-last-out"``.
        seed: of the random protocols.
        folds: ``"global-time"`` only: windows that the test part is cut into.
        fold: which of them tests, from 1; all rows before it train and validate.

    Raises:
        ConfigError: a fraction is not in (0, 1), or the data set lacks what the protocol needs.
        DataError: no row would train, or none would test.
    """
    for name, fraction in (
        ("test_fraction", test_fraction),
        ("validation_fraction", validation_fraction),
    ):
        if not 0 < fraction < 1:
            raise ConfigError(f"split: {name} is {fraction}, expected more than 0 and less than 1")
    if protocol not in get_args(Protocol):
        raise ConfigError(f"split: protocol {protocol!r}; expected one of {get_args(Protocol)}")
    if not 1 <= fold <= folds or (folds > 1 and protocol != "global-time"):
        raise ConfigError(f"split: fold {fold} of {folds} of {protocol!r}; folds need global-time")
    log = dataset.log.ordered(ties_of(protocol))
    fractions = (test_fraction, validation_fraction)
    parts, item_parts = _cut(dataset, log, protocol, fractions, seed, (folds, fold))
    result = Split(protocol, log, parts, item_parts, dataset.time_kind)
    result.check_parts()
    return result


def _cut(
    dataset: Dataset,
    log: Interactions,
    protocol: Protocol,
    fractions: tuple[float, float],
    seed: int,
    folds: tuple[int, int],
) -> tuple[Parts, Parts]:
    """The parts of the rows of ``log``, ``(n,)``, and those of the items, ``(n_items,)``."""
    item_parts = np.full(log.n_items, Part.TRAIN, dtype=np.int8)
    match protocol:
        case "user-time":
            parts = protocols.user_time(log, *fractions)
        case "leave-last-out":
            parts = protocols.leave_last_out(log)
        case "global-time":
            check_moments(dataset.time_kind)
            parts = protocols.global_time(log, *fractions, *folds)
        case "random":
            parts = protocols.random_rows(log, *fractions, seed)
        case "cold-items":
            item_parts = protocols.cold_items(dataset.catalogue_rows, *fractions, seed)
            parts = item_parts[log.items]
        case "cold-users":
            parts = protocols.cold_users(log, *fractions, seed)
        case "column" | "files":
            parts = protocols.given(
                log, protocols.labels_of(log, dataset.labels, dataset.log.rows), fractions[1]
            )
    return parts, item_parts
