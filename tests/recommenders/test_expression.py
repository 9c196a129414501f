"""Conditions over a table: the same as a plain loop with three truth values says, or one line."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.errors import ConfigError
from recsys.recommenders.cells import Cells
from recsys.recommenders.expression import LONGEST, Expression

FRAME = pd.DataFrame(
    {
        "price": [10.0, 25.0, None, 5.5, 20.0],
        "stars": ["1", "2", "", "3", "2"],
        "in_stock": ["True", "false", None, "yes", "0"],
        "new": [True, False, True, False, True],
        "maybe": pd.Series([True, None, False, True, None], dtype=object),
        "genres": ["Drama|Comedy", "Comedy", "", "Drama", " Horror | Drama "],
        "tags": pd.Series([["a", "b"], [], None, ["b"], ["c"]], dtype=object),
        "rating": ["R", "PG", None, "R", " G "],
        "release": ["01-Jan-1995", "1996-02-01", None, "2001-01-01", "1996-02-01"],
        "seen": pd.to_datetime(["1995-01-01", "", "2001-01-01", "2002-01-01", "1990-05-05"]),
        "two words": pd.array([1, 2, None, 4, 5], dtype="Int64"),
    }
)
CELLS = Cells(FRAME, "catalogue")


def holds(text: str) -> list[int]:
    return np.flatnonzero(Expression.parse(text).holds(CELLS)).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("price < 20", [0, 3]),
        ("20 > price", [0, 3]),
        ("not price < 20", [1, 4]),  # what is not known does not become true
        ("price is None or not price < 20", [1, 2, 4]),
        ("10 <= price < 20.5", [0, 4]),
        ("price == -1 or new == True", [0, 2, 4]),
        ("stars >= 2", [1, 3, 4]),
        ("stars in [1, 3]", [0, 3]),
        ("in_stock", [0, 3]),
        ("not in_stock", [1, 4]),
        ("in_stock != True", [1, 4]),
        ("maybe is not None and not maybe", [2]),
        ("'Drama' in genres", [0, 3, 4]),  # a whole label, trimmed, not a piece of text
        ("'Dram' in genres", []),
        ("'Drama' not in genres", [1]),
        ("'b' in tags", [0, 3]),
        ("tags is None", [1, 2]),
        ("rating in ['R', 'G']", [0, 3, 4]),
        ("rating not in ['R']", [1, 4]),
        ("rating != 'R'", [1, 4]),
        ("rating != '#'", [0, 1, 3, 4]),
        ("release >= '1996-02-01'", [1, 3, 4]),
        ("'2000' > release", [0, 1, 4]),
        ("seen < '2001-06-01' and seen != '1995-01-01'", [2, 4]),
        ("seen in ['1995-01-01', '2002-01-01']", [0, 3]),
        ("`two words` > 1 and\n  `two words` != 4", [1, 4]),
        ("rating == '`two words`' or new", [0, 2, 4]),
    ],
)
def test_what_holds(text: str, rows: list[int]) -> None:
    assert holds(text) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prize < 3 and new", r"prize < 3 and new: the catalogue has no column 'prize'; it has: "),
        ("price.x", r"price\.x is not understood"),
        ("price < 'a'", r"column 'price' holds numbers, compared with the text 'a'"),
        ("rating < 3", r"column 'rating' holds 'R'; expected numbers"),
        ("rating < 'a'", r"column 'rating' holds 'R'; expected dates"),
        ("release < 'now'", r"'now' is no date"),
        ("release < '10:30'", r"'10:30' is no date"),  # of which day?
        ("20 in price", r"'price' holds numbers, no labels"),
        ("new # and price < 20", r"# outside of quotes"),
        ("new # in the shop\nand price < 20", r"# outside of quotes"),
        ("price", r"column 'price' holds 10\.0; expected true and false"),
        ("tags == 'a'", r"column 'tags' holds lists; write 'label' in tags"),
        ("new and (f(price) or new)", r"f\(price\) is not understood"),
        ("new and price + 1 < 3", r"price \+ 1 is not understood"),
        ("price < 3 3", r"cannot be read at letter 11"),
        ("price <", r"cannot be read at letter 7"),
        ("1 < 2", "expected a column on one side"),
        ("new > True", "only by == and !="),
        ("price == None", "compare with None by `is None`"),
        ("price in []", "expected values"),
        ("price < " + "9" * 400, "beyond 1e300"),
        ("not " * 30 + "new", "at most 50 conditions, 20 deep"),
        (" or ".join(["new"] * 60), "at most 50 conditions"),
        ("x" * (LONGEST + 1), "1,001 letters long"),
        ("", "an empty expression"),
        ("a\0b", "cannot be read"),
        ("\ud800", "cannot be read"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        holds(text)
    assert "\n" not in str(caught.value)


LEAVES: list[tuple[str, str, Callable[[Any], bool]]] = [
    ("price < 12", "price", lambda cell: cell < 12),
    ("20 <= price", "price", lambda cell: cell >= 20),
    ("new", "new", bool),
    ("maybe", "maybe", bool),
    ("rating == 'R'", "rating", lambda cell: cell == "R"),
    ("rating in ('PG', 'X')", "rating", lambda cell: cell in ("PG", "X")),
    ("`two words` != 2", "two words", lambda cell: cell != 2),
    ("'Drama' in genres", "genres", lambda cell: "Drama" in [s.strip() for s in cell.split("|")]),
]


def _condition(dice: random.Random, deep: int) -> tuple[str, Callable[[Any], bool | None]]:
    """A random condition, and what it says of one row by a plain walk: None is not known."""
    kind = dice.choice(["leaf", "not", "and", "or"]) if deep else "leaf"
    if kind == "leaf":
        text, column, check = dice.choice(LEAVES)

        def leaf(row: Any) -> bool | None:
            cell = row[column]
            return None if pd.isna(cell) or cell == "" else check(cell)

        return text, leaf
    first_text, first = _condition(dice, deep - 1)
    if kind == "not":

        def negation(row: Any) -> bool | None:
            found = first(row)
            return None if found is None else not found

        return f"not ({first_text})", negation
    second_text, second = _condition(dice, deep - 1)
    stop = kind == "or"

    def both(row: Any) -> bool | None:
        found = (first(row), second(row))
        return stop if stop in found else None if None in found else not stop

    return f"({first_text}) {kind} ({second_text})", both


def test_nested_conditions_are_what_a_loop_over_the_rows_says() -> None:
    dice = random.Random(0)  # noqa: S311
    seen = set()
    for _ in range(300):
        text, check = _condition(dice, 4)
        expected = [row for row in range(len(FRAME)) if check(FRAME.iloc[row])]
        assert holds(text) == expected, text
        seen.add(tuple(expected))
    assert len(seen) > 8, "the conditions differ"


def test_noise_is_refused_by_one_kind_of_error_and_never_runs() -> None:
    dice = random.Random(1)  # noqa: S311
    words = [*"()[]{},.`'\"<>=!\\:@#*+-~", "price", "new", "tags", "genres", "seen", "rating", "in"]
    words += ["not", "and", "or", "is", "None", "True", "1e999", "-3", "'x'", "'1995'", "lambda"]
    words += ["__import__('os')", "f''", "\n", "\t", "é", "b'1'", "1_000", "9" * 30, "\\ud800", " "]
    held = 0
    for _ in range(3_000):
        text = " ".join(dice.choices(words, k=dice.randint(1, 6)))
        try:
            held += Expression.parse(text).holds(CELLS).dtype == bool
        except ConfigError:
            continue
    assert held > 5, "some of it means something"


def test_somebody_who_is_in_no_table_is_read_as_the_table_is() -> None:
    users = Cells(pd.DataFrame({"age": [20, 30], "likes": ["a;b", "c"]}), "users' table")
    told = users.like({"age": "15", "likes": "a;b"}, ["age", "likes"])
    for text, expected in (("age < 18", True), ("'b' in likes", True), ("'c' in likes", False)):
        assert Expression.parse(text).holds(told).tolist() == [expected]
    nothing = users.like({}, ["age"])
    assert not Expression.parse("age < 18 or not age < 18").holds(nothing).any()
    with pytest.raises(ConfigError, match="column 'age' holds 'old'; expected numbers"):
        Expression.parse("age < 18").holds(users.like({"age": "old"}, ["age"]))


def test_a_column_that_holds_no_dates_is_not_read_to_its_end_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    to_datetime = pd.to_datetime

    def counted(texts: Any, **options: Any) -> Any:
        read.append(len(texts))
        return to_datetime(texts, **options)

    monkeypatch.setattr(pd, "to_datetime", counted)
    many = Cells(pd.DataFrame({"title": [f"Film {n}" for n in range(1_000)]}), "catalogue")
    for _ in range(3):
        with pytest.raises(ConfigError, match="'title' holds 'Film 0'; expected dates"):
            Expression.parse("title > '1995-01-01'").holds(many)
    assert read == [100]  # of 1,000, once


def test_columns_are_named_once_and_a_table_may_be_empty() -> None:
    found = Expression.parse("price < 3 or `two words` > 1 or operator == 'a' or price > 9")
    assert found.columns == ("price", "two words", "operator")
    empty = Cells(FRAME.iloc[:0], "catalogue")
    for text in ("price < 3", "new", "in_stock", "'a' in tags", "rating == 'R'", "seen < '2000'"):
        assert Expression.parse(text).holds(empty).tolist() == []
