"""What a column seems to be, by its name and by its values: for proposals, not for reading."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.arrow import as_numbers, as_text, is_missing, with_points
from recsys.data.clean import LABEL_WORDS
from recsys.data.times import parse_times

__all__ = ["Profile", "called", "profile"]

# What columns (and files) of each kind are called; a name counts if one of its words begins so, or,
# for words of up to three letters, is just that.
NAMES = {
    "user": "user uid customer client kunde member visitor session account person people reviewer "
    "buyer reader listener player subscriber benutzer nutzer konto utilisateur usuario cliente",
    "item": "item iid product prod sku movie film book isbn asin article artikel produkt ware "
    "track song artist album game video news listing business recipe course material media catalog",
    "time": "time timestamp ts date datetime when created at day moment zeit datum tag fecha heure "
    "pos position order rank seq sequence step",
    "weight": "rating rate stars star score weight count plays playcount quantity qty grade "
    "bewertung sterne anzahl menge note punkte value",
    "log": "log rating interaction event order purchase click view play transaction review history "
    "bestell kauf train behavior behaviour",
}
FILES = {  # what a cell names, by how it begins or ends
    "link": r"^https?://",
    "image": r"(?i)\.(jpe?g|png|gif|webp|bmp|tiff?)$",
    "sound": r"(?i)\.(wav|mp3|flac|ogg|opus|aiff?)$",
    "video": r"(?i)\.(mp4|webm|mov)$",
}
SEVERAL = r"\S[|;]\s?\S|\S, \S"  # values in one cell: a|b, a; b and a, b
EARLIEST = 631_152_000_000  # 1990: integers that would be earlier moments are rather ids


@dataclass(frozen=True)
class Profile:
    """A column in numbers. Counts are of rows that hold something.

    Attributes:
        name: the column's.
        rows: all rows of its table.
        n: rows that hold something.
        distinct: different values.
        numeric: whether all are numbers; ``whole`` whether they are integers.
        low: the least number, ``high`` the greatest, ``common`` the most frequent; else 0.
        words: mean number of words (of each element, for lists); ``letters`` likewise.
        several: whether most hold several values, in a list or between | or commas.
        moments: "1997-09-20 to 1998-04-22" where nearly all are times.
        files: "link", "image", "sound" or "video" where they name such; else None.
        labels: whether they are train, validation, test.
    """

    name: str
    rows: int
    n: int
    distinct: int
    numeric: bool
    whole: bool
    low: float
    high: float
    common: float
    words: float
    letters: float
    several: bool
    moments: str | None
    files: str | None
    labels: bool

    @property
    def is_key(self) -> bool:
        """Whether every row has its own value."""
        return self.n == self.rows == self.distinct > 0 and not self.is_fractional

    @property
    def is_fractional(self) -> bool:
        """Whether it holds numbers that are not whole."""
        return self.numeric and not self.whole

    @property
    def may_be_id(self) -> bool:
        """Whether it may say whose a row is, or of what: short, not fractional, repeated."""
        short = self.words <= 3 and self.letters <= 64 and not self.several
        return short and not self.is_fractional and 2 <= self.distinct < max(self.n, 3)

    @property
    def is_scale(self) -> bool:
        """Whether its numbers are a few steps such as 1 to 5, or counts that begin at 1."""
        steps = self.numeric and 2 <= self.distinct <= 20 and self.low >= 0 and self.high <= 10
        counts = self.whole and self.low == self.common == 1 and self.distinct > 2
        return steps or counts


def called(name: str, kind: str) -> bool:
    """Whether a name is one that columns or files of a kind have: user, item, time, weight, log."""
    spaced = re.sub(r"(?<=[a-zäöüß])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_\d]+", spaced.lower()) if word]
    known = NAMES[kind].split()
    return any(w == k or (len(k) > 3 and w.startswith(k)) for w in words for k in known)


def profile(name: str, column: Any) -> Profile:
    """Look at a column of a table (Arrow array)."""
    raw = column.filter(pc.is_valid(column))
    is_list = pa.types.is_list(column.type)
    text = as_text(raw)
    text = text.filter(pa.array(~is_missing(text)))
    n = len(text)
    decimal = with_points(pc.utf8_trim_whitespace(text))
    counts = _by_frequency(text)
    numbers = as_numbers(decimal)
    numeric = n > 0 and bool(np.isfinite(numbers).all())
    mean = _mean_of(text)
    words = mean(lambda t: pc.list_value_length(pc.utf8_split_whitespace(t)))
    split = mean(lambda t: pc.match_substring_regex(t, SEVERAL)) > 0.5 and words < 12  # no prose
    return Profile(
        name=name,
        rows=len(column),
        n=n,
        distinct=len(counts),
        numeric=numeric,
        whole=numeric and bool((numbers == np.floor(numbers)).all()),
        low=float(numbers.min()) if numeric else 0.0,
        high=float(numbers.max()) if numeric else 0.0,
        common=float(_by_frequency(decimal)[0]) if numeric else 0.0,
        words=words,
        letters=mean(pc.utf8_length),
        several=is_list or split,
        moments=_moments(raw, numeric),
        files=next(
            (
                kind
                for kind, pattern in FILES.items()
                if mean(partial(pc.match_substring_regex, pattern=pattern)) > 0.5
            ),
            None,
        ),
        labels={"train", "test"} <= {value.strip().lower() for value in counts[:9]}
        and len(counts) <= len(LABEL_WORDS),
    )


def _by_frequency(text: Any) -> list[str]:
    """The different strings, the most frequent first."""
    counts = pc.value_counts(text).flatten()
    order = np.argsort(-counts[1].to_numpy(), kind="stable")
    values: list[str] = counts[0].take(pa.array(order)).to_pylist()
    return values


def _mean_of(text: Any) -> Callable[[Callable[[Any], Any]], float]:
    def mean(function: Callable[[Any], Any]) -> float:
        return float(pc.mean(pc.cast(function(text), pa.float64())).as_py() or 0.0)

    return mean


def _moments(column: Any, numeric: bool) -> str | None:
    """The span of a column of times; integers count from 1990 on, for ids are often smaller."""
    if pa.types.is_nested(column.type) or len(column) == 0:
        return None
    times = parse_times(column, int(time.time() * 1000))
    bad = np.logical_or.reduce(list(times.bad.values()))
    good = times.values[~bad]
    if times.kind != "timestamp" or bad.mean() > 0.05:
        return None
    if numeric and np.quantile(good, 0.01) < EARLIEST:
        return None
    first, last = np.array([good.min(), good.max()], "datetime64[ms]").astype("datetime64[D]")
    return f"{first} to {last}"
