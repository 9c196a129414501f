"""The log on disk, some users at a time: the same rows as the whole of it in memory."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys.data.dataset import Dataset
from recsys.data.splits import split
from recsys.data.stored_log import StoredLog, dataset_without_log
from recsys.errors import ArtifactError

COLUMNS = ("users", "items", "times", "weights", "rows")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Many rows of equal time, so that the order of ties shows; in row groups of 50 rows."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "user_id": random.integers(60, size=900),
            "item_id": random.integers(400, size=900),
            "time": random.integers(3, size=900) * 10**9,
        }
    ).drop_duplicates(["user_id", "item_id"])
    rows.to_csv(tmp_path / "log.csv", index=False)
    return Dataset.from_files(tmp_path / "log.csv", time="time")


def save(dataset: Dataset, protocol: Literal["random", "leave-last-out"], folder: Path) -> Path:
    dataset.save(folder)
    split(dataset, protocol).save(folder)
    for name in ("interactions.parquet", "split.parquet"):
        table = pq.read_table(folder / name)
        pq.write_table(table, folder / name, row_group_size=50)
    return folder


@pytest.mark.parametrize("protocol", ["random", "leave-last-out"])
@pytest.mark.parametrize("which", ["all", "train", "refit"])
@pytest.mark.parametrize("asked", [range(60), [3, 17, 16, 59, 0], [41], []])
def test_rows_and_their_order_are_those_of_the_whole(
    dataset: Dataset,
    tmp_path: Path,
    protocol: Literal["random", "leave-last-out"],
    which: Literal["all", "train", "refit"],
    asked: list[int],
) -> None:
    folder = save(dataset, protocol, tmp_path / "data")
    whole = dataset.log
    if which != "all":
        whole = split(dataset, protocol).learnable(refit=which == "refit")
    users = np.array(asked, dtype=np.int32)
    found = StoredLog.open(folder, which=which).of(users)
    expected = whole.take(np.isin(whole.users, users))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert (found.n_users, found.n_items) == (whole.n_users, whole.n_items)


def test_a_split_of_another_log_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    folder = save(dataset, "random", tmp_path / "data")
    path = folder / "split.parquet"
    turned = pq.read_table(path)[::-1]
    pq.write_table(turned, path, row_group_size=50)
    with pytest.raises(ArtifactError, match="is of another log"):
        StoredLog.open(folder, which="train").of(np.arange(60, dtype=np.int32))


def test_without_the_log_the_ids_are_the_same(dataset: Dataset, tmp_path: Path) -> None:
    folder = save(dataset, "random", tmp_path / "data")
    bare = dataset_without_log(folder)
    assert bare.user_ids.digest == dataset.user_ids.digest
    assert bare.item_ids.digest == dataset.item_ids.digest
    assert len(bare.log) == 0 and bare.log.n_users == len(dataset.user_ids)
