"""Ids become numbers and come back, whatever they are."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.ids import FEW, ItemIds, UserIds, parse_ids
from recsys.errors import DataError

INT64_MAX = 2**63 - 1


def test_a_column_of_integers_is_integers() -> None:
    ids = parse_ids(pd.Series(["30", "7", "-12"]))
    assert ids.dtype == np.int64
    assert ids.tolist() == [30, 7, -12]


@pytest.mark.parametrize("odd", ["007", "+7", "7.0", "", "x", " 7", "-0", str(2**63), "1" * 30])
def test_one_id_that_does_not_print_back_makes_all_text(odd: str) -> None:
    assert parse_ids(pd.Series(["30", odd])).tolist() == ["30", odd]


@pytest.mark.parametrize("integer", [INT64_MAX, -(2**63), 10**18, 2**53 + 1])
def test_all_of_64_bits_are_kept(integer: int) -> None:
    assert parse_ids(pd.Series([str(integer), "5"])).tolist() == [integer, 5]
    assert parse_ids(pd.Series([integer, 5])).tolist() == [integer, 5]


def test_unsigned_integers_beyond_64_bits_are_text() -> None:
    column = pd.Series(np.array([2**64 - 1, 3], dtype=np.uint64))
    assert parse_ids(column).tolist() == [str(2**64 - 1), "3"]


def test_integers_sort_as_integers_and_text_as_text() -> None:
    assert ItemIds.of(np.array([10, 9, 100])).values.tolist() == [9, 10, 100]
    assert ItemIds.of(np.array(["10", "9", "100"], dtype=object)).values.tolist() == [
        "10",
        "100",
        "9",
    ]


def test_a_text_column_makes_the_integers_of_another_text() -> None:
    ids = ItemIds.of(np.array([9, 30]), np.array(["a", "30"], dtype=object))
    assert ids.values.tolist() == ["30", "9", "a"]


@given(st.lists(st.one_of(st.integers(-(2**63), INT64_MAX).map(str), st.text()), min_size=1))
def test_ids_come_back(column: list[str]) -> None:
    ids = UserIds.of(parse_ids(pd.Series(column, dtype=object)))
    numbers = ids.numbers(column)
    assert list(map(str, ids.ids(numbers).tolist())) == column
    assert sorted(set(numbers.tolist())) == list(range(len(ids)))  # every id is used
    assert (ids.find(ids.values) == np.arange(len(ids))).all()


def test_find_takes_an_integer_and_its_print_for_the_same() -> None:
    ids = UserIds.of(np.array([7, 12, INT64_MAX]))
    asked = [7, "7", np.int32(12), str(INT64_MAX), "007", 7.5, 2**63, 10**30, "x", None]
    assert ids.find(asked).tolist() == [0, 0, 1, 2, -1, -1, -1, -1, -1, -1]
    assert ids.find(np.array([12, 8])).tolist() == [1, -1]
    assert ids.find([]).tolist() == []
    text = UserIds.of(np.array(["7", "seven"], dtype=object))
    assert text.find([7, "7", "seven", "eight"]).tolist() == [0, 0, 1, -1]


@given(
    st.lists(st.one_of(st.integers(-(2**63), INT64_MAX).map(str), st.text(max_size=3)), min_size=1),
    st.lists(st.one_of(st.integers(-(2**65), 2**65), st.text(max_size=3), st.booleans())),
)
def test_few_ids_are_found_as_many_are(column: list[str], others: list[object]) -> None:
    ids = UserIds.of(parse_ids(pd.Series(column, dtype=object)))
    for one in [*column, *others]:
        assert ids.find([one]).tolist() == ids.find([one] * (FEW + 1)).tolist()[:1]


def test_one_id_is_found_without_touching_all() -> None:
    ids = UserIds.of(np.array([f"u{n}" for n in range(50_000)], dtype=object))
    ids.find(["u7"])  # what is made once
    started = time.perf_counter()
    for _ in range(100):
        ids.find(["u7"])
    assert time.perf_counter() - started < 0.1  # 10 ms and more for each, when all were converted


def test_an_unknown_id_is_named() -> None:
    with pytest.raises(DataError, match=r"2 unknown user ids, first: '8'; known are 2 such as '7'"):
        UserIds.of(np.array([7, 9])).numbers([7, np.int64(8), "x"])
    with pytest.raises(DataError, match="known are 0"):
        UserIds.of(np.array([], dtype=np.int64)).numbers([7])


def test_numbers_are_checked() -> None:
    ids = ItemIds.of(np.array([7, 9]))
    assert ids.ids(np.array([[1, 0], [0, 0]])).tolist() == [[9, 7], [7, 7]]
    for outside in (-1, 2):
        with pytest.raises(DataError, match=r"item id numbers must be in 0\.\.1"):
            ids.ids(np.array([0, outside]))
    with pytest.raises(DataError, match="sorted and distinct"):
        ItemIds(np.array([9, 7]))


def test_the_digest_tells_ids_apart() -> None:
    assert ItemIds.of(np.array([7, 9])).digest == ItemIds.of(np.array([9, 7, 7])).digest
    assert ItemIds.of(np.array([7, 9])).digest != ItemIds.of(np.array([7, 8])).digest


def test_more_ids_keep_the_numbers_of_those_before() -> None:
    ids = ItemIds.of(np.array([30, 10, 20]))
    more = ids.with_more(["5", 40]).with_more([1])
    assert more.values.tolist() == [10, 20, 30, 5, 40, 1] and more.appended == 3
    assert more.find([10, "5", 1, 7]).tolist() == [0, 3, 5, -1]
    assert more.digest != ids.digest == ItemIds(more.values[:3]).digest
    texts = ItemIds.of(np.array(["b", "a"], dtype=object)).with_more([7])
    assert texts.values.tolist() == ["a", "b", "7"]
    with pytest.raises(DataError, match="must be distinct"):
        ids.with_more([20])
    with pytest.raises(DataError, match="item id 'x' is no integer, as the 3 known are"):
        ids.with_more([7, "x"])
    with pytest.raises(DataError, match="sorted and distinct"):
        ItemIds(np.array([2, 1, 3]), appended=1)
