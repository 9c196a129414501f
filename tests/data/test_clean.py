"""Every row is kept, or rejected for the reason that the rules say."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config import DataConfig
from recsys.data.clean import Log, clean_log
from recsys.data.delimited import Malformed
from recsys.data.read import Table
from recsys.errors import ConfigError, DataError

NOW = 1_700_000_000_000
CONFIG = DataConfig(user="who", item="what")


def table(rows: list[tuple[Any, ...]], *names: str) -> Table:
    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    return Table.of("log.csv", pa.table(columns, names=["who", "what", *names]))


def cleaned(source: Table, label: str | None = None, **config: Any) -> Log:
    return clean_log(source, CONFIG.model_copy(update=config), label=label, now=NOW)


def kept(log: Log) -> list[tuple[str, str]]:
    users, items = log.users.values[log.users.numbers], log.items.values[log.items.numbers]
    return list(zip(users.tolist(), items.tolist(), strict=True))


def reasons(log: Log) -> dict[int, str]:
    return dict(zip(log.rejected["row"].tolist(), log.rejected["reason"].tolist(), strict=True))


GOOD = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b")]


@pytest.mark.parametrize("nothing", [None, "", "  ", "NaN", "nan", "NULL", "None", "<NA>"])
def test_empty_ids_are_rejected(nothing: str | None) -> None:
    log = cleaned(table([*GOOD, (nothing, "c"), ("u3", nothing)]))
    assert kept(log) == GOOD
    assert reasons(log) == {4: "empty user id", 5: "empty item id"}
    assert log.counts.rejected == {"empty user id": 1, "empty item id": 1}
    assert (log.counts.read, log.counts.kept) == (6, 4)
    assert set(log.users.values) == {"u1", "u2"}  # ids of rejected rows are not ids of the log


def test_ids_are_read_as_text_without_the_blanks_around() -> None:
    rows = [("007", " a"), ("7", "a"), (" 007", "b"), ("7", "b")]
    assert kept(cleaned(table(rows))) == [("007", "a"), ("7", "a"), ("007", "b"), ("7", "b")]


def test_big_integers_stay_exact_even_beside_gaps() -> None:
    rows = [(2**53 + 1, 1), (2**53, 1), (None, 1), (2**53, 2)]
    assert [user for user, _ in kept(cleaned(table(rows)))] == [str(2**53 + 1), *[str(2**53)] * 2]
    floats = [(5.0, 1), (7.0, 2), (float("nan"), 1)]  # how pandas writes integers with gaps
    assert kept(cleaned(table(floats))) == [("5", "1"), ("7", "2")]
    floats = [(1e15, 1), (7.0, 2), (float("nan"), 1)]
    assert kept(cleaned(table(floats)))[0] == ("1000000000000000", "1")


def test_times() -> None:
    stamps = ["1260759144", "", "later", "1260759145", "2000000000"]
    pairs = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b"), ("u3", "c")]
    rows = [(*pair, stamp) for pair, stamp in zip(pairs, stamps, strict=True)]
    log = cleaned(table(rows, "when"), time="when")
    assert log.times.tolist() == [1260759144000, 1260759145000]
    assert log.time_kind == "timestamp"
    assert reasons(log) == {1: "empty time", 2: "unreadable time", 4: "time in the future"}
    bare = cleaned(table(GOOD))
    assert bare.time_kind == "row"
    assert bare.times.tolist() == [0, 1, 2, 3]


def test_weights_and_threshold() -> None:
    stars = ["4.1", "4,5", "4.0999", "5e0", "", "NaN", "good", "inf", "1,000"]
    rows = [(f"u{n % 2}", f"i{n}", star) for n, star in enumerate(stars)]
    log = cleaned(table(rows, "stars"), weight="stars", positive_from=4.1)
    assert log.weights.tolist() == [np.float32(4.1), 4.5, 5.0]
    assert reasons(log) == {
        2: "weight below 4.1",
        **dict.fromkeys((4, 5), "empty weight"),
        **dict.fromkeys((6, 7, 8), "weight is not a number"),
    }
    assert log.rejected["stars"].tolist()[0] == "4.0999"  # as it came
    liked = cleaned(table([(*p, n != 1) for n, p in enumerate(GOOD)], "ok"), weight="ok")
    assert liked.weights.tolist() == [1, 0, 1, 1]
    with pytest.raises(ConfigError, match="positive_from needs weight = COLUMN"):
        cleaned(table(GOOD), positive_from=4)


def test_labels() -> None:
    words = ["train", " VALID", "val", "dev", "Validation", "test", "holdout", None]
    rows = [(f"u{n % 2}", f"i{n}", word) for n, word in enumerate(words)]
    log = cleaned(table(rows, "part"), label="part")
    assert log.labels is not None
    assert log.labels.tolist() == ["train", *["validation"] * 4, "test"]
    assert reasons(log) == dict.fromkeys((6, 7), "label is none of train, validation, test")


@pytest.mark.parametrize(
    ("rule", "row", "weight"), [("last", 4, 4.0), ("first", 1, 8.0), ("sum", 4, 15.0)]
)
def test_of_duplicates_one_row_stays(rule: Any, row: int, weight: float) -> None:
    """Latest time first, and of equal times the later row."""
    rows: list[tuple[Any, ...]] = [
        ("u1", "a", 30, 2),
        ("u1", "a", 10, 8),
        ("u2", "b", 5, 1),
        ("u1", "a", 10, 1),
    ]
    rows += [("u1", "a", 30, 4), ("u1", None, 40, 9)]
    log = cleaned(table(rows, "n", "w"), time="n", weight="w", duplicates=rule)
    stays = log.rows.tolist().index(row)
    assert sorted(log.rows.tolist()) == sorted([2, row])
    assert log.weights[stays] == weight
    assert log.counts.rejected == {"duplicate of user and item": 3, "empty item id": 1}


def test_duplicates_are_settled_before_the_threshold() -> None:
    """A last rating of 1 is not outvoted by an earlier 5; what is added up is then compared."""
    rows = [("u1", "a", 5), ("u1", "a", 1), ("u1", "b", 6), ("u2", "b", 6), ("u2", "a", 6)]
    last = cleaned(table(rows, "w"), weight="w", positive_from=4)
    assert reasons(last) == {0: "duplicate of user and item", 1: "weight below 4"}
    added = cleaned(table(rows, "w"), weight="w", positive_from=6, duplicates="sum")
    assert reasons(added) == {0: "duplicate of user and item"}


def test_the_core_is_cut_until_nothing_changes() -> None:
    square = [(user, item) for user in ("u1", "u2") for item in ("a", "b")]
    chain = [("u3", "a"), ("u3", "c"), ("u4", "c"), ("u4", "d")]  # d falls, then u4, c, u3
    log = cleaned(table([*square, *chain]), user_core=2, item_core=2)
    assert kept(log) == square
    assert reasons(log) == {
        4: "user with fewer than 2 rows",
        5: "item with fewer than 2 rows",
        6: "user with fewer than 2 rows",
        7: "item with fewer than 2 rows",
    }


Ids = st.sampled_from(["", "p", "q", "r", "s"])
RowsOfAll = st.lists(st.tuples(Ids, Ids, st.integers(0, 3), st.integers(1, 5)), max_size=40)


@settings(deadline=None)
@given(RowsOfAll, st.sampled_from(["last", "first", "sum"]), st.integers(1, 3), st.integers(1, 3))
def test_the_rules_against_plain_loops(
    rows: list[tuple[str, str, int, int]], rule: Any, user_core: int, item_core: int
) -> None:
    rows = [*rows, ("u", "v", 0, 9), ("u", "w", 0, 9), ("x", "v", 0, 9), ("x", "w", 0, 9)]
    rows = [*rows, ("u", "y", 0, 9), ("z", "v", 0, 9), ("x", "y", 0, 9), ("z", "w", 0, 9)]
    rows = [*rows, ("z", "y", 0, 9)]  # three users with three items: never nothing
    expected: dict[tuple[str, str], list[float]] = {}
    order = sorted(range(len(rows)), key=lambda n: (rows[n][2], n))
    for n in order:
        user, item, time, weight = rows[n]
        if user and item:
            had = expected.get((user, item))
            if had is None or rule != "first":
                total = weight + (had[2] if had and rule == "sum" else 0)
                expected[user, item] = [n, time, total]
    expected = {pair: row for pair, row in expected.items() if row[2] >= 3}
    while True:
        users = Counter(user for user, _ in expected)
        items = Counter(item for _, item in expected)
        left = {p: r for p, r in expected.items() if users[p[0]] >= user_core}
        left = {p: r for p, r in left.items() if items[p[1]] >= item_core}
        if len(left) == len(expected):
            break
        expected = left
    log = cleaned(
        table(rows, "n", "w"),
        time="n",
        weight="w",
        positive_from=3,
        duplicates=rule,
        user_core=user_core,
        item_core=item_core,
    )
    got = zip(log.rows.tolist(), log.times.tolist(), log.weights.tolist(), strict=True)
    assert dict(zip(kept(log), map(list, got), strict=True)) == expected
    assert sorted([*log.rows.tolist(), *log.rejected["row"].tolist()]) == list(range(len(rows)))
    assert log.counts.read == len(rows)


def test_malformed_lines_are_rejected_beside_the_others() -> None:
    source = table([("u1", "a"), ("u1", ""), ("u2", "b")])
    line = Malformed(1, "malformed line: too few fields", "u9")
    broken = Table(
        "log.csv", source.columns, np.array([0, 2, 3]), (line,), ("log.csv",), np.array([0]), 4
    )
    log = cleaned(broken)
    assert log.rows.tolist() == [0, 3]
    assert log.rejected["line"].tolist()[0] == "u9"
    assert reasons(log) == {1: "malformed line: too few fields", 2: "empty item id"}
    assert log.counts.read == 4


def test_columns_called_like_ours_are_kept_apart() -> None:
    rows = [(*pair, "x", [1, 2]) for pair in GOOD]
    log = cleaned(table([*rows, ("", "c", "mine", [3])], "row", "tags"))
    assert log.rejected["row"].tolist() == [4]
    assert log.rejected["row (log)"].tolist() == ["mine"]
    assert log.rejected["tags"].tolist() == ["[3]"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u1", "a"), ("u1", "b")], "of 2 rows 2 can be used, with 1 user and 2 items: nothing"),
        ([("u1", "a"), ("u2", "a")], "with 2 users and 1 item: nothing to learn from; at least 2"),
        (
            [("", "a"), ("", "b")],
            r"of 2 rows 0 can be used \(rejected: 2 empty user id; first: log.csv row 0\)",
        ),
    ],
)
def test_too_little_to_learn_from(rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        cleaned(table(rows))


def test_an_empty_log_is_one_line() -> None:
    empty = pa.table({"who": pa.array([], pa.string()), "what": pa.array([], pa.string())})
    with pytest.raises(DataError, match=r"^log.csv: the log is empty; expected rows below"):
        cleaned(Table.of("log.csv", empty))
