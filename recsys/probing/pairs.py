"""Do cosines of pairs of texts rank as people rank them?"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from recsys.content.encoder import Encoder
from recsys.errors import DataError
from recsys.probing.figures import Figure, bootstrap, ratio

__all__ = ["Pair", "cosines", "rank_correlation", "read_pairs", "sentence_similarity"]

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Two texts or words and how alike people find them."""

    a: str
    b: str
    score: float


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs: three columns, the two texts and the score, on any scale.

    A first row whose third cell is no number is a heading. Tables by tabs, in which quotation marks
    stand for themselves and lines that begin with "#" are comments, are the format of WordSim353
    (Finkelstein and others, 2002) and SimLex-999 (Hill and others, 2015) in gensim's test data.

    Args:
        path: csv, or with the suffix ``.tsv`` or ``.txt`` delimited by tabs.

    Raises:
        DataError: the file cannot be read or holds anything else.
    """
    delimiter = "\t" if path.suffix in (".tsv", ".txt") else ","
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        rows = list(_tab_rows(lines) if delimiter == "\t" else _comma_rows(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as pairs ({error})") from None
    pairs = []
    for place, (number, row) in enumerate(rows):
        score = _number(row[2]) if len(row) == 3 else None
        if score is not None:
            pairs.append(Pair(row[0], row[1], score))
        elif place or len(row) != 3:
            raise DataError(
                f"{path}: line {number}: {delimiter.join(row)[:80]!r} is {len(row)} cells by "
                f"{delimiter!r}, expected three: a text, a text and a number"
            )
    if not pairs:
        raise DataError(f"{path}: holds no pair, expected a text, a text and a number a line")
    return pairs


def sentence_similarity(
    encoder: Encoder[str | None], pairs: Sequence[Pair], *, seed: int = 0
) -> Figure | None:
    """Spearman's correlation of the cosines of sentences with people's scores.

    Pairs of which a sentence could not be encoded are left out; None where fewer than 2 are left.
    """
    ours, theirs = encoder.encode([p.a for p in pairs]), encoder.encode([p.b for p in pairs])
    there = ours.present & theirs.present
    scores = np.array([pair.score for pair in pairs])
    found = cosines(ours.vectors[there], theirs.vectors[there])
    return rank_correlation(found, scores[there], seed=seed)


def rank_correlation(ours: Floats, theirs: Floats, *, seed: int = 0) -> Figure | None:
    """Spearman's correlation of two columns ``(n,)`` with its interval over rows; chance is 0.

    Ranks are taken anew in every resample. None where a column does not vary.
    """
    n = len(ours)
    if n < 2 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    return bootstrap(
        lambda counts: _spearman(ours, theirs, counts), n, chance=0.0, seed=seed,
        within=(-1.0, 1.0),
    )  # fmt: skip


def cosines(ours: NDArray[Any], theirs: NDArray[Any]) -> Floats:
    """The cosine of each row with the other's ``(n, d)``, shape ``(n,)``; 0 for a row of zeros."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))


def _tab_rows(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the number of the line."""
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.split("\t")


def _comma_rows(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the number of their last line: a quoted cell may have more."""
    reader = csv.reader(f"{line}\n" for line in lines)
    return ((reader.line_num, row) for row in reader if any(row))


def _number(text: str) -> float | None:
    """A finite number, None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _spearman(ours: Floats, theirs: Floats, counts: Floats) -> Floats:
    """Of each row of counts ``(resamples, n)``."""
    which = np.repeat(np.tile(np.arange(len(ours)), len(counts)), counts.astype(int).ravel())
    drawn = which.reshape(len(counts), -1)  # every resample has n rows
    a, b = (rankdata(of[drawn], axis=1) for of in (ours, theirs))
    a, b = (of - of.mean(axis=1, keepdims=True) for of in (a, b))
    lengths = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    products = (a * b).sum(axis=1)
    return ratio(products, lengths)
