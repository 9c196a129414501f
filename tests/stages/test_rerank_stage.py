"""From the config: conditions and re-ranking in batch, their cost in the report, and the search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from recsys.config import RerankConfig
from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.reranking import PLAIN, components
from recsys.files import read_json
from recsys.index.exact import ExactIndex
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.command import Command
from recsys.stages.rerank_weights import rerank_weights
from recsys.towers.saved import load_towers

CONFIG = """
[data]
interactions = "log.csv"
time = "time"
items = "items.csv"
users = "users.csv"

[content.colour]
columns = ["colour"]
encoder = "categories"

[towers]
dim = 8

[training]
epochs = 2
score_every = 1
device = "cpu"

[newcomers]
dim = 0

[index]
kind = "exact"

[evaluation]
baselines = ["popularity"]
beyond = []

[recommend]
k = 4
where = "price < 9"
rules = [{ users = "age < 18", items = "'red' not in colour" }]

[recommend.rerank]
diversity = 0.8
per_category = 2
category = "colour"

[tracking]
kind = "none"
"""
COLOURS = ["red|blue", "blue", "green", "red"]
N_USERS, N_ITEMS = 40, 36


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("rerank")
    random = np.random.default_rng(0)
    rows = [
        (user, item, 86_400 * (10_000 + 10 * item) + step)
        for user in range(N_USERS)
        for step, item in enumerate(random.permutation(np.arange(user % 2, N_ITEMS, 2))[:10])
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "time"]).to_csv(folder / "log.csv")
    numbers = range(N_ITEMS)
    items = {"item_id": numbers, "colour": [COLOURS[n % 4] for n in numbers]}
    prices = {"price": [n % 10 for n in numbers]}
    pd.DataFrame(items | prices).to_csv(folder / "items.csv", index=False)
    ages = {"user_id": range(N_USERS), "age": [10 + n for n in range(N_USERS)]}
    pd.DataFrame(ages).to_csv(folder / "users.csv", index=False)
    (folder / "my.toml").write_text(CONFIG)
    command = Command.of(folder / "my.toml", (), folder / "run")
    command.go()
    return command


def test_batch_and_the_loaded_run_obey_the_config(command: Command) -> None:
    written = pd.read_parquet(command.out / "recommendations" / "part-00000.parquet")
    answered = Recommender.load(command.out).recommend(k=4)
    pd.testing.assert_frame_equal(written, answered)
    assert (written["item_id"] % 10 < 9).all()
    young = written[written["user_id"] < 8]
    assert not young["item_id"].mod(4).isin([0, 3]).any(), "nothing red for whom is under 18"
    assert written.groupby("user_id").size().eq(4).all()
    assert not written.groupby("user_id")["score"].apply(lambda s: s.is_monotonic_decreasing).all()


def test_a_condition_for_one_time_is_not_kept(command: Command) -> None:
    config = command.out.parent / "my.toml"
    once = Command.of(config, (), command.out, where="price < 5")
    once.stage("recommend")
    written = pd.read_parquet(command.out / "recommendations" / "part-00000.parquet")
    assert (written["item_id"] % 10 < 5).all()
    found = Recommender.load(command.out).recommend([0], k=N_ITEMS)
    assert (found["item_id"] % 10 >= 5).any()
    with pytest.raises(ConfigError, match="no column 'prize'"):
        Command.of(config, (), command.out, where="prize < 5").stage("recommend")
    command.stage("recommend")  # as it was


def test_the_report_says_what_each_part_costs_and_gains(command: Command) -> None:
    rows: list[dict[str, Any]] = command.report()["reranking"]
    labels = [row["reranking"] for row in rows]
    assert labels == [PLAIN, "diversity 0.8", "per_category 2", "all together"]
    plain, diverse, capped, _ = rows
    assert plain["mean"] == pytest.approx(command.report()["models"]["two-tower"]["ndcg@10"])
    assert diverse["diversity"] > plain["diversity"]
    assert capped["of_a_category"] < plain["of_a_category"]
    assert diverse["difference"] == pytest.approx(diverse["mean"] - plain["mean"])
    assert diverse["from"] <= diverse["difference"] <= diverse["to"]
    table = (command.out / "report" / "reranking.md").read_text()
    assert "| diversity 0.8 |" in table and "of a category" in table


def test_weights_are_tried_on_validation_by_towers_that_do_not_know_it(command: Command) -> None:
    told: list[str] = []
    grid = {"diversity": (0.1, 0.9), "freshness": (0.5,), "per_category": (1,)}
    rows = rerank_weights(command.run, grid, tell=lambda record: told.append(record.name))
    assert told == ["prepare", "embed", "train"]
    expected = ["diversity 0.1", "diversity 0.9", "freshness 0.5", "per_category 1"]
    assert [row["reranking"] for row in rows] == [PLAIN, *expected, "as in the config"]
    assert rows[1]["diversity"] < rows[2]["diversity"]
    assert rows[3]["age"] < rows[0]["age"]
    folder = command.out / "rerank"
    assert read_json(folder / "table.json") == rows
    assert (folder / "towers-of-train" / "towers").is_dir(), "the run's own were refitted"
    alone = folder / "towers-of-train"
    split = Split.load(alone / "data", Dataset.load(alone / "data"))
    towers = load_towers(alone / "towers", load_blocks(alone / "content"))
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    found = evaluate_ranker(ranker, split.task("validation"), ks=(10,))
    assert rows[0]["mean"] == pytest.approx(found.means["ndcg@10"]), "of validation, not the test"
    recommend = command.run.config.recommend.model_copy(update={"rerank": RerankConfig()})
    config = command.run.config.model_copy(update={"recommend": recommend})
    with pytest.raises(ConfigError, match="nothing to try"):
        rerank_weights(replace(command.run, config=config), {}, tell=lambda _: None)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("recommend.where=prize < 3", "the catalogue has no column 'prize'"),
        ("recommend.rules=[{users = 'old', items = 'price < 3'}]", "users' table has no column"),
        ("recommend.rerank.category=kind", "recommend.rerank.category: the catalogue has no"),
    ],
)
def test_what_the_data_lack_is_said_before_the_long_stages(
    command: Command, tmp_path: Path, word: str, message: str
) -> None:
    config = command.out.parent / "my.toml"
    for out in (tmp_path / "run", command.out):  # also where the data are there already
        with pytest.raises(ConfigError, match=message):
            Command.of(config, (word,), out).go()
    assert not (tmp_path / "run" / "data").exists()


def test_components_are_each_alone_and_together() -> None:
    config = RerankConfig(diversity=0.2, dampening=0.1, pool=30)
    found = components(config)
    assert list(found) == ["diversity 0.2", "dampening 0.1", "all together"]
    assert found["dampening 0.1"] == RerankConfig(dampening=0.1, pool=30)
    assert list(components(RerankConfig(freshness=0.1))) == ["freshness 0.1"]


def test_the_command_prints_the_same_and_refuses_what_is_no_weight(command: Command) -> None:
    from recsys.cli import app

    words = ["rerank", str(command.out.parent / "my.toml"), "--out", str(command.out), "--quiet"]
    words += ["--dampening", "none", "--freshness", "none", "--per-category", "1"]
    shown = CliRunner().invoke(app, [*words, "--diversity", "0.4"])
    assert shown.exit_code == 0, shown.exception
    lines = [line for line in shown.output.splitlines() if line.startswith(("div", "per", "as in"))]
    assert [line.split("  ")[0] for line in lines] == [
        "diversity 0.4",
        "per_category 1",
        "as in the config",
    ]
    for wrong in ("x", "0", "-1", "0.1,,"):
        refused = CliRunner().invoke(app, [*words, f"--diversity={wrong}"])
        assert isinstance(refused.exception, ConfigError)
        assert "--diversity" in str(refused.exception)


def test_what_cannot_be_tried_is_said_before_towers_train(command: Command, tmp_path: Path) -> None:
    run = replace(command.run, out=tmp_path / "run", vectors=None)
    with pytest.raises(ConfigError, match=r"diversity 2: Input should be less than"):
        rerank_weights(run, {"diversity": (2.0,)}, tell=lambda _: None)
    assert not list(tmp_path.rglob("towers*/stage.json"))
    with pytest.raises(ConfigError, match=r"freshness needs a log with times"):
        untimed = run.config.data.model_copy(update={"time": None})
        config = run.config.model_copy(update={"data": untimed})
        rerank_weights(replace(run, config=config), {"freshness": (0.3,)}, tell=lambda _: None)
