"""A prepared folder whose log may be larger than memory: read for some users at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.arrow import read_parquet
from recsys.data.dataset import Counts, Dataset
from recsys.data.dataset_files import ABOUT as DATASET
from recsys.data.dataset_files import INTERACTIONS, LOG, LOG_COLUMNS, USERS, load_items
from recsys.data.ids import UserIds
from recsys.data.interactions import Interactions
from recsys.data.mapped import LOG_KINDS, load_log
from recsys.data.parts import learnable_rows, ties_of
from recsys.data.splits import ABOUT, MAPPED, ROWS
from recsys.data.stored_parts import StoredParts
from recsys.errors import ArtifactError, DataError
from recsys.files import read_json

__all__ = ["StoredLog", "dataset_without_log"]


def dataset_without_log(folder: Path) -> Dataset:
    """Read what ``Dataset.save`` wrote but what is long: the log and the users' attributes.

    Raises:
        ArtifactError: a file is missing, damaged, or does not belong to the others.
    """
    about = read_json(folder / DATASET)
    user_ids = read_parquet(folder / USERS, columns=("user_id",)).column(0).to_numpy()
    item_ids, catalogue_rows, items = load_items(folder)
    none = {name: np.array([], kind) for name, kind in LOG_KINDS.items()}
    try:
        return Dataset(
            UserIds(user_ids),
            item_ids,
            Interactions(**none, n_users=about["users"], n_items=about["items"]),
            items,
            catalogue_rows,
            pd.DataFrame(index=pd.RangeIndex(len(user_ids))),
            about["time_kind"],
            pd.DataFrame(),
            Counts(0, 0),
            tuple(about["notes"]),
            about["generated"],
        )
    except (DataError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder}: its files do not fit together ({error})") from None


@dataclass(frozen=True, eq=False)
class StoredLog:
    """What ``prepare`` wrote, row group by row group, or mapped; rows lie by user.

    Attributes:
        folder: with ``interactions.parquet``, and ``split.parquet`` where it is asked for.
        n_users: of the data set.
        n_items: of the data set.
        which: ``"all"`` rows as `Dataset.load` gives them; of ``"train"`` and ``"refit"`` those of
            ``Split.learnable(refit=...)``, in its order.
    """

    folder: Path
    n_users: int
    n_items: int
    which: Literal["all", "train", "refit"] = "all"

    @classmethod
    def open(cls, folder: Path, *, which: Literal["all", "train", "refit"] = "all") -> Self:
        """Take the log of a folder of ``prepare``."""
        about = read_json(folder / DATASET)
        return cls(folder, about["users"], about["items"], which)

    def of(self, users: NDArray[np.int32]) -> Interactions:
        """Return the rows of some users, by user, in numbers of the whole data set.

        Memory is bounded by a row group (a million rows) and what is returned; of a log that was
        prepared with ``storage = "disk"``, by what is returned.

        Args:
            users: numbers ``(u,)`` in any order.

        Raises:
            ArtifactError: a file is missing or damaged, or they do not belong together.
        """
        if self._mapped is not None:
            return self._mapped.of_users(users)
        wanted = np.zeros(self.n_users, dtype=np.bool_)
        wanted[users] = True
        rows = self._log.schema_arrow.empty_table().select(LOG_COLUMNS)
        rows = pa.concat_tables([rows, *self._rows(wanted)])
        columns = {name: rows[name].to_numpy() for name in LOG_COLUMNS}
        found = Interactions(**columns, n_users=self.n_users, n_items=self.n_items)
        return found if self.which == "all" else self._learnable(found, wanted)

    def _rows(self, wanted: NDArray[np.bool_]) -> Iterator[pa.Table]:
        """The rows of wanted users, row group by row group."""
        for group in self._groups(wanted):
            rows = self._log.read_row_group(group, columns=list(LOG_COLUMNS))
            yield rows.filter(pa.array(wanted[rows["users"].to_numpy()]))

    def _learnable(self, log: Interactions, wanted: NDArray[np.bool_]) -> Interactions:
        """Those rows that may be fitted on; a split has an order of its own within each user.

        So a user's rows begin at the same place in both files, but are not the same one by one.
        """
        split = _open(self.folder / ROWS)
        tables = []
        for group in self._groups(wanted):
            users = self._log.read_row_group(group, columns=["users"])["users"].to_numpy()
            table = split.read_row_group(group)
            if len(table) != len(users):
                raise self._another_log()
            tables.append(table.filter(pa.array(wanted[users])))
        if not tables:
            return log
        table = pa.concat_tables(tables)
        log = log.ordered(ties_of(read_json(self.folder / ABOUT)["protocol"]))
        if not np.array_equal(table["row"].to_numpy(), log.rows):
            raise self._another_log()
        return log.take(learnable_rows(table["part"], refit=self.which == "refit"))

    def _another_log(self) -> ArtifactError:
        return ArtifactError(f"{self.folder / ROWS}: is of another log; run prepare again")

    def _groups(self, wanted: NDArray[np.bool_]) -> list[int]:
        """The row groups in which a wanted user may have rows."""
        asked, (first, last) = np.flatnonzero(wanted), self._spans
        inside = np.searchsorted(asked, last, "right") > np.searchsorted(asked, first)
        found: list[int] = np.flatnonzero(inside).tolist()
        return found

    @cached_property
    def _mapped(self) -> Interactions | None:
        """The rows as arrays on disk, where `recsys.data.disk` wrote them."""
        about, size = read_json(self.folder / DATASET), (self.n_users, self.n_items)
        if not about.get("mapped"):
            return None
        if self.which == "all":
            return load_log(self.folder / LOG, about["counts"]["kept"], *size)
        sizes = read_json(self.folder / ABOUT)["sizes"]
        return StoredParts(self.folder / MAPPED, sizes, *size).named(self.which)

    @cached_property
    def _log(self) -> Any:
        return _open(self.folder / INTERACTIONS)

    @cached_property
    def _spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last user of each row group, ``(g,)`` each."""
        groups = self._log.metadata
        place = self._log.schema_arrow.names.index("users")
        spans = [groups.row_group(n).column(place).statistics for n in range(groups.num_row_groups)]
        return np.array([s.min for s in spans]), np.array([s.max for s in spans])


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run the stage that writes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: is damaged ({reason}); run its stage again") from None
