"""Re-ranking against plain loops, and that it changes nothing where nothing counts."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from recsys.config import RerankConfig
from recsys.data.interactions import Interactions
from recsys.data.times import DAY
from recsys.errors import ConfigError
from recsys.index.topk import TopK
from recsys.recommenders import rerank
from recsys.recommenders.cells import Cells
from recsys.recommenders.item_facts import (
    ItemFacts,
    ages_in_days,
    category_codes,
    freshness_of,
    item_facts,
    popularity_of,
)
from recsys.recommenders.rerank import Reranker

N, B, P, K = 60, 23, 20, 7
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(N, 5)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
BONUS = RANDOM.uniform(-0.3, 0.3, N)
LABELS = [
    sorted(RANDOM.choice(list("abcd"), RANDOM.integers(0, 3), replace=False)) for _ in range(N)
]
CATEGORIES = category_codes(
    Cells(pd.DataFrame({"genre": pd.Series(LABELS, dtype=object)}), "catalogue"), "genre"
)


def pools() -> TopK:
    """Lists of 20, best first; the last three users have 4, 1 and 0 items left."""
    items = np.argsort(RANDOM.random((B, N)), axis=1)[:, :P].astype(np.int32)
    scores = -np.sort(-RANDOM.normal(size=(B, P)), axis=1).astype(np.float32)
    for row, left in zip((-3, -2, -1), (4, 1, 0), strict=True):
        items[row, left:], scores[row, left:] = -1, -np.inf
    return TopK(items, scores)


def worth(item: int, value: dict[int, float], chosen: list[int], diversity: float) -> float:
    like = max((float(VECTORS[item] @ VECTORS[one]) for one in chosen), default=0.0)
    return (1 - diversity) * float(value[item]) - diversity * like


def fits(item: int, chosen: list[int], most: int | None) -> bool:
    held = [label for one in chosen for label in LABELS[one]]
    return most is None or all(held.count(label) < most for label in LABELS[item])


def by_loops(pool: TopK, k: int, config: RerankConfig) -> NDArray[np.int32]:
    answers = np.full((len(pool.items), k), -1, dtype=np.int32)
    for user, (row, points) in enumerate(zip(pool.items.tolist(), pool.scores, strict=True)):
        there = {item: float(p) for item, p in zip(row, points, strict=True) if item >= 0}
        low, high = min(there.values(), default=0), max(there.values(), default=0)
        value = {i: (p - low) / ((high - low) or 1) + BONUS[i] for i, p in there.items()}
        left, chosen = list(there), list[int]()
        while left and len(chosen) < k:
            able = [i for i in left if fits(i, chosen, config.per_category)] or left
            each = [worth(i, value, chosen, config.diversity) for i in able]
            chosen.append(able[each.index(max(each))])  # of equals the first
            left.remove(chosen[-1])
        answers[user, : len(chosen)] = chosen
    return answers


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("cap", [None, 1, 2])
@pytest.mark.parametrize("block", [1, 1 << 24])
def test_choices_are_those_of_plain_loops(
    diversity: float, cap: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank, "BLOCK", block)
    config = RerankConfig(diversity=diversity, per_category=cap, category="genre")
    facts = ItemFacts(BONUS, None if cap is None else CATEGORIES)
    pool = pools()
    vectors = VECTORS * np.arange(1, N + 1, dtype=np.float32)[:, None]  # lengths do not count
    found = Reranker(config, facts, vectors if diversity else None).choose(pool, K)
    assert np.array_equal(found.items, by_loops(pool, K, config))
    score = {
        (u, i): s for u in range(B) for i, s in zip(pool.items[u], pool.scores[u], strict=True)
    }
    for (user, place), item in np.ndenumerate(found.items):
        expected = -np.inf if item < 0 else score[user, item]
        assert found.scores[user, place] == expected, "the ranker's own score goes with the item"


def test_nothing_changes_where_nothing_counts() -> None:
    pool = pools()
    pool.scores[:-3, 3:6] = pool.scores[:-3, 3:4]  # and among equals the order stays
    found = Reranker(RerankConfig(), ItemFacts(np.zeros(N), None)).choose(pool, K)
    assert np.array_equal(found.items, pool.items[:, :K])
    assert np.array_equal(found.scores, pool.scores[:, :K])
    assert not RerankConfig().active


def test_a_list_is_not_shorter_for_its_caps() -> None:
    config = RerankConfig(per_category=1, category="genre")
    pool = pools()
    found = Reranker(config, ItemFacts(np.zeros(N), np.zeros((N, 1), np.int32))).choose(pool, K)
    assert np.array_equal(found.items, pool.items[:, :K]), "all are of one category"


def log_of(times: list[int], items: list[int]) -> Interactions:
    n = len(items)
    users, rows = np.arange(n, dtype=np.int32), np.arange(n)
    numbers = np.array(items, dtype=np.int32)
    return Interactions(users, numbers, np.array(times), np.ones(n, np.float32), rows, n, 4)


def test_popularity_and_freshness() -> None:
    assert popularity_of(np.array([0, 9, 99])).tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert popularity_of(np.zeros(2, dtype=np.int64)).tolist() == [0.0, 0.0]
    fresh = freshness_of(np.array([0.0, 30.0, 60.0, np.nan]), half_life=30.0)
    assert fresh.tolist() == pytest.approx([1.0, 0.5, 0.25, 0.0])


def test_ages_by_the_log_or_by_a_column() -> None:
    now = 10_000 * DAY  # 1997-05-19
    log = log_of([now, now - 5 * DAY, now - 2 * DAY, now - DAY], [0, 1, 1, 2])
    columns = {
        "day": ["1997-05-09", "19-May-1997", None, "2001-01-01"],
        "year": [1996, 1997, None, 1990],
        "second": [(now - DAY) / 1_000, now / 1_000, None, (now + DAY) / 1_000],
        "stars": [1, 2, 3, 4],
    }
    items = Cells(pd.DataFrame(columns), "catalogue")
    nan = float("nan")
    for date, ages in (
        (None, [0.0, 5.0, 1.0, nan]),
        ("day", [10.0, 0.0, nan, 0.0]),
        ("second", [1.0, 0.0, nan, 0.0]),
        ("year", [10_000 - 26 * 365.2425, 10_000 - 27 * 365.2425, nan, 10_000 - 20 * 365.2425]),
    ):
        found = ages_in_days(log, items, "timestamp", date)
        assert found.tolist() == pytest.approx(ages, nan_ok=True), date
    assert np.nanmin(ages_in_days(log, items, "order", "day")) == 0, "the newest is new"
    with pytest.raises(ConfigError, match="the log has no moments; name a column of dates"):
        ages_in_days(log, items, "order", None)
    for date in ("stars", "none"):
        with pytest.raises(ConfigError, match=r"recommend\.rerank\.date: .*(no dates|no column)"):
            ages_in_days(log, items, "timestamp", date)


def test_bonus_is_the_sum_of_its_parts() -> None:
    log = log_of([10 * DAY, 0, 0], [0, 1, 1])
    config = RerankConfig(dampening=0.5, freshness=2.0, half_life=10)
    found = item_facts(config, log, Cells(pd.DataFrame(index=range(4)), "catalogue"), "timestamp")
    half = np.log(2) / np.log(3)
    assert found.bonus.tolist() == pytest.approx([2.0 - 0.5 * half, 1.0 - 0.5, 0.0, 0.0])
    with pytest.raises(ConfigError, match=r"recommend\.rerank\.category: the catalogue has no"):
        item_facts(
            RerankConfig(per_category=1, category="genre"),
            log, Cells(pd.DataFrame(index=range(4)), "catalogue"), "timestamp",
        )  # fmt: skip


def test_caps_need_a_column() -> None:
    with pytest.raises(ValueError, match="per_category needs category"):
        RerankConfig(per_category=1)
