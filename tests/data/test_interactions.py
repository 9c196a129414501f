"""Interactions check themselves and keep their columns together."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from recsys.data import blocks
from recsys.data.blocks import in_blocks
from recsys.data.interactions import Interactions
from recsys.errors import DataError


def interactions() -> Interactions:
    """User 0: items 4 2 2, user 2: items 1 3 at one time; user 1 has none."""
    return Interactions(
        users=np.array([0, 0, 0, 2, 2], dtype=np.int32),
        items=np.array([4, 2, 2, 3, 1], dtype=np.int32),
        times=np.array([10, 20, 30, 50, 50]),
        weights=np.array([1, 2, 3, 4, 5], dtype=np.float32),
        rows=np.array([9, 8, 7, 5, 6]),
        n_users=4,
        n_items=6,
    )


def test_histories_and_counts() -> None:
    log = interactions()
    histories = log.histories()
    assert [histories[n].tolist() for n in range(4)] == [[4, 2, 2], [], [3, 1], []]
    assert histories.times is not None
    assert histories.times.tolist() == [10, 20, 30, 50, 50]
    assert log.item_counts().tolist() == [0, 1, 2, 1, 1, 0]
    assert repr(log) == "Interactions(5 rows, 4 users, 6 items)"


def test_ties_are_settled_by_item_or_row() -> None:
    assert interactions().ordered("item").items.tolist() == [4, 2, 2, 1, 3]
    assert interactions().ordered("row").items.tolist() == [4, 2, 2, 3, 1]


def test_take_keeps_the_columns_of_a_row_together() -> None:
    log = interactions()
    for which in (np.array([False, True, False, False, True]), np.array([1, 4])):
        taken = log.take(which)
        assert taken.items.tolist() == [2, 1]
        assert taken.times.tolist() == [20, 50]
        assert taken.weights.tolist() == [2, 5]
        assert taken.rows.tolist() == [8, 6]
        assert (taken.n_users, taken.n_items) == (4, 6)


def test_nothing_is_possible() -> None:
    nothing = interactions().take(np.zeros(5, dtype=bool))
    assert len(nothing) == 0
    assert nothing.item_counts().tolist() == [0] * 6
    assert len(nothing.histories()) == 4


def test_what_does_not_fit_is_refused() -> None:
    log = interactions()
    for name in [field.name for field in fields(log)][:5]:
        with pytest.raises(DataError, match="differ in length"):
            replace(log, **{name: getattr(log, name)[:-1]})
    with pytest.raises(DataError, match=r"user numbers must be in 0\.\.1"):
        replace(log, n_users=2)
    with pytest.raises(DataError, match=r"item numbers must be in 0\.\.3"):
        replace(log, n_items=4)
    with pytest.raises(DataError, match="sorted by user"):
        log.take(np.array([4, 0]))


def test_a_long_log_is_counted_and_checked_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of a mapped file, whose pages are given back, and across the ends of blocks."""
    random = np.random.default_rng(0)
    users = np.sort(random.integers(0, 50, 10_007)).astype(np.int32)
    items = random.integers(0, 30, 10_007).astype(np.int32)
    np.save(tmp_path / "items.npy", items)
    mapped = np.asarray(np.load(tmp_path / "items.npy", mmap_mode="r"))
    monkeypatch.setattr(blocks, "BLOCK", 1000)
    some, times = np.zeros(10_007, np.float32), np.zeros(10_007, np.int64)
    log = Interactions(users, mapped, times, some, times, 50, 30)
    assert log.item_counts().tolist() == np.bincount(items, minlength=30).tolist()
    assert log.user_counts().tolist() == np.bincount(users, minlength=50).tolist()
    assert np.concatenate(list(in_blocks(mapped))).tolist() == items.tolist()
    few = log.of_users(np.array([49, 3, 3, 7]))
    assert few.items.tolist() == items[np.isin(users, [3, 7, 49])].tolist()
    for place, wrong in ((999, 49), (1000, 0)):  # the last of a block, and the first of the next
        broken = users.copy()
        broken[place] = wrong
        with pytest.raises(DataError, match="sorted by user"):
            replace(log, users=broken)
