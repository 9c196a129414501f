"""Every protocol against a plain loop over random logs."""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_logs import CATALOGUE_ROWS, N_ITEMS, N_USERS, Row, dataset_of, logs, parts_of

from recsys.config import Protocol
from recsys.data.dataset import Dataset
from recsys.data.splits import Split, split
from recsys.errors import DataError


def ceil(n: int, share: str) -> int:
    return -((-n * Fraction(share)).__floor__())


def users_in_order(rows: list[Row], ties: Callable[[Row], int]) -> list[list[Row]]:
    of: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.time, ties(row))):
        of[row.user].append(row)
    return list(of.values())


def loop_user_time(rows: list[Row], _seed: int) -> dict[int, str]:
    parts = {}
    for mine in users_in_order(rows, lambda row: row.item):
        n_train = ceil(len(mine), "0.8")
        n_validation = min(ceil(n_train, "0.1"), n_train - 1)
        for place, row in enumerate(mine):
            early = "TRAIN" if place < n_train - n_validation else "VALIDATION"
            parts[row.row] = early if place < n_train else "TEST"
    return parts


def loop_leave_last_out(rows: list[Row], _seed: int) -> dict[int, str]:
    parts: dict[int, str] = {}
    for mine in users_in_order(rows, lambda row: row.row):
        names = ["TRAIN"] * len(mine)
        if len(mine) > 1:
            names[-1] = "TEST"
        if len(mine) > 2:
            names[-2] = "VALIDATION"
        parts.update(zip((row.row for row in mine), names, strict=True))
    return parts


def loop_random(rows: list[Row], seed: int) -> dict[int, str]:
    n, n_test = len(rows), len(rows) // 5
    n_validation = ceil(n - n_test, "0.1")
    in_file = sorted(row.row for row in rows)
    parts: dict[int, str] = {}
    for place, drawn in enumerate(np.random.default_rng(seed).permutation(n)):
        late = "VALIDATION" if place < n_test + n_validation else "TRAIN"
        parts[in_file[drawn]] = "TEST" if place < n_test else late
    return parts


def loop_cold_items(rows: list[Row], seed: int) -> dict[int, str]:
    generator = np.random.default_rng(seed)
    cold = generator.choice(N_ITEMS, int(0.2 * N_ITEMS), replace=False)
    left = [row for row in range(N_ITEMS) if row not in set(cold)]
    second = generator.choice(left, ceil(len(left), "0.1"), replace=False)
    parts = {}
    for row in rows:
        place = CATALOGUE_ROWS[row.item]
        parts[row.row] = "TEST" if place in cold else "VALIDATION" if place in second else "TRAIN"
    return parts


def loop_cold_users(rows: list[Row], seed: int) -> dict[int, str]:
    generator = np.random.default_rng(seed)
    cold = generator.choice(N_USERS, int(0.2 * N_USERS), replace=False)
    left = [user for user in range(N_USERS) if user not in set(cold)]
    second = generator.choice(left, ceil(len(left), "0.1"), replace=False)
    parts = {}
    for mine in users_in_order(rows, lambda row: row.item):
        user = mine[0].user
        name = "TEST" if user in cold else "VALIDATION" if user in second else "TRAIN"
        for place, row in enumerate(mine):
            known = name == "TRAIN" or place >= ceil(len(mine), "0.8")
            parts[row.row] = name if known else f"{name}_HISTORY"
    return parts


LOOPS: dict[Protocol, Callable[[list[Row], int], dict[int, str]]] = {
    "user-time": loop_user_time,
    "leave-last-out": loop_leave_last_out,
    "random": loop_random,
    "cold-items": loop_cold_items,
    "cold-users": loop_cold_users,
}


def made_or_none(dataset: Dataset, protocol: Protocol, seed: int = 0) -> Split | None:
    """The split, or None where the log is too small for it, which must be said."""
    try:
        return split(dataset, protocol, seed=seed)
    except DataError as error:
        assert "use another protocol" in str(error)
        return None


@pytest.mark.parametrize("protocol", list(LOOPS))
@given(rows=logs(), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=80)
def test_equals_a_plain_loop(protocol: Protocol, rows: list[Row], seed: int) -> None:
    made = made_or_none(dataset_of(rows), protocol, seed)
    expected = LOOPS[protocol](rows, seed)
    if made is None:
        assert not {"TRAIN", "TEST"} <= set(expected.values())
    else:
        assert parts_of(made) == expected


@given(rows=logs())
@settings(deadline=None, max_examples=80)
def test_global_time_equals_a_plain_loop(rows: list[Row]) -> None:
    times = sorted(row.time for row in rows)
    cut = times[len(times) - max(1, len(times) // 5)]
    before = [time for time in times if time < cut]
    validation_cut = before[len(before) - max(1, len(before) // 10)] if before else cut
    made = made_or_none(dataset_of(rows), "global-time")
    if made is None:
        assert cut == times[0] or validation_cut == times[0]
        return
    for row in rows:
        early = "TRAIN" if row.time < validation_cut else "VALIDATION"
        assert parts_of(made)[row.row] == (early if row.time < cut else "TEST")
    assert made.train.times.max() < made.validation.times.min()
    assert made.validation.times.max() < made.test.times.min()


@given(rows=logs(), drawn=st.randoms(use_true_random=False), validation=st.booleans())
@settings(deadline=None, max_examples=80)
def test_column_and_files_are_taken_as_given(
    rows: list[Row], drawn: Random, validation: bool
) -> None:
    names = ["train", "validation", "test"] if validation else ["train", "test"]
    labels = {row.row: str(drawn.choice(names)) for row in rows}
    made = made_or_none(dataset_of(rows, labels), "column")
    if made is None:
        assert not {"train", "test"} <= set(labels.values())
        return
    expected = {row: label.upper() for row, label in labels.items()}
    if "VALIDATION" not in expected.values():
        training = [row for row in rows if labels[row.row] == "train"]
        for mine in users_in_order(training, lambda row: row.item):
            n_validation = min(ceil(len(mine), "0.1"), len(mine) - 1)
            for row in mine[len(mine) - n_validation :]:
                expected[row.row] = "VALIDATION"
    assert parts_of(made) == expected
    assert parts_of(split(dataset_of(rows, labels), "files")) == expected
