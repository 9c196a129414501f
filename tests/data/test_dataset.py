"""Files to a data set, to a folder, and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.config import DataConfig
from recsys.data.clean import Counts
from recsys.data.dataset import Dataset
from recsys.errors import ArtifactError, ConfigError, DataError

LOG = """customer,sku,when,stars
c2,30,1260759146,5
c1,9,1260759145,4
c1,30,1260759144,3
c1,,1260759144,3
c2,9,1260759144,4
"""
ITEMS = """sku,title,year,price,zip
9,Nine,1999,9.50,01234
100,Hundred,,10,99999
30,"Thirty, or so",2001,,00001
"""
USERS = "customer,age\nc9,99\nc2,30\n"  # c9 is not in the log
COLUMNS: dict[str, Any] = {"user": "customer", "item": "sku", "time": "when", "weight": "stars"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("log.csv", LOG), ("items.csv", ITEMS), ("users.csv", USERS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def read(folder: Path, **more: Any) -> Dataset:
    files = {"items": folder / "items.csv", "users": folder / "users.csv"}
    return Dataset.from_files(folder / "log.csv", **{**COLUMNS, **files, **more})


def test_the_log_is_sorted_by_user_and_time(folder: Path) -> None:
    data = read(folder)
    assert data.user_ids.values.tolist() == ["c1", "c2"]
    assert data.item_ids.values.tolist() == [9, 30, 100]  # as integers, with the catalogue's
    assert data.user_ids.ids(data.log.users).tolist() == ["c1", "c1", "c2", "c2"]
    assert data.item_ids.ids(data.log.items).tolist() == [30, 9, 9, 30]
    assert data.log.rows.tolist() == [2, 1, 4, 0]
    assert data.log.weights.tolist() == [3, 4, 4, 5]
    assert (data.log.times - 1260759144000).tolist() == [0, 1000, 0, 2000]
    assert data.counts == Counts(5, 4, {"empty item id": 1})
    assert data.rejected["row"].tolist() == [3]


def test_the_catalogue_is_in_item_order(folder: Path) -> None:
    data = read(folder)
    assert data.items["title"].tolist() == ["Nine", "Thirty, or so", "Hundred"]
    assert data.items["year"].to_numpy(dtype=float, na_value=-1).tolist() == [1999, 2001, -1]
    assert data.items["price"].isna().tolist() == [False, True, False]
    assert data.items["zip"].tolist() == ["01234", "00001", "99999"]  # leading zeros: text
    assert data.catalogue_rows.tolist() == [0, 2, 1]
    assert data.users["age"].isna().tolist() == [True, False]
    assert data.users["age"][1] == 30
    assert data.notes == ("users.csv: lacks 1 user id of the log, first 'c1'",)


def test_items_that_only_the_log_knows_are_kept(folder: Path) -> None:
    text = ITEMS.replace("9,Nine,1999,9.50,01234\n", ",Nobody,1,1,1\nbroken\n")
    (folder / "items.csv").write_text(text, encoding="utf-8")
    data = read(folder, users=None)
    assert data.catalogue_rows.tolist() == [-1, 3, 2]
    assert data.items["title"].isna().tolist() == [True, False, False]
    assert data.notes == (
        "items.csv: 1 row without an id left out, first row 0",
        "items.csv: 1 line left out, first row 1, malformed line: too few fields",
        "items.csv: lacks 1 item id of the log, first '9'",
    )


def test_a_bare_log_is_enough(folder: Path) -> None:
    data = Dataset.from_files(str(folder / "log.csv"), user="customer", item="sku")
    assert data.items.shape == (2, 0)
    assert data.catalogue_rows.tolist() == [0, 1]
    assert data.time_kind == "row"
    assert data.log.rows.tolist() == [1, 2, 0, 4]
    assert repr(data) == "Dataset(2 users, 2 items, 4 interactions, 100.00 % of all pairs)"
    assert "2009-12-14 to 2009-12-14, items with title, year" in repr(read(folder))


def test_duplicate_ids_in_a_catalogue_are_an_error(folder: Path) -> None:
    (folder / "items.csv").write_text(ITEMS + "9,Again,,,\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"items.csv: column 'sku' has 1 repeated id, first '9' in rows 0 and 3"
    ):
        read(folder)


def test_a_catalogue_of_other_ids_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="has no item id of the log; its ids are Nine, Hundred"):
        read(folder, item_key="title")
    with pytest.raises(DataError, match="no item id column 'ean'; there are sku, title"):
        read(folder, item_key="ean")


def test_ids_that_are_text_in_one_table_are_text_in_both(folder: Path) -> None:
    (folder / "items.csv").write_text(ITEMS.replace("100", "x100"), encoding="utf-8")
    data = read(folder)
    assert data.item_ids.values.tolist() == ["30", "9", "x100"]
    assert data.items["title"].tolist() == ["Thirty, or so", "Nine", "Hundred"]


def test_a_column_or_files_label_the_rows(folder: Path) -> None:
    header, *rows = LOG.splitlines()
    labels = ["test", "train", "dev", "train", "other"]
    lines = [f"{row},{label}" for row, label in zip(rows, labels, strict=True)]
    (folder / "labelled.csv").write_text("\n".join([header + ",part", *lines]), encoding="utf-8")
    data = Dataset.from_files(folder / "labelled.csv", **COLUMNS, label_column="part")
    assert data.labels is not None
    assert dict(zip(data.log.rows.tolist(), data.labels.tolist(), strict=True)) == {
        2: "validation",
        1: "train",
        0: "test",
    }
    for name, part in (("z-train", rows[:2]), ("test", rows[2:])):
        (folder / f"{name}.csv").write_text("\n".join([header, *part]), encoding="utf-8")
    files = {"test": folder / "test.csv", "train": folder / "z-train.csv"}
    by_file = Dataset.from_files(labelled_files=files, user="customer", item="sku")
    assert by_file.labels is not None
    assert by_file.log.rows.tolist() == [1, 2, 0, 4]  # training rows count first
    assert by_file.labels.tolist() == ["train", "test", "train", "test"]
    assert by_file.rejected["file"].tolist() == ["test.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either interactions or labelled_files"),
        ({"interactions": "a.csv", "user_core": 0}, "user_core: Input should be greater"),
        ({"interactions": "a.csv", "duplicates": "both"}, "duplicates: Input should be 'last'"),
        ({"labelled_files": {"train": "a", "dev": "b"}}, "dev: Extra inputs are not permitted"),
        ({"labelled_files": {"train": "a.csv"}}, "needs train = FILE and test = FILE"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dataset.from_files(**arguments)
    with pytest.raises(ConfigError, match="no log: give interactions"):
        Dataset.from_config(DataConfig())


def rich(folder: Path) -> Dataset:
    """A data set with all kinds of columns, gaps, names like ours, labels and rejected rows."""
    pq.write_table(
        pa.table(
            {
                "sku": [30, 9],
                "item_id": ["x", None],
                "genres": [["a", "b"], None],
                "big": [2**60 + 1, None],
                "score": [0.5, float("nan")],
                "new": [True, None],
                "nothing": [None, None],
            }
        ),
        folder / "items.parquet",
    )
    data = read(folder, items=folder / "items.parquet")
    return replace(data, labels=np.array(["train", "test"] * 2, dtype=object), generated=True)


def test_what_is_saved_is_loaded(folder: Path) -> None:
    data = rich(folder)
    data.save(folder / "saved")
    loaded = Dataset.load(folder / "saved")
    assert sorted(path.name for path in (folder / "saved").iterdir()) == [
        "dataset.json",
        "interactions.parquet",
        "items.parquet",
        "rejected.parquet",
        "users.parquet",
    ]
    assert repr(loaded) == repr(data)
    assert loaded.items["genres"].tolist()[1] == ["a", "b"]
    assert loaded.items["big"].tolist()[1] == 2**60 + 1
    for name in ("items", "users", "rejected"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(data, name))
    for name in ("users", "items", "times", "weights", "rows"):
        column, expected = getattr(loaded.log, name), getattr(data.log, name)
        assert column.dtype == expected.dtype
        assert (column == expected).all()
    assert loaded.user_ids.digest == data.user_ids.digest
    assert loaded.item_ids.values.dtype == np.int64
    assert loaded.catalogue_rows.tolist() == data.catalogue_rows.tolist()
    assert loaded.labels is not None
    assert loaded.labels.tolist() == ["train", "test"] * 2
    for name in ("counts", "notes", "time_kind", "generated"):
        assert getattr(loaded, name) == getattr(data, name)


def test_the_same_data_give_the_same_bytes(folder: Path) -> None:
    rich(folder).save(folder / "one")
    rich(folder).save(folder / "two")
    Dataset.load(folder / "one").save(folder / "three")
    for path in (folder / "one").iterdir():
        assert path.read_bytes() == (folder / "two" / path.name).read_bytes()
        assert path.read_bytes() == (folder / "three" / path.name).read_bytes()


def test_rejected_rows_are_written_even_if_there_are_none(folder: Path) -> None:
    (folder / "log.csv").write_text(LOG.replace("c1,,1260759144,3\n", ""), encoding="utf-8")
    read(folder).save(folder / "saved")
    table = pq.read_table(folder / "saved" / "rejected.parquet")
    assert table.num_rows == 0
    assert table.column_names == ["row", "file", "reason", *COLUMNS.values(), "line"]


def test_damaged_folders_are_refused(folder: Path) -> None:
    saved = folder / "saved"
    read(folder).save(saved)
    about = json.loads((saved / "dataset.json").read_text(encoding="utf-8"))
    (saved / "dataset.json").write_text(json.dumps({**about, "users": 1}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="do not fit together"):
        Dataset.load(saved)
    (saved / "dataset.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="do not fit together"):
        Dataset.load(saved)
    read(folder).save(saved)
    (saved / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"items.parquet: is damaged"):
        Dataset.load(saved)
    (saved / "items.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"items.parquet: no such file"):
        Dataset.load(saved)


def test_sizes_must_belong_together(folder: Path) -> None:
    data = read(folder)
    changes: list[dict[str, Any]] = [
        {"catalogue_rows": data.catalogue_rows[:-1]},
        {"items": data.items[:-1]},
        {"users": data.users[:-1]},
        {"labels": np.array(["train"], dtype=object)},
        {"counts": Counts(4, 3, {"lost": 1})},
        {"log": replace(data.log, n_items=7)},
    ]
    for change in changes:
        with pytest.raises(DataError, match=r"data set: .* expected"):
            replace(data, **change)
    with pytest.raises(DataError, match="rows are lost: read 5, 3 kept"):
        Counts(5, 3, {"bad": 1})
