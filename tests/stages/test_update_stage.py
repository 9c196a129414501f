"""`recsys update`: a complete run that says where it came from, and knows when that has changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.errors import ArtifactError, ConfigError
from recsys.recommenders.recommender import Recommender
from recsys.stages.command import Command
from recsys.stages.pipeline import plan
from recsys.stages.stage import read_record

CONFIG = """
[data]
interactions = "log.csv"
time = "time"
items = "items.csv"

[content.sort]
columns = ["sort"]
encoder = "categories"

[towers]
dim = 8

[training]
epochs = 2
score_every = 1
device = "cpu"

[update]
epochs = 2

[tracking]
kind = "none"
"""
STAGES = ("prepare", "embed", "train", "index")


def write_files(folder: Path, items: range) -> None:
    random = np.random.default_rng(0)
    rows = [
        (user, int(item), step)
        for user in range(items.start, items.start + 30)
        for step, item in enumerate(random.permutation(items)[:8])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "time"])
    sorts = {"item_id": items, "sort": [f"sort {item % 3 * items.start}" for item in items]}
    for name, frame in (("log.csv", log), ("items.csv", pd.DataFrame(sorts))):
        path = folder / name
        before = [pd.read_csv(path)] if path.exists() else []
        pd.concat([*before, frame]).to_csv(path, index=False)


def command(folder: Path, out: str, *words: str) -> Command:
    return Command.of(folder / "my.toml", words, folder / out)


def go(made: Command) -> None:
    for name in STAGES:
        made.stage(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small log, and the log after it has grown."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "my.toml").write_text(CONFIG)
    write_files(folder, range(50, 70))
    go(command(folder, "first"))
    write_files(folder, range(1, 21))  # ids before all others: everybody gets another number
    return folder


def test_an_updated_run_is_complete_and_says_where_it_came_from(folder: Path) -> None:
    words = (f"update.start={folder / 'first'}",)
    made = command(folder, "second", *words)
    go(made)
    found = read_record(made.out / "towers")["facts"]["update"]
    assert found["start"] == str(folder / "first")
    assert (found["new_users"], found["new_items"]) == (30, 20)
    assert found["new_rows"] > 0
    assert found["test_rows_learnt_before"] == 0
    assert found["drift"]["items"] == 20
    assert 0 < found["drift"]["mean"] < 1
    assert len(Recommender.load(made.out).recommend([1, 79], k=3)) == 6
    again = [line.would for line in plan(made.run, STAGES) if line.stage != "embed"]
    assert again == ["skip"] * 3
    afresh = [line.would for line in plan(command(folder, "second").run, STAGES)]
    assert afresh[2] == "do", "without a start they are other towers"


def test_towers_of_another_start_are_made_again(folder: Path) -> None:
    made = command(folder, "third", f"update.start={folder / 'first'}")
    for name in STAGES[:3]:
        made.stage(name)
    other = command(folder, "third", f"update.start={made.out.parent / 'second'}")
    if not (folder / "second").is_dir():
        go(command(folder, "second"))
    assert plan(other.run, ("train",))[0].would == "do"
    replayed = command(folder, "third", f"update.start={folder / 'first'}", "update.replay=2")
    assert plan(replayed.run, ("train",))[0].would == "do"


def test_a_run_cannot_start_from_itself_nor_from_what_is_none(folder: Path) -> None:
    itself = command(folder, "first", f"update.start={folder / 'first'}")
    with pytest.raises(ConfigError, match="cannot start from itself"):
        itself.stage("train")
    drawn = command(folder, "fourth", "update.start=first", "split.protocol=cold-items")
    with pytest.raises(ConfigError, match="draws other rows"):
        drawn.stage("train")
    nothing = command(folder, "fourth", f"update.start={folder / 'none'}")
    nothing.stage("prepare")
    nothing.stage("embed")
    with pytest.raises(ArtifactError, match="not made yet"):
        nothing.stage("train")
