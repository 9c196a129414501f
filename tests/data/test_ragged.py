"""Rows of different lengths, against plain lists."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.ragged import Ragged

Rows = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


def lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[n].tolist() for n in range(len(ragged))]


@given(Rows, st.data())
def test_take_last_and_lengths_are_those_of_lists(
    rows: list[list[int]], data: st.DataObject
) -> None:
    ragged = Ragged.of(rows)
    assert lists(ragged) == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.row_numbers.tolist() == [n for n, row in enumerate(rows) for _ in row]
    n = data.draw(st.integers(1, 7))
    assert lists(ragged.last(n)) == [row[-n:] for row in rows]
    taken = data.draw(st.lists(st.integers(-1, len(rows) - 1), max_size=10))
    expected = [rows[row] if row >= 0 else [] for row in taken]
    assert lists(ragged.take(np.array(taken, dtype=np.int64))) == expected


@given(Rows, st.data())
def test_every_value_keeps_its_time(rows: list[list[int]], data: st.DataObject) -> None:
    """Here a value's time is a thousand times its place in the whole."""
    ragged = Ragged.of(rows)
    places = np.arange(len(ragged.values))
    timed = replace(ragged, times=1000 * places)
    taken = np.array(data.draw(st.lists(st.integers(-1, len(rows) - 1))), dtype=np.int64)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places))))
    whole = np.array([0, int(kept.sum())])
    for found in (timed.take(taken), timed.last(2), timed.take(taken).last(1)):
        assert found.times is not None
        assert len(found.times) == len(found.values)
        assert (ragged.values[found.times // 1000] == found.values).all()
    found = timed.at(whole, kept.astype(np.bool_))
    assert found.times is not None
    assert (found.times == 1000 * places[kept.astype(np.bool_)]).all()
    assert ragged.take(taken).times is None
    assert timed.beside(ragged).times is None, "not known of all"


def test_as_many_times_as_values() -> None:
    for times in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match=f"{len(times)} times of 2 values"):
            replace(Ragged.of([[3], [4]]), times=np.array(times))


@given(Rows)
def test_matrix_counts_a_value_once_and_leaves_the_rows_alone(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    expected = np.zeros((len(rows), 10))
    for number, row in enumerate(rows):
        expected[number, row] = 1.0
    if rows:
        assert (ragged.matrix(10).toarray() == expected).all()
    assert lists(ragged) == rows  # a history must keep its order


@given(st.lists(st.tuples(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))))
def test_beside_joins_row_by_row(pairs: list[tuple[list[int], list[int]]]) -> None:
    left, right = Ragged.of([one for one, _ in pairs]), Ragged.of([other for _, other in pairs])
    assert lists(left.beside(right)) == [one + other for one, other in pairs]


def test_a_row_that_is_not_there_is_an_error() -> None:
    for ragged in (Ragged.of([]), Ragged.of([[3, 4], [5]])):
        with pytest.raises(IndexError, match="rows must be in"):
            ragged.take(np.array([len(ragged)]))


def test_the_arrays_must_belong_together() -> None:
    values = np.array([3, 4, 5], dtype=np.int32)
    for indptr in ([0, 2], [1, 3], [0, 3, 2, 3]):
        with pytest.raises(ValueError, match="indptr"):
            Ragged(np.array(indptr), values)


@given(Rows)
def test_where_drops_values_and_keeps_rows(rows: list[list[int]]) -> None:
    ragged = Ragged.of(rows)
    kept = ragged.where(ragged.values % 2 == 0)
    assert lists(kept) == [[value for value in row if value % 2 == 0] for row in rows]
