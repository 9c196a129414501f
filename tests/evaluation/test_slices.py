"""Slices and gaps: against plain loops, with planted bad slices, and what chance alone shows."""

import json
import math
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from recsys.content.encoder import ContentBlock
from recsys.data.dataset import Counts, Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.certainty import Interval, user_weights
from recsys.evaluation.groups import Grouping, column_grouping, default_groupings
from recsys.evaluation.slice_report import DRAWS, Slice, SliceReport
from recsys.evaluation.slices import measure_slices

N_USERS, N_ITEMS, K = 90, 60, 5
Items = NDArray[np.int32]


def rows_of(pairs: list[tuple[int, int]]) -> Interactions:
    users, items = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2).T
    numbers = np.arange(len(pairs), dtype=np.int64)
    ones = np.ones(len(pairs), dtype=np.float32)
    return Interactions(users, items, numbers, ones, numbers, N_USERS, N_ITEMS)


@pytest.fixture(scope="module")
def task() -> Task:
    """Users 3..89 of 90; low item numbers are taken more often, 55..59 by nobody before."""
    random = np.random.default_rng(2)
    weights = 1.0 / np.arange(1, 56)
    history, truth = [], []
    for user in range(3, N_USERS):
        drawn = random.choice(55, 14, replace=False, p=weights / weights.sum()).tolist()
        cut = int(random.integers(2, 12))
        history += [(user, item) for item in drawn[:cut]]
        truth += [(user, item) for item in drawn[cut:]]
        truth += [(user, int(random.integers(55, 60)))]
    return Task.of(rows_of(history), rows_of(truth), np.ones(N_ITEMS, dtype=np.bool_))


@pytest.fixture(scope="module")
def lists(task: Task) -> dict[str, dict[int, Items]]:
    random = np.random.default_rng(3)

    def drawn() -> Items:
        rows = [random.permutation(N_ITEMS)[:8] for _ in task.users]
        return np.array(rows, dtype=np.int32)

    return {"a": {0: drawn(), 4: drawn()}, "b": {0: drawn()}}


@pytest.fixture(scope="module")
def dataset(task: Task) -> Dataset:
    random = np.random.default_rng(5)
    users = pd.DataFrame(
        {
            "job": ["nurse" if n % 5 < 3 else "clerk" for n in range(N_USERS - 5)] + ["pope"] * 5,
            "age": random.integers(18, 80, N_USERS),
            "code": np.arange(N_USERS) % 4 * 10,
        }
    )
    years = [f"{1950 + n}-03-01" if n % 7 else None for n in range(N_ITEMS)]
    kinds = [["x", "y"] if n % 2 else ["y"] for n in range(N_ITEMS)]
    items = pd.DataFrame({"made": years, "kind": kinds})
    log = task.history
    return Dataset(
        UserIds(np.arange(N_USERS)),
        ItemIds(np.arange(N_ITEMS)),
        log,
        items,
        np.arange(N_ITEMS),
        users,
        "timestamp",
        pd.DataFrame(),
        Counts(len(log), len(log), {}),
    )


def groups_of(grouping: Grouping) -> dict[str, list[int]]:
    """Which units are in each group."""
    members: dict[str, list[int]] = {label: [] for label in grouping.labels}
    for unit in range(len(grouping.codes)):
        for code in grouping.codes[unit]:
            members[grouping.labels[code]].append(unit)
    return members


def test_popularity_deciles_and_new_items_by_plain_loops(task: Task) -> None:
    learnt = task.history.item_counts()
    counts = [n for n in learnt if n]
    deciles: dict[int, list[int]] = {}
    for row, item in enumerate(task.truth.items):
        if learnt[item]:
            below = sum(n <= learnt[item] for n in counts) / len(counts)
            deciles.setdefault(math.ceil(10 * below), []).append(row)
    by_name = {one.name: one for one in default_groupings(task, learnt)}
    found = {int(k.split()[0]): v for k, v in groups_of(by_name["popularity decile"]).items()}
    for decile, rows in deciles.items():
        users = {int(task.truth.users[row]) for row in rows}
        assert found.get(decile) == (rows if len(users) >= 10 else None)
    assert 10 in found
    new = groups_of(by_name["item"])["new"]
    assert new == [row for row, item in enumerate(task.truth.items) if not learnt[item]]
    assert {item for item in task.truth.items if item >= 55} <= set(task.truth.items[new])


def test_history_lengths_are_cut_at_quartiles_and_equals_stay_together(task: Task) -> None:
    (grouping,) = (g for g in default_groupings(task, np.ones(N_ITEMS, int)) if g.unit == "users")
    lengths = [int((task.history.users == user).sum()) for user in task.users]
    members = groups_of(grouping)
    assert sorted(chain.from_iterable(members.values())) == list(range(len(task.users)))
    seen: list[int] = []
    for label, units in members.items():
        inside = [lengths[unit] for unit in units]
        low, _, high = label.partition(" to ")
        assert (min(inside), max(inside)) == (int(low), int(high or low))
        assert not set(inside) & set(seen)
        seen += inside
        assert 10 <= len(units) <= len(lengths) / 2


def test_missing_content_is_a_slice_only_where_some_have_it(task: Task) -> None:
    learnt = task.history.item_counts()
    vectors = np.zeros((N_ITEMS, 2), dtype=np.float32)
    some = ContentBlock("poster", vectors, np.arange(N_ITEMS) % 4 > 0)
    every = ContentBlock("title", vectors, np.ones(N_ITEMS, dtype=np.bool_))
    by_name = {one.name: one for one in default_groupings(task, learnt, [some, every])}
    assert "content title" not in by_name
    missing = groups_of(by_name["content poster"])["missing"]
    assert missing == [row for row, item in enumerate(task.truth.items) if item % 4 == 0]


def test_columns_become_groups(task: Task, dataset: Dataset) -> None:
    jobs = groups_of(column_grouping("users.job", dataset, task))
    expected = [
        place for place, user in enumerate(task.users) if dataset.users["job"][user] == "clerk"
    ]
    assert jobs["clerk"] == expected
    assert set(jobs) == {"clerk", "nurse"}  # of five popes nothing can be said
    assert column_grouping("users.job", dataset, task).left_out == 1
    kinds = groups_of(column_grouping("items.kind", dataset, task))
    assert len(kinds["y"]) == len(task.truth)  # a row may lie in both
    assert kinds["x"] == [row for row, item in enumerate(task.truth.items) if item % 2]
    years = column_grouping("items.made", dataset, task)
    assert len(years.labels) == 4
    assert years.labels[0].startswith("195")
    unknown = {row for row, item in enumerate(task.truth.items) if item % 7 == 0}
    assert unknown.isdisjoint(chain.from_iterable(groups_of(years).values()))
    assert len(column_grouping("users.age", dataset, task).labels) == 4
    assert column_grouping("users.code", dataset, task).labels == ("0", "10", "20", "30")
    for name in ("users.shoe", "job", "items.job"):
        with pytest.raises(ConfigError, match=r"evaluation\.slices.*users\.job"):
            column_grouping(name, dataset, task)


def plain(task: Task, items: Items, unit: str) -> list[tuple[int, float, float]]:
    """User's place, and both metrics, of each unit, by the definitions."""
    found = []
    for place, user in enumerate(task.users):
        right = [
            int(i) for i, u in zip(task.truth.items, task.truth.users, strict=True) if u == user
        ]
        top = items[place, :K].tolist()
        gains = [1 / math.log2(top.index(i) + 2) if i in top else 0.0 for i in right]
        if unit == "rows":
            found += [(place, gain, float(gain > 0)) for gain in gains]
        else:
            ideal = sum(1 / math.log2(p + 2) for p in range(min(K, len(right))))
            hits = sum(gain > 0 for gain in gains)
            found.append((place, sum(gains) / ideal, hits / len(right)))
    return found


@pytest.mark.parametrize("unit", ["users", "rows"])
def test_slices_by_plain_loops(
    task: Task, lists: dict[str, dict[int, Items]], dataset: Dataset, unit: str
) -> None:
    name = {"users": "users.job", "rows": "items.kind"}[unit]
    grouping = column_grouping(name, dataset, task)
    report = measure_slices(lists, task, [grouping], k=K, seed=1)
    draws = np.concatenate(list(user_weights(len(task.users), DRAWS, 1)))[:30]
    metrics = {"users": ("ndcg@5", "recall@5"), "rows": ("gain@5", "hit@5")}[unit]
    of_seeds = [plain(task, items, unit) for items in lists["a"].values()]
    for one, units in zip(report.slices, groups_of(grouping).values(), strict=True):
        assert one.count == len(units)
        assert one.users == len({of_seeds[0][u][0] for u in units})
        for place, metric in enumerate(metrics, start=1):
            values = {u: sum(s[u][place] for s in of_seeds) / 2 for u in units}
            found = one.metrics["a"][metric]
            assert found.mean == pytest.approx(sum(values.values()) / len(units))
            means = []
            for weights in draws:
                drawn = [(weights[of_seeds[0][u][0]], values[u]) for u in units]
                means.append(sum(w * v for w, v in drawn) / sum(w for w, _ in drawn))
            assert found.low < np.mean(means) < found.high
            assert found.high - found.low == pytest.approx(3.92 * np.std(means), rel=0.45)
    assert [one.count for one in report.overall] == [len(task.users), len(task.truth)]


def test_worst_slice_is_the_planted_one(task: Task, dataset: Dataset) -> None:
    """Everybody gets the right items, but for the clerks."""
    truth = task.truth.histories().take(task.users)
    lists = np.full((len(task.users), K), -1, dtype=np.int32)
    for place, user in enumerate(task.users):
        right = truth[place][:K]
        if dataset.users["job"][user] != "clerk" or place % 9 == 0:
            lists[place, : len(right)] = right
    names = ("users.age", "users.job", "users.code")
    groupings = [column_grouping(name, dataset, task) for name in names]
    report = measure_slices({"m": {0: lists}}, task, groupings, k=K)
    worst = report.worst("m")
    assert worst is not None
    one, value, overall, p = worst
    assert p < 0.01
    assert (one.grouping, one.value) == ("users.job", "clerk")
    assert value.high < overall.mean
    assert "users.job clerk" in report.worst_line("m")
    gap = next(g for g in report.gaps if (g.grouping, g.metric) == ("users.job", "ndcg@5"))
    assert (gap.largest, gap.smallest) == ("nurse", "clerk")
    assert gap.gap.low > 0.5
    told = json.loads(json.dumps(report.as_dict("m"), allow_nan=False))
    assert told["worst"]["value"] == "clerk"
    assert "| users.job | clerk |" in report.markdown("m")
    assert "Not shown of users.job: 1" in report.markdown("m")


def one(users: int, high: float, p: float = 0.001) -> Slice:
    interval = {"m": {"ndcg@5": Interval(high / 2, 0.0, high)}}
    return Slice("g", str(users), "users", users, users, interval, {"m": p})


def one_item_each(n: int) -> Task:
    """Users who each hold out item 0, without a history."""
    numbers, ones = np.arange(n), np.ones(n, dtype=np.float32)
    users = np.arange(n, dtype=np.int32)
    rows = Interactions(users, np.zeros(n, np.int32), numbers, ones, numbers, n, 3)
    return Task(rows.take(numbers < 0), rows, np.ones(3, dtype=np.bool_), {})


def test_small_slices_are_not_called_worst() -> None:
    report = SliceReport((one(100, 1.0),), (one(29, 0.1), one(30, 0.3), one(50, 0.2)), (), {}, 5)
    worst = report.worst("m")
    assert worst is not None and worst.slice.users == 50
    fine = SliceReport((one(100, 1.0),), (one(30, 0.6, p=0.06),), (), {}, 5)
    assert fine.worst("m") is None
    assert "No slice" in fine.worst_line("m") and "over 1 slices" in fine.worst_line("m")


def test_worst_slice_is_corrected_for_those_looked_at() -> None:
    """p = .02 of one slice tells it; of three, it does not; small slices do not count."""
    alone = SliceReport((one(100, 1.0),), (one(30, 0.3, p=0.02), one(9, 0.3, p=0.5)), (), {}, 5)
    worst = alone.worst("m")
    assert worst is not None and worst.p == pytest.approx(0.02)
    assert "p 0.0200 after Holm over 1 slices" in alone.worst_line("m")
    three = (one(30, 0.3, p=0.02), one(40, 0.9, p=0.5), one(50, 0.9, p=0.6))
    assert SliceReport((one(100, 1.0),), three, (), {}, 5).worst("m") is None
    better = SliceReport((one(100, 0.2),), (one(30, 0.9, p=0.001),), (), {}, 5)
    assert better.worst("m") is None


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_slices_by_chance_are_seldom_called_worst(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight groupings of five random groups: uncorrected, many reports would name one."""
    monkeypatch.setattr("recsys.evaluation.slices.DRAWS", 200)
    random = np.random.default_rng(11)
    n, told, single, sims = 200, 0, 0, 25
    task = one_item_each(n)
    for number in range(sims):
        lists = np.where(random.random(n) < share, 0, 1).astype(np.int32)[:, None]
        groupings = [
            Grouping(f"g{g}", "users", tuple("01234"), Ragged(np.arange(n + 1), codes))
            for g, codes in enumerate(random.integers(5, size=(8, n)).astype(np.int32))
        ]
        report = measure_slices({"m": {0: lists}}, task, groupings, k=1, seed=number)
        told += report.worst("m") is not None
        single += min(s.p["m"] for s in report.looked_at) <= 0.05
    assert told / sims <= 0.1
    assert single / sims >= 0.2


def test_nothing_found_is_not_taken_for_certain(task: Task, dataset: Dataset) -> None:
    nothing = np.full((len(task.users), K), -1, dtype=np.int32)
    report = measure_slices(
        {"m": {0: nothing}}, task, [column_grouping("users.job", dataset, task)], k=K
    )
    for one in report.slices:
        high = one.metrics["m"]["ndcg@5"].high
        assert (1 - high) ** one.users == pytest.approx(0.025)


@pytest.mark.parametrize("n_groups", [2, 6])
def test_gap_interval_holds_the_truth_and_does_not_see_what_is_chance(
    n_groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.evaluation.slices.DRAWS", 300)
    random = np.random.default_rng(n_groups)
    n, told, covered, seen, sims = 120, 0, 0, 0, 60
    users = np.arange(n, dtype=np.int32)
    task = one_item_each(n)
    codes = users % n_groups
    names = tuple(map(str, range(n_groups)))
    grouping = Grouping("g", "users", names, Ragged(np.arange(n + 1), codes))
    for number in range(sims):
        for planted in (0.0, 0.4):
            hit = random.random(n) < 0.5 + planted * (codes == 1)
            lists = np.where(hit, 0, 1).astype(np.int32)[:, None]
            report = measure_slices({"m": {0: lists}}, task, [grouping], k=1, seed=number)
            gap = next(g for g in report.gaps if g.metric == "ndcg@1").gap
            if planted:
                covered += gap.low <= planted <= gap.high
                seen += gap.low > 0
            else:
                told += gap.low > 0
    assert told / sims <= 0.1
    assert covered / sims >= 0.9
    assert n_groups > 2 or seen / sims >= 0.9
