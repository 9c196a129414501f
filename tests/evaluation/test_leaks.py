"""Leak alarms: quiet on every honest split, and each planted leak is found with its rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data import protocols
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.errors import DataError
from recsys.evaluation.leaks import (
    Leak,
    fitted_leaks,
    oracle_leaks,
    refuse,
    split_leaks,
    wrong_figures,
)
from recsys.evaluation.metrics import judge, ndcg, recall

N_USERS, N_ITEMS = 40, 60
USERS, ITEMS = UserIds(np.arange(N_USERS) + 100), ItemIds(np.arange(N_ITEMS) + 500)
PROTOCOLS = (
    "user-time",
    "leave-last-out",
    "global-time",
    "random",
    "cold-items",
    "cold-users",
    "column",
)


@pytest.fixture(scope="module")
def log() -> Interactions:
    """Users take 3 to 20 items, some of them at the same time."""
    random = np.random.default_rng(1)
    lengths = random.integers(3, 21, N_USERS)
    users = np.repeat(np.arange(N_USERS), lengths).astype(np.int32)
    items = np.concatenate([random.permutation(N_ITEMS)[:n] for n in lengths]).astype(np.int32)
    n = len(users)
    rows = random.permutation(n).astype(np.int64) + 7
    times = random.integers(0, n // 2, n)
    return Interactions(
        users, items, times, np.ones(n, np.float32), rows, N_USERS, N_ITEMS
    ).ordered("item")


def cut(log: Interactions, protocol: Any) -> Split:
    item_parts = np.zeros(N_ITEMS, dtype=np.int8)
    match protocol:
        case "user-time" | "column":
            parts = protocols.user_time(log, 0.2, 0.1)
        case "leave-last-out":
            log = log.ordered("row")
            parts = protocols.leave_last_out(log)
        case "global-time":
            parts = protocols.global_time(log, 0.2, 0.1)
        case "random":
            parts = protocols.random_rows(log, 0.2, 0.1, 0)
        case "cold-items":
            item_parts = protocols.cold_items(np.arange(N_ITEMS), 0.2, 0.1, 0)
            parts = item_parts[log.items]
        case _:
            parts = protocols.cold_users(log, 0.2, 0.1, 0)
    return Split(protocol, log, parts, item_parts)


def found_in(split: Split) -> list[Leak]:
    return split_leaks(split, USERS, ITEMS)


def moved(split: Split, row: int, to: Part) -> Split:
    parts = split.parts.copy()
    parts[row] = to
    return replace(split, parts=parts)


def named(split: Split, row: int) -> str:
    log = split.log
    user, item = int(log.users[row]) + 100, int(log.items[row]) + 500
    return f"row {log.rows[row]}: user {user}, item {item}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_honest_split_is_quiet(log: Interactions, protocol: str) -> None:
    split = cut(log, protocol)
    assert (split.parts == Part.TEST).any() and (split.parts == Part.VALIDATION).any()
    assert found_in(split) == []


@pytest.mark.parametrize("protocol", ["user-time", "leave-last-out", "global-time", "cold-users"])
def test_a_training_row_of_the_future_is_refused(log: Interactions, protocol: str) -> None:
    """The last row of somebody who tests goes to training."""
    split = cut(log, protocol)
    counts = np.bincount(split.log.users[split.parts == Part.TEST], minlength=N_USERS)
    times = split.log.times
    late: list[int] = [
        row
        for row in np.flatnonzero(split.parts == Part.TEST).tolist()
        if protocol == "global-time"
        or (
            counts[split.log.users[row]] > 1
            and times[row]
            > times[(split.parts == Part.TEST) & (split.log.users == split.log.users[row])].min()
        )
    ]
    if protocol == "leave-last-out":  # one test row each: the first row becomes it
        user = split.log.users[np.flatnonzero(split.parts == Part.TEST)[0]]
        first = int(np.flatnonzero(split.log.users == user)[0])
        split = moved(split, first, Part.TEST)
        late = [int(np.flatnonzero(split.log.users == user)[-1])]
    row = late[-1]
    (leak, *_) = found_in(moved(split, row, Part.TRAIN))
    assert leak.severity == "refuse"
    assert "later" in leak.what
    everything = [
        found for one in found_in(moved(split, row, Part.TRAIN)) for found in one.examples
    ]
    assert named(split, row) in everything or leak.n > 5
    with pytest.raises(DataError, match=r"leak: .*later"):
        refuse(found_in(moved(split, row, Part.TRAIN)))


def test_the_moment_of_the_global_boundary_is_the_future(log: Interactions) -> None:
    split = cut(log, "global-time")
    test = np.flatnonzero(split.parts == Part.TEST)
    times = split.log.times.copy()
    known = int(np.flatnonzero(split.parts == Part.VALIDATION)[0])
    times[known] = times[test].min()
    leaks = found_in(replace(split, log=replace(split.log, times=times)))
    assert [(leak.n, leak.examples) for leak in leaks] == [(1, (named(split, known),))]


def test_future_rows_of_validation_are_seen_too(log: Interactions) -> None:
    split = cut(log, "user-time")
    user = next(
        u
        for u in range(N_USERS)
        if len(np.unique(split.log.times[(split.log.users == u) & (split.parts != Part.TEST)])) > 2
    )
    known = np.flatnonzero((split.log.users == user) & (split.parts != Part.TEST))
    parts = split.parts.copy()
    parts[known] = Part.TRAIN
    parts[known[0]] = Part.VALIDATION
    leaks = found_in(replace(split, parts=parts))
    assert [leak.what for leak in leaks] == ["training rows later than what validation holds out"]
    later = known[split.log.times[known] > split.log.times[known[0]]]
    assert leaks[0].n == len(later)
    assert leaks[0].examples == tuple(named(split, row) for row in later[:5])


def test_who_cut_the_log_by_a_column_is_only_warned(log: Interactions) -> None:
    split = cut(log, "column")
    row = int(np.flatnonzero(split.parts == Part.TRAIN)[0])
    leaks = found_in(moved(split, row, Part.TEST))
    assert leaks and {leak.severity for leak in leaks} == {"warn"}
    assert refuse(leaks) == leaks


@pytest.mark.parametrize("protocol", ["cold-items", "cold-users"])
def test_what_is_cold_may_not_be_in_training(log: Interactions, protocol: str) -> None:
    split = cut(log, protocol)
    row = int(np.flatnonzero(split.parts == Part.TEST)[0])
    if protocol == "cold-users":
        row = int(np.flatnonzero(split.parts == Part.TEST_HISTORY)[0])
    leaks = found_in(moved(split, row, Part.TRAIN))
    leak = next(leak for leak in leaks if "cold" in leak.what)
    assert (leak.n, leak.examples, leak.severity) == (1, (named(split, row),), "refuse")


def test_a_pair_on_both_sides_is_warned_of(log: Interactions) -> None:
    split = cut(log, "random")
    test = int(np.flatnonzero(split.parts == Part.TEST)[3])
    user = split.log.users[test]
    twin = int(np.flatnonzero((split.log.users == user) & (split.parts == Part.TRAIN))[0])
    items = split.log.items.copy()
    items[twin] = items[test]
    leaks = found_in(replace(split, log=replace(split.log, items=items)))
    assert [(leak.n, leak.examples) for leak in leaks] == [(1, (named(split, test),))]
    assert leaks[0].severity == "warn"


def test_encoders_fitted_on_test_items_are_refused() -> None:
    trained = np.arange(N_ITEMS) % 2 == 0
    assert fitted_leaks("encoders of items", trained, trained, ITEMS) == []
    assert fitted_leaks("encoders of items", np.zeros_like(trained), trained, ITEMS) == []
    fitted = trained.copy()
    fitted[[7, 9]] = True
    (leak,) = leaks = fitted_leaks("encoders of items", fitted, trained, ITEMS)
    assert leak.examples == ("item id 507", "item id 509")
    with pytest.raises(DataError, match=r"encoders of items fitted .* 2 .item id 507"):
        refuse(leaks)


def test_figures_of_a_report_that_cannot_be_are_refused() -> None:
    """Of ideal lists and of bad ones: only what the lists give is taken."""
    relevant = np.array([1, 20, 4])
    ideal = {"recall@10": np.array([1, 0.5, 1]), "precision@10": np.array([0.1, 1, 0.4])}
    lists = {"m": {0: ideal | {"ndcg@10": np.array([0.2, 0.4, 0.0])}}}
    right = {metric: float(values.mean()) for metric, values in lists["m"][0].items()}

    def told(**figures: float) -> list[Leak]:
        of = {name.replace("_", "@"): value for name, value in figures.items()}
        return wrong_figures({"m": {0: right | {"gini@10": 9.0} | of}}, lists, relevant)

    assert told() == [] and wrong_figures({}, lists, relevant) == []
    for name, value, why in (
        ("recall_10", 0.9, r"recall@10 0\.9000, no ranking can leave 0 to 0\.8333"),
        ("precision_10", 0.6, r"no ranking can leave 0 to 0\.5000"),
        ("ndcg_10", 1.21, r"ndcg@10 1\.2100, no ranking can leave 0 to 1\.0000"),
        ("ndcg_10", np.nan, "ndcg@10 nan, no ranking"),
        ("ndcg_10", -0.1, "no ranking"),
        ("ndcg_10", 0.21, r"seed 0: ndcg@10 0\.2100, its lists give 0\.2000"),
    ):
        (leak,) = told(**{name: value})
        with pytest.raises(DataError, match=f"leak: m: figures of the report.*{why}"):
            refuse([leak])
    assert told(ndcg_10=0.3, recall_10=0.1)[0].n == 2


def test_beating_the_oracle_of_cold_items_is_warned_of(log: Interactions) -> None:
    task = cut(log, "cold-items").task("test")
    truth = task.truth.histories().take(task.users)

    def measured(lists: NDArray[np.int32]) -> Any:
        judged = judge(lists, truth)
        return {"m": {0: {"ndcg@5": ndcg(judged, 5), "recall@5": recall(judged, 5)}}}

    perfect = np.full((len(task.users), 5), -1, dtype=np.int32)
    for place in range(len(task.users)):
        perfect[place, : len(truth[place][:5])] = truth[place][:5]
    (leak,) = oracle_leaks(measured(perfect), task, USERS, "ndcg@5")
    assert leak.severity == "warn" and leak.what.startswith("m: ndcg@5 1.0000 on cold items beats")
    assert len(leak.examples) == min(5, leak.n)
    random = np.random.default_rng(0)
    cold = np.flatnonzero(task.candidates)
    blind = np.array([random.permutation(cold)[:5] for _ in task.users], dtype=np.int32)
    assert oracle_leaks(measured(blind), task, USERS, "ndcg@5") == []
