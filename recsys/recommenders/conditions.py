"""What a condition can say of a table's rows: that it holds, that it does not, or neither.

Neither is Kleene's third truth value, as in SQL: what is not known stays unknown under ``not``.
"""

import operator
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.errors import ConfigError
from recsys.recommenders.cells import Bools, Cells

__all__ = [
    "Compared",
    "Condition",
    "Constant",
    "Truth",
    "all_of",
    "any_of",
    "carries",
    "compared_with",
    "flag",
    "missing",
    "negated",
    "one_of",
]

Constant = str | int | float | bool
Compared = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Truth:
    """Where a condition holds and where it does not, ``(n,)`` each; neither: it is not known."""

    yes: Bools
    no: Bools

    @classmethod
    def of(cls, yes: Bools, there: Bools) -> Self:
        """Of a comparison that is known where there is something to compare."""
        return cls(yes & there, ~yes & there)


Condition = Callable[[Cells], Truth]


def all_of(parts: Sequence[Condition]) -> Condition:
    """Where every part holds; at least one part."""

    def condition(cells: Cells) -> Truth:
        found = [part(cells) for part in parts]
        yes = np.logical_and.reduce([one.yes for one in found])
        return Truth(yes, np.logical_or.reduce([one.no for one in found]))

    return parts[0] if len(parts) == 1 else condition


def any_of(parts: Sequence[Condition]) -> Condition:
    """Where some part holds; at least one part."""

    def condition(cells: Cells) -> Truth:
        found = [part(cells) for part in parts]
        yes = np.logical_or.reduce([one.yes for one in found])
        return Truth(yes, np.logical_and.reduce([one.no for one in found]))

    return condition


def negated(part: Condition) -> Condition:
    """Where a part is known not to hold."""

    def condition(cells: Cells) -> Truth:
        found = part(cells)
        return Truth(found.no, found.yes)

    return condition


def flag(column: str) -> Condition:
    """Where a column of true and false is true."""
    return lambda cells: Truth.of(*cells.flags(column))


def missing(column: str, *, wanted: bool) -> Condition:
    """Where a cell holds nothing, or with ``wanted=False`` something; always known."""

    def condition(cells: Cells) -> Truth:
        is_list = cells.kind(column) == "lists"
        there = cells.labels(column).there if is_list else cells.texts(column).codes >= 0
        return Truth(~there, there) if wanted else Truth(there, ~there)

    return condition


def compared_with(column: str, compared: Compared, value: Constant) -> Condition:
    """Where a column compares so with a value: as flags, numbers, dates or texts, as that wants."""

    def condition(cells: Cells) -> Truth:
        ordered = compared not in (operator.eq, operator.ne)
        if isinstance(value, bool):
            if ordered:
                raise ConfigError(f"{column!r} is compared with {value}: only by == and !=")
            return _of_values(cells.flags(column), compared, value)
        if not isinstance(value, str):
            return _of_values(cells.numbers(column), compared, value)
        kind = cells.kind(column)
        if kind in ("numbers", "flags"):
            raise ConfigError(f"column {column!r} holds {kind}, compared with the text {value!r}")
        if ordered or kind == "moments":
            return _of_values(cells.moments(column), compared, _moment(value))
        codes, texts = cells.texts(column)
        yes = np.append(compared(texts.to_numpy(), value.strip()), False).astype(bool)
        return Truth.of(yes[codes], codes >= 0)

    return condition


def _of_values(found: tuple[NDArray[Any], Bools], compared: Compared, value: Constant) -> Truth:
    return Truth.of(compared(found[0], value), found[1])


def one_of(column: str, values: Sequence[Constant]) -> Condition:
    """``column == a or column == b ...``, at once for texts and numbers."""
    if not values:
        raise ConfigError(f"{column} in []: expected values")

    def condition(cells: Cells) -> Truth:
        texts = [value.strip() for value in values if isinstance(value, str)]
        numbers = [v for v in values if not isinstance(v, str | bool)]
        kind = cells.kind(column)
        if len(texts) == len(values) and kind == "text":
            codes, known = cells.texts(column)
            return Truth.of(np.append(known.isin(texts), False)[codes], codes >= 0)
        if len(numbers) == len(values):
            found = cells.numbers(column)
            return Truth.of(np.isin(found.values, numbers), found.there)
        return any_of([compared_with(column, operator.eq, value) for value in values])(cells)

    return condition


def carries(column: str, value: Constant) -> Condition:
    """Whether a cell's labels have one that is just this."""
    if isinstance(value, bool):
        raise ConfigError(f"{value} in {column}: expected a label")

    def condition(cells: Cells) -> Truth:
        kind = cells.kind(column)
        if kind not in ("text", "lists"):  # 1995 beside a missing number is 1995.0
            raise ConfigError(f"column {column!r} holds {kind}, no labels; compare it by ==")
        rows, codes, texts, there = cells.labels(column)
        wanted = texts.get_indexer(pd.Index([str(value).strip()], dtype=object))[0]
        yes = np.zeros(len(cells), dtype=bool)
        if wanted >= 0:
            yes[rows[codes == wanted]] = True
        return Truth.of(yes, there)

    return condition


def _moment(text: str) -> int:
    """Microseconds since 1970; "now" and "10:30" are no moments: they are others tomorrow."""
    read = pd.DatetimeIndex([pd.NaT])
    if re.search(r"(?<![\d:.])\d{4}", text):  # a year
        with suppress(ValueError, OverflowError, TypeError):
            read = pd.to_datetime([text], format="mixed", utc=True, errors="coerce")
    if read.isna()[0]:
        raise ConfigError(f"{text[:40]!r} is no date; expected such as '1995-12-31'")
    return int(read.as_unit("us").asi8[0])
