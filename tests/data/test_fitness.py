"""What ``recsys check`` says, recounted by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.data.dataset import Dataset
from recsys.data.fitness import FitnessReport, check_fitness


def report(folder: Path, rows: list[tuple[Any, ...]], **config: Any) -> FitnessReport:
    lines = ["user_id,item_id,t", *(",".join(map(str, row)) for row in rows)]
    (folder / "log.csv").write_text("\n".join(lines), encoding="utf-8")
    return check_fitness(Dataset.from_files(folder / "log.csv", **{"time": "t", **config}))


DAY = 86_400
T0 = 1_500_000_000
SMALL = [("u1", "a", T0), ("u1", "b", T0), ("u1", "c", T0 + DAY), ("u2", "a", T0 + 3 * DAY)]


def test_counts_by_hand(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\nz,Z\n", encoding="utf-8")
    bad = [("", "a", T0), ("u3", "", T0), ("u3", "a", "x"), ("u4", "", T0)]
    found = report(tmp_path, [*bad, *SMALL], items=tmp_path / "items.csv")
    assert (found.read, found.kept, found.users, found.items, found.new_items) == (8, 4, 2, 3, 1)
    assert found.rejected == {"empty item id": 2, "empty user id": 1, "unreadable time": 1}
    assert found.examples == {
        "empty user id": "log.csv row 0",
        "empty item id": "log.csv row 1",
        "unreadable time": "log.csv row 2",
    }
    assert found.density == 4 / 6
    assert found.equal_times == 2 / 4
    assert found.per_user == (1, 2.0, 3)
    assert found.per_item == (1, 1.0, 2)
    assert (found.users_below_2, found.users_below_5) == (1, 2)
    assert (found.items_below_2, found.items_below_5) == (2, 3)
    assert found.items_without_catalogue == 1
    assert found.times == "2017-07-14 to 2017-07-17, 3 days"
    assert found.verdict[0] == (
        "not fit: fewer than 2 users have 2 rows; nothing can be held out to test"
    )
    assert not found.is_fit
    text = "\n".join(found.lines())
    assert "8 read = 4 kept + 4 rejected" in text
    assert "2 empty item id, first: log.csv row 1" in text
    assert "lacks 1 item of the log, has 1 that the log lacks" in text
    assert json.loads(json.dumps(found.as_dict()))["per_user"] == [1, 2.0, 3]


def full(n_users: int = 40, n_items: int = 25) -> list[tuple[Any, ...]]:
    """Every user with every item, each at its own time."""
    return [
        (f"u{u}", f"i{i}", T0 + 100 * (u * n_items + i))
        for u in range(n_users)
        for i in range(n_items)
    ]


def test_a_fit_log(tmp_path: Path) -> None:
    found = report(tmp_path, full())
    assert found.verdict == ("fit: enough rows of enough users and items",)
    assert found.is_fit
    assert found.items_without_catalogue is None
    assert found.lines()[-1] == found.verdict[0]


@pytest.mark.parametrize(
    ("rows", "config", "verdict"),
    [
        (full(40, 24), {}, "thin: 960 rows"),
        (full(400, 4), {}, "thin: half of the users have 4 rows or fewer"),
        (full() + [("u0", f"x{n}", T0 - n) for n in range(30)], {}, "thin: 55% of the items"),
        ([(u, i, T0) for u, i, _ in full()], {}, "thin: 100% of the rows share their time"),
        (full() + [("", "x", T0)] * 60, {}, "thin: 6% of the rows are broken"),
    ],
)
def test_each_weakness_is_said(
    tmp_path: Path, rows: list[tuple[Any, ...]], config: dict[str, Any], verdict: str
) -> None:
    found = report(tmp_path, rows, **config)
    assert [line for line in found.verdict if line.startswith(verdict)]
    assert len(found.verdict) == 1
    assert found.is_fit


def test_rows_cut_on_purpose_are_not_broken(tmp_path: Path) -> None:
    found = report(tmp_path, full() + full())
    assert found.rejected == {"duplicate of user and item": 1000}
    assert found.verdict == ("fit: enough rows of enough users and items",)


def test_a_log_without_times_says_so(tmp_path: Path) -> None:
    found = report(tmp_path, full(), time=None)
    assert found.times == "no time column: rows count as oldest first"
    assert found.equal_times == 0


@pytest.mark.real_data
def test_beauty(shared_data: Path) -> None:
    from recsys.config import DataConfig

    file = shared_data / "amazon-beauty" / "Beauty.txt"
    data = Dataset.from_config(DataConfig(source="sequences", interactions=(file,)))
    found = check_fitness(data)
    assert (found.users, found.items, found.kept) == (22_363, 12_101, 198_502)
    assert found.users_below_5 == found.items_below_5 == 0  # it is a 5-core
    assert found.is_fit
