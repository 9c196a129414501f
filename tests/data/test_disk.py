"""A log prepared on disk, piece by piece: the very data set and split that memory gives."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config import DataConfig, Protocol, SplitConfig
from recsys.data.dataset import Dataset
from recsys.data.disk.cut import nth_smallest
from recsys.data.disk.pieces import order_of
from recsys.data.disk.prepare import Sizes, goes_to_disk, prepare_on_disk
from recsys.data.interactions import Interactions
from recsys.data.splits import Split, split
from recsys.data.stored_log import StoredLog, dataset_without_log
from recsys.errors import ArtifactError, ConfigError, DataError, RecsysError

COLUMNS = ("users", "items", "times", "weights", "rows")
CUTS: tuple[Protocol, ...] = ("user-time", "leave-last-out", "global-time")
SMALL = Sizes(block_rows=17, group_rows=23)  # many blocks, and groups of a few users
NOW = 1_750_000_000_000


def faulty(seed: int, n: int = 160) -> pd.DataFrame:
    """Few users and items, many rows of one pair and of one time, and every fault."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user_id": random.integers(0, 14, n).astype(object),
            "item_id": random.integers(0, 18, n).astype(object),
            "time": (1_500_000_000 + random.integers(0, 9, n) * 10_000).astype(object),
            "stars": (random.integers(0, 9, n) / 2).astype(object),
            "note": random.choice(np.array(["a", "", None, "long text"], dtype=object), n),
        }
    )
    faults_of: dict[str, list[Any]] = {
        "user_id": [None, " ", "NaN"],
        "item_id": [None, ""],
        "time": [None, "soon", 9_999_999_999],
        "stars": [None, "many", "inf"],
    }
    for column, faults in faults_of.items():
        for place in random.choice(n, 6, replace=False).tolist():
            frame.at[place, column] = faults[place % len(faults)]
    return frame


def typed(frame: pd.DataFrame, kind: str) -> pa.Table:
    """The columns as text, or as numbers where they can be."""
    if kind == "names":
        frame = frame.assign(user_id=[v if v in (None, " ") else f"u{v}" for v in frame["user_id"]])
    if kind in ("text", "names"):
        return pa.table(
            {
                name: pa.array([None if v is None else str(v) for v in frame[name]], pa.string())
                for name in frame
            }
        )
    numbers = {
        name: pd.to_numeric(frame[name].astype(str), errors="coerce").replace(np.inf, np.nan)
        for name in ("user_id", "item_id", "time", "stars")
    }
    if kind == "floats":
        return pa.Table.from_pandas(pd.DataFrame(numbers), preserve_index=False)
    whole = ("user_id", "item_id", "time")
    columns = {name: pa.array(numbers[name].astype("Int64")) for name in whole}
    return pa.table({**columns, "stars": pa.array(numbers["stars"]), "note": frame["note"]})


def write(folder: Path, frame: pd.DataFrame, kinds: list[str]) -> Path:
    """One file a kind."""
    folder.mkdir()
    for number, kind in enumerate(kinds):
        part = frame.iloc[number :: len(kinds)]
        pq.write_table(typed(part, kind), folder / f"{number}.parquet", row_group_size=40)
    return folder


def assert_same_rows(found: Interactions, expected: Interactions, what: str) -> None:
    for name in COLUMNS:
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{what}: {name}")


def assert_same_data(found: Dataset, expected: Dataset) -> None:
    assert found.user_ids.values.tolist() == expected.user_ids.values.tolist()
    assert found.item_ids.values.tolist() == expected.item_ids.values.tolist()
    assert found.user_ids.is_integer == expected.user_ids.is_integer
    assert_same_rows(found.log, expected.log, "log")
    pd.testing.assert_frame_equal(found.items, expected.items)
    pd.testing.assert_frame_equal(found.users, expected.users)
    pd.testing.assert_frame_equal(found.rejected, expected.rejected)
    np.testing.assert_array_equal(found.catalogue_rows, expected.catalogue_rows)
    assert asdict(found.counts) == asdict(expected.counts)
    assert list(found.counts.rejected.values()) == list(expected.counts.rejected.values())
    assert found.notes == expected.notes
    assert found.time_kind == expected.time_kind


def assert_same_split(found: Split, expected: Split) -> None:
    assert found.stored is not None
    assert_same_rows(found.log, expected.log, "split")
    np.testing.assert_array_equal(found.parts, expected.parts)
    for name in ("train", "validation", "test", "history"):
        assert_same_rows(getattr(found, name), getattr(expected, name), name)
    for refit in (False, True):
        assert_same_rows(found.learnable(refit=refit), expected.learnable(refit=refit), "fit")
    for part in ("validation", "test"):
        ours, theirs = found.task(part), expected.task(part)
        assert_same_rows(ours.truth, theirs.truth, part)
        assert ours.dropped == theirs.dropped
        np.testing.assert_array_equal(ours.candidates, theirs.candidates)


def in_memory(data: DataConfig, cut: SplitConfig) -> tuple[Dataset, Split]:
    dataset = Dataset.from_config(data, cut)
    shares: dict[str, Any] = cut.model_dump(
        include={"test_fraction", "validation_fraction", "folds", "fold"}
    )
    return dataset, split(dataset, cut.protocol, **shares)


def compare(folder: Path, data: DataConfig, cut: SplitConfig) -> tuple[Dataset, Split] | None:
    """Both ways give the same, be it an error; and what is loaded is what was made."""
    folder.mkdir()
    try:
        dataset, made = in_memory(data, cut)
    except RecsysError as error:
        with pytest.raises(type(error)) as ours:
            prepare_on_disk(data, cut, folder, sizes=SMALL)
        assert str(ours.value) == str(error)
        return None
    found, parts = prepare_on_disk(data, cut, folder, sizes=SMALL)
    assert_same_data(found, dataset)
    assert_same_split(parts, made)
    again = Dataset.load(folder)
    assert_same_data(again, dataset)
    assert_same_split(Split.load(folder, again), made)
    return found, parts


KINDS = [
    ["text"],
    ["names"],
    ["integers"],
    ["integers", "integers"],
    ["text", "integers"],
    ["floats"] * 2,
]


@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.sampled_from([*KINDS, ["floats", "integers", "text"]]),
    protocol=st.sampled_from(CUTS),
    duplicates=st.sampled_from(["last", "first", "sum"]),
    weighed=st.sampled_from([None, 2.0, 0.5]),
    timed=st.booleans(),
    core=st.sampled_from([1, 1, 3, 6]),
)
@settings(max_examples=30, deadline=None)
def test_disk_gives_what_memory_gives(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    kinds: list[str],
    protocol: Protocol,
    duplicates: Any,
    weighed: float | None,
    timed: bool,
    core: int,
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    data = DataConfig(
        interactions=(write(folder / "log", faulty(seed), kinds),),
        time="time" if timed else None,
        weight=None if weighed is None else "stars",
        positive_from=weighed,
        duplicates=duplicates,
        user_core=core,
        item_core=core,
    )
    compare(folder / "data", data, SplitConfig(protocol=protocol, validation_fraction=0.3))


def test_ids_that_are_integers_only_when_the_text_is_gone_have_the_order_of_integers(
    tmp_path: Path,
) -> None:
    """Written as text "10" comes before "9": the rows are grouped again."""
    frame = pd.DataFrame(
        {
            "user_id": [str(u) for u in range(8, 14) for _ in range(6)] + ["none of them"],
            "item_id": [str(i) for _ in range(6) for i in range(95, 101)] + ["95"],
        }
    )
    (tmp_path / "log").mkdir()
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "log" / "a.parquet")
    data = DataConfig(interactions=(tmp_path / "log",), user_core=2, item_core=2)
    both = compare(tmp_path / "data", data, SplitConfig())
    assert both is not None
    assert both[0].user_ids.values.tolist() == list(range(8, 14))


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_windows_of_global_time(tmp_path: Path, fold: int) -> None:
    frame = faulty(3, 400)
    frame["time"] = 1_500_000_000 + np.random.default_rng(1).integers(0, 10**7, len(frame))
    data = DataConfig(interactions=(write(tmp_path / "log", frame, ["text"]),), time="time")
    cut = SplitConfig(protocol="global-time", test_fraction=0.5, folds=3, fold=fold)
    assert compare(tmp_path / "data", data, cut) is not None


def test_columns_that_some_files_lack_and_a_catalogue(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", faulty(5), ["integers", "text"])
    table = pq.read_table(folder / "1.parquet")
    pq.write_table(table.drop_columns(["note", "stars"]), folder / "1.parquet")
    pq.write_table(table.append_column("more", pa.nulls(len(table))), folder / "2.parquet")
    (folder / "readme.md").write_text("not read")
    pd.DataFrame({"item_id": range(4, 25), "name": "x", "year": range(21)}).to_csv(
        tmp_path / "items.csv", index=False
    )
    pd.DataFrame({"user_id": ["1", "2", "stranger"], "age": [30, None, 5]}).to_csv(
        tmp_path / "users.csv", index=False
    )
    data = DataConfig(
        interactions=(folder,),
        time="time",
        items=tmp_path / "items.csv",
        users=tmp_path / "users.csv",
    )
    both = compare(tmp_path / "data", data, SplitConfig())
    assert both is not None
    assert len(both[0].notes) >= 3


@pytest.mark.parametrize("column", ["user_id", "item_id", "time", "stars"])
@pytest.mark.parametrize("named", [True, False])
def test_a_file_with_nothing_in_a_column_that_is_floats_in_another(
    tmp_path: Path, column: str, named: bool
) -> None:
    """Floats are how pandas writes integers with gaps, and no type is how it writes gaps only."""
    folder = write(tmp_path / "log", faulty(5), ["floats"])
    table = pq.read_table(folder / "0.parquet")
    without = table.drop_columns([column]).slice(0, 30)
    if named:
        without = without.append_column(column, pa.nulls(30))
    pq.write_table(without, folder / "1.parquet")
    data = DataConfig(interactions=(folder,), time="time", weight="stars")
    assert compare(tmp_path / "data", data, SplitConfig()) is not None


def test_iso_times_compact_dates_and_an_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, 200), unit="D")
    for name, times in {
        "iso": days.strftime("%Y-%m-%d %H:%M:%S"),
        "compact": days.strftime("%Y%m%d").astype(int),
        "stamps": days,
        "order": random.integers(0, 50, 200),
        "nano": days.astype("int64") * (10**9 // 10 ** (9 if days.unit == "ns" else 6)),
    }.items():
        frame = pd.DataFrame(
            {
                "user_id": random.integers(0, 12, 200),
                "item_id": random.integers(0, 30, 200),
                "time": times,
            }
        )
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "log.parquet")
        for protocol in CUTS if name == "order" else CUTS[2:]:
            data = DataConfig(interactions=(tmp_path / name,), time="time")
            compare(tmp_path / f"{name}-{protocol}", data, SplitConfig(protocol=protocol))


@pytest.mark.parametrize("protocol", CUTS)
@pytest.mark.parametrize("which", ["all", "train", "refit"])
def test_some_users_at_a_time(tmp_path: Path, protocol: Protocol, which: Any) -> None:
    data = DataConfig(interactions=(write(tmp_path / "log", faulty(7), ["integers"]),), time="time")
    both = compare(tmp_path / "data", data, SplitConfig(protocol=protocol))
    assert both is not None
    whole = both[0].log if which == "all" else both[1].learnable(refit=which == "refit")
    users = np.array([5, 0, 11, 6], dtype=np.int32)
    found = StoredLog.open(tmp_path / "data", which=which).of(users)
    assert_same_rows(found, whole.take(np.isin(whole.users, users)), which)
    assert dataset_without_log(tmp_path / "data").user_ids.values.tolist() == (
        both[0].user_ids.values.tolist()
    )


def test_what_training_reads_is_mapped(tmp_path: Path) -> None:
    """No column is copied: not by the split, nor by histories."""
    data = DataConfig(interactions=(write(tmp_path / "log", faulty(7), ["integers"]),), time="time")
    folder = tmp_path / "data"
    folder.mkdir()
    _, parts = prepare_on_disk(data, SplitConfig(), folder, sizes=SMALL)
    for rows in (parts.train, parts.validation, parts.learnable(refit=True)):
        for column in (rows.items, rows.times, rows.users, rows.histories().values):
            assert not column.flags.writeable and not column.flags.owndata
            assert type(column) is np.ndarray  # a memmap is slower to index
        assert rows.weights.strides == (0,)  # ones are not on the disk
    assert not (folder / "work").exists()


def test_a_damaged_array_is_one_line(tmp_path: Path) -> None:
    data = DataConfig(interactions=(write(tmp_path / "log", faulty(7), ["integers"]),), time="time")
    folder = tmp_path / "data"
    folder.mkdir()
    dataset, _ = prepare_on_disk(data, SplitConfig(), folder, sizes=SMALL)
    users = folder / "log" / "users.npy"
    content = users.read_bytes()

    def message(call: Any) -> str:
        with pytest.raises(ArtifactError) as error:
            call()
        assert "\n" not in str(error.value)
        return str(error.value)

    users.write_bytes(content[:-8])
    assert "users.npy: is damaged" in message(lambda: Dataset.load(folder))
    users.write_bytes(b"nothing of the kind")
    assert "users.npy: is damaged" in message(lambda: Dataset.load(folder))
    users.write_bytes(content[:-4] + b"\xff\xff\xff\x7f")
    assert "user numbers must be in" in message(lambda: Dataset.load(folder))
    np.save(users, np.zeros(3, np.int32))
    assert "expected int32" in message(lambda: Dataset.load(folder))
    users.unlink()
    assert "no such file" in message(lambda: Dataset.load(folder))
    (folder / "split" / "train" / "items.npy").unlink()
    parts = Split.load(folder, dataset)
    assert "no such file" in message(lambda: parts.train)


def test_what_cannot_be_done_on_disk_is_said(tmp_path: Path) -> None:
    frame = faulty(1)
    log = write(tmp_path / "log", frame, ["integers"])
    on_disk = DataConfig(interactions=(log,), storage="disk")
    others = set(get_args(Protocol)) - set(CUTS) - {"column", "files"}
    for protocol in sorted(others):
        with pytest.raises(ConfigError, match=f'"{protocol}" needs the whole log in memory'):
            goes_to_disk(on_disk, SplitConfig(protocol=protocol))
    with pytest.raises(ConfigError, match="needs interactions"):
        goes_to_disk(DataConfig(source="synthetic", storage="disk"), SplitConfig())
    frame.to_csv(tmp_path / "log.csv", index=False)
    csv = DataConfig(interactions=(tmp_path / "log.csv",), storage="disk")
    with pytest.raises(ConfigError, match="not parquet; write it as parquet"):
        prepare_on_disk(csv, SplitConfig(), tmp_path / "data")
    for column in ("user", "item", "time", "weight"):
        with pytest.raises(DataError, match=f"no {column} column 'absent'"):
            absent = on_disk.model_copy(update={column: "absent"})
            prepare_on_disk(absent, SplitConfig(), tmp_path / "data")


def test_long_parquet_goes_to_disk_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path / "log", faulty(1), ["integers", "text"])
    data = DataConfig(interactions=(log,))
    monkeypatch.setattr("recsys.data.disk.prepare.FROM_ROWS", 160)
    assert not goes_to_disk(data, SplitConfig())  # 160 rows are not more
    monkeypatch.setattr("recsys.data.disk.prepare.FROM_ROWS", 159)
    assert goes_to_disk(data, SplitConfig())
    assert not goes_to_disk(data, SplitConfig(protocol="random"))
    assert not goes_to_disk(data.model_copy(update={"storage": "memory"}), SplitConfig())
    assert not goes_to_disk(DataConfig(source="synthetic"), SplitConfig())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-(2**60), 2**60) | st.integers(-3, 3), min_size=1), st.data())
def test_the_nth_smallest_is_that_of_a_sorted_array(values: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    blocks = [np.array(values[k : k + 3], dtype=np.int64) for k in range(0, len(values), 3)]
    assert nth_smallest(lambda: iter(blocks), place) == sorted(values)[place]


@given(st.lists(st.integers(-5, 5) | st.integers(-(2**62), 2**62)))
def test_the_order_is_stable(values: list[int]) -> None:
    keys = np.array(values, dtype=np.int64)
    np.testing.assert_array_equal(order_of(keys), np.argsort(keys, kind="stable"))
