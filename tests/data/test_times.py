"""Time columns of every kind, to the millisecond."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.times import DAY, Times, parse_times

NOW = 1_700_000_000_000  # 2023-11-14
MOMENT = 1_260_759_144_123  # 2009-12-14T02:52:24.123Z
SECOND = MOMENT // 1000


def parsed(values: Any, kind: Any = None) -> Times:
    return parse_times(pa.array(values, kind), NOW)


def bad(times: Times) -> dict[str, list[int]]:
    return {
        reason: np.flatnonzero(mask).tolist() for reason, mask in times.bad.items() if any(mask)
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([SECOND, SECOND + 1], SECOND * 1000),
        ([MOMENT, MOMENT + 1], MOMENT),
        ([MOMENT * 1000 + 999, MOMENT * 1000 + 1], MOMENT),
        ([MOMENT * 1_000_000 + 999_999, MOMENT * 1_000_000], MOMENT),
        ([MOMENT / 1000, SECOND], MOMENT),
        (["2009-12-14T02:52:24.123Z", "2009-12-14 02:52:24"], MOMENT),
        (["2009-12-14T04:52:24.123456+02:00", "2009-12-14"], MOMENT),
        (["2009-12-14 02:52:24.123 UTC", "2009-12-14"], MOMENT),
        (["14.12.2009 02:52:24.123", "1.2.2009"], MOMENT),
        (["20091214025224", "20091214"], SECOND * 1000),
    ],
)
def test_the_same_moment_in_many_forms(values: list[Any], expected: int) -> None:
    times = parsed(values)
    assert times.kind == "timestamp"
    assert times.values[0] == expected
    assert bad(times) == {}
    if not isinstance(values[0], str):  # as text files hold them
        as_text = parsed([str(value) for value in values])
        assert (as_text.values == times.values).all()


def test_typed_moments() -> None:
    moment = datetime(2009, 12, 14, 2, 52, 24, 123000)
    for value in (moment, moment.replace(tzinfo=UTC)):
        assert parsed([value, None]).values.tolist() == [MOMENT, 0]
    east = moment.replace(tzinfo=timezone(timedelta(hours=2)))
    assert parsed([east]).values.tolist() == [MOMENT - 7_200_000]
    assert parsed([date(1970, 1, 3)]).values.tolist() == [2 * DAY]
    nanoseconds = pa.array([MOMENT * 1_000_000 + 5], pa.timestamp("ns"))
    assert parse_times(nanoseconds, NOW).values.tolist() == [MOMENT]
    assert bad(parsed([moment, None])) == {"empty time": [1]}


def test_integers_are_exact_where_floats_are_not() -> None:
    nanoseconds = [MOMENT * 1_000_000 + step * 1_000_000 for step in range(50)]
    assert parsed(nanoseconds).values.tolist() == [MOMENT + step for step in range(50)]


def test_small_integers_are_an_order() -> None:
    times = parsed(["3", "0", "", "2.5", "x"])
    assert times.kind == "order"
    assert times.values.tolist()[:2] == [3, 0]
    assert bad(times) == {"empty time": [2], "unreadable time": [3, 4]}
    assert parsed([2.0, None, 1.0]).values.tolist() == [2, 0, 1]  # as pandas writes gaps


def test_rows_without_a_usable_time_are_told_apart() -> None:
    times = parsed([str(SECOND), None, "nan", "soon", "9" * 25, str(NOW // 1000 + 2 * 86_400)])
    assert bad(times) == {
        "empty time": [1, 2],
        "unreadable time": [3],
        "time in the future": [4, 5],
    }
    iso = parsed(["2009-12-14", "", "12/31/2009", "2023-11-16", "2199-12-31"])
    assert bad(iso) == {
        "empty time": [1],
        "unreadable time": [2],
        "time in the future": [3, 4],
    }
    assert iso.values[1:].tolist() == [0, 0, 0, 0]


def test_the_future_begins_a_day_from_now() -> None:
    times = parsed([NOW + DAY, NOW + DAY + 1])
    assert bad(times) == {"time in the future": [1]}
    assert times.values.tolist() == [NOW + DAY, 0]


def test_one_wild_number_does_not_change_the_unit() -> None:
    times = parsed([SECOND, SECOND + 5, 10**18])
    assert times.values[:2].tolist() == [SECOND * 1000, (SECOND + 5) * 1000]
    assert bad(times) == {"time in the future": [2]}
    assert parsed([SECOND, 10**18]).values.tolist() == [SECOND * 1000, 0]
    assert bad(parsed([SECOND, SECOND, -(10**18)])) == {"unreadable time": [2]}


def test_a_column_of_nothing() -> None:
    assert bad(parsed([None, None], pa.string())) == {"empty time": [0, 1]}
    assert bad(parsed([True, False])) == {"unreadable time": [0, 1]}
