import numpy as np
import pandas as pd
import pytest

from recsys.content.columns import labels, number_rows, texts
from recsys.errors import DataError


def test_texts_join_what_is_there() -> None:
    catalogue = pd.DataFrame(
        {
            "title": ["Heat", None, "  ", np.nan],
            "year": [1995.0, np.nan, 2.5, np.nan],
            "genres": [["Action", None, "Crime"], [], None, None],
            "tags": ["robbery|police", "quiet", "", None],
        }
    )
    assert texts(catalogue) == [
        "Heat. 1995. Action, Crime. robbery, police",
        "quiet",
        "2.5",
        None,
    ]


def test_texts_follow_the_order_of_the_columns() -> None:
    catalogue = pd.DataFrame({"a": ["x"], "b": ["y"]})
    assert texts(catalogue[["b", "a"]]) == ["y. x"]


def test_whole_years_and_dates_read_naturally() -> None:
    catalogue = pd.DataFrame({"year": [1995, 2001], "day": [pd.Timestamp("1995-12-15"), pd.NaT]})
    assert texts(catalogue) == ["1995. 1995-12-15", "2001"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Drama|War", "War", None, " | "], [("Drama", "War"), ("War",), (), ()]),
        (["Drama; War", "War"], [("Drama", "War"), ("War",)]),
        (["Drama, War", "War"], [("Drama", "War"), ("War",)]),
        # a comma inside labels that "|" delimits is a part of the label
        (["Rock, Indie|Folk", "Folk, Indie"], [("Rock, Indie", "Folk"), ("Folk, Indie",)]),
        (["blue", "red"], [("blue",), ("red",)]),
        ([["b", "a"], [], None], [("b", "a"), (), ()]),
        ([7.0, np.nan], [("7",), ()]),
    ],
)
def test_labels_of_a_cell(cells: list[object], expected: list[tuple[str, ...]]) -> None:
    assert labels(pd.DataFrame({"genre": cells})) == expected


def test_a_rare_comma_is_no_delimiter() -> None:
    cells = ["Smith and Sons"] * 39 + ["Jones, Inc."]
    assert labels(pd.DataFrame({"brand": cells}))[-1] == ("Jones, Inc.",)


def test_labels_of_several_columns_are_kept_apart() -> None:
    catalogue = pd.DataFrame({"front": ["red", "blue"], "back": ["blue", None]})
    assert labels(catalogue) == [("front=red", "back=blue"), ("front=blue",)]


def test_number_rows_mark_what_is_missing() -> None:
    catalogue = pd.DataFrame({"year": ["1995", "soon", None], "price": [1.5, np.inf, np.nan]})
    rows = np.array(number_rows(catalogue))
    np.testing.assert_array_equal(rows, [[1995, 1.5], [np.nan, np.nan], [np.nan, np.nan]])


def test_missing_dates_are_missing_numbers() -> None:
    catalogue = pd.DataFrame({"day": [pd.Timestamp("1995-12-15"), pd.NaT]})
    (first,), (second,) = number_rows(catalogue)
    assert np.isfinite(first) and np.isnan(second)


def test_a_column_of_words_is_refused_as_numbers() -> None:
    with pytest.raises(DataError, match="'colour' has no numbers, its first cell is 'red'"):
        number_rows(pd.DataFrame({"colour": [None, "red"]}))


def test_decimal_commas_are_numbers_and_no_dates() -> None:
    prices = pd.DataFrame({"price": ["47,28", "8,56", None, " 4,0", "12"]})
    rows = [row[0] for row in number_rows(prices)]
    assert rows[:2] == [47.28, 8.56] and np.isnan(rows[2]) and rows[3:] == [4.0, 12.0]
