"""What holds of any split: a partition, no future, saved and loaded; what is refused."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_logs import Row, dataset_of, logs

from recsys.config import Protocol
from recsys.data import blocks
from recsys.data.interactions import Interactions
from recsys.data.mapped import LOG_KINDS
from recsys.data.protocols import Part
from recsys.data.splits import Split, split
from recsys.errors import ArtifactError, ConfigError, DataError

LABELS = np.array(["train", "validation", "test"], dtype=object)
ROWS = [Row(n, n % 8, n // 8, n) for n in range(80)]


@pytest.mark.parametrize("protocol", get_args(Protocol))
@given(rows=logs(), number=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_is_a_partition_without_the_future_and_survives_saving(
    tmp_path_factory: pytest.TempPathFactory, protocol: Protocol, rows: list[Row], number: int
) -> None:
    labels = {row.row: str(LABELS[(row.row * 7 + number) % 3]) for row in rows}
    dataset = dataset_of(rows, labels)
    try:
        made = split(dataset, protocol, seed=3)
    except DataError:  # too small a log, see test_protocols
        return
    pieces = (made.train, made.validation, made.test, made.history)
    kept = np.concatenate([piece.rows for piece in pieces])
    assert sorted(kept.tolist()) == sorted(row.row for row in rows)
    refit = made.learnable(refit=True)
    assert set(made.train.rows) <= set(refit.rows)
    assert not set(refit.rows) & set(made.test.rows)
    if protocol in {"user-time", "leave-last-out"}:
        for user in np.unique(made.test.users):
            newest = refit.times[refit.users == user].max()
            assert newest <= made.test.times[made.test.users == user].min()
    folder = tmp_path_factory.mktemp("split")
    made.save(folder)
    again = Split.load(folder, dataset)
    assert again.protocol == protocol
    for name in ("parts", "item_parts"):
        assert getattr(again, name).tolist() == getattr(made, name).tolist()
        assert getattr(again, name).dtype == np.int8
    assert again.log.rows.tolist() == made.log.rows.tolist()


def test_the_parts_of_a_long_log_are_counted_without_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 1000)
    n = 200_000
    columns = {name: np.zeros(n, kind) for name, kind in LOG_KINDS.items()}
    log = Interactions(**columns, n_users=1, n_items=1)
    made = Split("user-time", log, np.zeros(n, np.int8), np.zeros(1, np.int8))
    tracemalloc.start()
    assert repr(made) == "Split(user-time: 200,000 train)"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < n, "a byte a row"


def test_ties_go_by_item_number_or_by_row_of_the_file() -> None:
    one_moment = [Row(n, 2, 9 - n, 5) for n in range(5)]  # items 9, 8, 7, 6, 5 in the file
    dataset = dataset_of([*one_moment, Row(9, 3, 1, 0)])
    by_item = split(dataset, "user-time")
    assert by_item.test.items.tolist() == [9]  # ceil(0.8 * 5) = 4 train, whatever floats say
    assert by_item.learnable(refit=True).items.tolist() == [5, 6, 7, 8, 1]
    by_row = split(dataset, "leave-last-out")
    assert (by_row.validation.items.tolist(), by_row.test.items.tolist()) == ([6], [5])


def test_fractions_are_exact() -> None:
    """0.29 * 100 is 28.999999999999996 in floating point, and the test part has 29 rows."""
    dataset = dataset_of([Row(n, n % 8, n // 8, n) for n in range(100)])
    assert len(split(dataset, "random", test_fraction=0.29).test) == 29
    assert len(split(dataset, "random", test_fraction=1 / 3).test) == 33


def test_a_seed_gives_one_split_and_another_seed_another() -> None:
    for protocol in get_args(Protocol)[3:6]:  # random, cold-items, cold-users
        one, same, other = (split(dataset_of(ROWS), protocol, seed=seed) for seed in (1, 1, 2))
        assert one.parts.tolist() == same.parts.tolist() != other.parts.tolist()


def test_items_without_a_catalogue_row_are_never_cold() -> None:
    rows = np.array([*range(10), -1, -1, -1, -1, -1])
    dataset = replace(dataset_of(ROWS), catalogue_rows=rows)
    made = split(dataset, "cold-items", test_fraction=0.5)
    assert (made.item_parts == Part.TEST).sum() == 5
    assert (made.item_parts[10:] == Part.TRAIN).all()


def test_says_its_counts() -> None:
    assert repr(split(dataset_of(ROWS))) == "Split(user-time: 56 train, 8 validation, 16 test)"


def test_refuses_what_cannot_be_split() -> None:
    labels = {row.row: "hold" if row.row == 7 else "train" for row in ROWS}
    with pytest.raises(ConfigError, match="test_fraction is 1"):
        split(dataset_of(ROWS), test_fraction=1.0)
    with pytest.raises(ConfigError, match="needs moments"):
        split(dataset_of(ROWS, time_kind="order"), "global-time")
    with pytest.raises(ConfigError, match="needs a data set whose rows are labelled"):
        split(dataset_of(ROWS), "column")
    with pytest.raises(ConfigError, match="expected one of"):
        split(dataset_of(ROWS), "user_time")  # type: ignore[arg-type]  # what a typo looks like
    with pytest.raises(DataError, match="row 7 of the log: its part is 'hold'"):
        split(dataset_of(ROWS, labels), "files")
    with pytest.raises(DataError, match="at least one must train and one test"):
        split(dataset_of(ROWS[:3]), "user-time")
    with pytest.raises(DataError, match="share their time"):
        split(dataset_of([row._replace(time=4) for row in ROWS]), "global-time")


def test_refuses_the_parts_of_another_log(tmp_path: Path) -> None:
    dataset = dataset_of(ROWS)
    split(dataset).save(tmp_path)
    with pytest.raises(ArtifactError, match="is of another log"):
        Split.load(tmp_path, dataset_of(ROWS[1:]))
    (tmp_path / "split.parquet").write_bytes(b"half a fi")
    with pytest.raises(ArtifactError, match="is damaged"):
        Split.load(tmp_path, dataset)
    (tmp_path / "split.json").unlink()
    with pytest.raises(ArtifactError, match="no such file"):
        Split.load(tmp_path, dataset)
