"""The files of a saved data set."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.arrow import first_rows, from_frame, read_parquet, to_frame, write_parquet
from recsys.data.ids import ItemIds
from recsys.data.interactions import Interactions
from recsys.data.mapped import load_log
from recsys.files import read_json

__all__ = [
    "ABOUT",
    "INTERACTIONS",
    "ITEMS",
    "LOG",
    "LOG_COLUMNS",
    "REJECTED",
    "SHOWN",
    "USERS",
    "load_items",
    "log_files",
    "read_columns",
    "read_log",
    "read_rejected",
    "write_columns",
]

INTERACTIONS, USERS, ITEMS = "interactions.parquet", "users.parquet", "items.parquet"
REJECTED, ABOUT = "rejected.parquet", "dataset.json"
LOG = "log"  # instead of interactions.parquet: a folder of arrays, where the log lies on disk
SHOWN = 100_000  # rejected rows that are loaded of a log on disk
LOG_COLUMNS = ("users", "items", "times", "weights", "rows")  # and "labels" where there are any
ID_COLUMNS = {USERS: ("user_id",), ITEMS: ("item_id", "catalogue_row")}  # before the attributes


def load_items(folder: Path) -> tuple[ItemIds, NDArray[np.int64], pd.DataFrame]:
    """The items of a saved data set, without its log: ids, rows of the catalogue, columns.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    (item_ids, catalogue_rows), items = read_columns(folder / ITEMS)
    appended = read_json(folder / ABOUT).get("appended", 0)
    return ItemIds(item_ids, appended=appended), catalogue_rows, items


def log_files(folder: Path) -> list[str]:
    """The names of the files that hold the log of a saved data set."""
    if not read_json(folder / ABOUT).get("mapped"):
        return [INTERACTIONS]
    return sorted(f"{LOG}/{path.name}" for path in (folder / LOG).iterdir())


def read_log(folder: Path, about: dict[str, Any]) -> tuple[Interactions, Any]:
    """The log, and the labels of its rows if it has any."""
    n_users, n_items = about["users"], about["items"]
    if about.get("mapped"):
        return load_log(folder / LOG, about["counts"]["kept"], n_users, n_items), None
    table = read_parquet(folder / INTERACTIONS)
    columns = {name: table[name].to_numpy() for name in LOG_COLUMNS}
    labels = table["labels"].to_numpy() if "labels" in table.column_names else None
    return Interactions(**columns, n_users=n_users, n_items=n_items), labels


def read_rejected(path: Path, most: int | None) -> pd.DataFrame:
    """The rejected rows, or the first ones."""
    if most is None:
        return to_frame(read_parquet(path))
    return to_frame(first_rows(path, most))


def write_columns(path: Path, keys: list[NDArray[Any]], frame: pd.DataFrame) -> None:
    """Write the columns of ``ID_COLUMNS`` and then the attributes, which may be called the same."""
    table = from_frame(frame)
    columns = [pa.array(key) for key in keys] + table.columns
    write_parquet(path, pa.table(columns, names=[*ID_COLUMNS[path.name], *table.column_names]))


def read_columns(path: Path) -> tuple[list[NDArray[Any]], pd.DataFrame]:
    """Read the columns of ``ID_COLUMNS``, and the attributes beside them."""
    table = read_parquet(path)
    n = len(ID_COLUMNS[path.name])
    keys = [column.to_numpy() for column in table.columns[:n]]
    return keys, to_frame(table.select(list(range(n, table.num_columns))))
