"""Protocols and folds side by side, knock-out, blending: on one small log, by the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from recsys.cli import app
from recsys.content.encoder import ContentBlock
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.errors import ConfigError, DataError
from recsys.evaluation.metrics import judge, ndcg
from recsys.evaluation.side_by_side import SideBySide
from recsys.files import read_json
from recsys.stages.blend import blend
from recsys.stages.command import Command
from recsys.stages.compare import compare_runs
from recsys.stages.knock_out import knock_out, knocked_out
from recsys.stages.pipeline import perform_stages
from recsys.stages.protocols import fold_runs, parse_protocols, protocol_runs

N_USERS, EACH = 40, 8
CONFIG = """
[data]
interactions = "log.csv"
time = "time"
items = "items.csv"

[content.colour]
columns = ["colour"]
encoder = "categories"

[towers]
dim = 8

[training]
epochs = 4
score_every = 2
batch_size = 16
learning_rate = 0.03
device = "cpu"

[newcomers]
dim = 0

[index]
kind = "exact"

[evaluation]
tune_baselines = false
baselines = ["popularity", "decayed-popularity", "ease", "content-cosine"]
beyond = []

[tracking]
kind = "none"
"""
DAY = 86_400
QUICK = "training.epochs=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Even users take even items: red ones; odd users odd ones: blue."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), EACH)
    items = np.concatenate([random.permutation(15)[:EACH] for _ in range(N_USERS)]) * 2 + users % 2
    times = 1_700_000_000 + random.permutation(len(users)) * DAY
    log = pd.DataFrame({"user_id": users, "item_id": items, "time": times})
    log.sort_values(["user_id", "time"]).to_csv(folder / "log.csv", index=False)
    colours = ["blue" if item % 2 else "red" for item in range(30)]
    pd.DataFrame({"item_id": range(30), "colour": colours}).to_csv(
        folder / "items.csv", index=False
    )
    (folder / "my.toml").write_text(CONFIG)
    return folder


def call(*words: str | Path) -> Any:
    """Call the command line and read the json that it prints."""
    found = CliRunner().invoke(app, [*map(str, words), "--json", "-q"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def modified(folder: Path) -> dict[str, int]:
    """When every stage below was last done."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("stage.json")}


def test_protocols_side_by_side(folder: Path) -> None:
    out, config = folder / "runs" / "all", folder / "my.toml"
    asked = ("evaluate", config, "--protocols", "user-time,random,cold-items", "--out", out, QUICK)
    found = call(*asked)
    assert list(found["runs"]) == ["user-time", "random", "cold-items"]
    assert found["left_out"] == {}
    for name, run in found["runs"].items():
        report = read_json(out / "protocols" / name / "report" / "metrics.json")
        assert report["protocol"]["protocol"] == name
        values = {m: v["value"] for m, v in run["models"].items()}
        expected = {m: v["ndcg@10"] for m, v in report["models"].items() if m != "two-tower-exact"}
        assert values == expected
        for model, about in run["models"].items():
            assert about["rank"] == 1 + sum(v > values[model] for v in values.values())
    assert found["runs"]["cold-items"]["models"]["content-cosine"]["value"] > 0.5
    text = (out / "protocols" / "table.md").read_text()
    assert text.startswith("| ndcg@10 | user-time | random | cold-items | mean rank |")
    before = {p: t for p, t in modified(out).items() if "content" not in p}  # is always asked
    assert call(*asked) == found
    assert {p: t for p, t in modified(out).items() if "content" not in p} == before


def test_what_a_log_cannot_have_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    log = pd.read_csv(folder / "log.csv")
    log["time"] = log.groupby("user_id").cumcount()
    log.to_csv(tmp_path / "log.csv", index=False)
    config = tmp_path / "my.toml"
    config.write_text(
        '[data]\ninteractions = "log.csv"\ntime = "time"\n[tracking]\nkind = "none"\n'
    )
    run = Command.of(config, out=tmp_path / "run").run
    able, left_out = protocol_runs(run, parse_protocols("all", "user-time"), lambda _: None)
    assert list(able) == ["user-time", "leave-last-out", "random", "cold-users"]
    assert set(left_out) == {"global-time", "cold-items"}
    assert "needs moments" in left_out["global-time"]
    assert "there is no [content.NAME]" in left_out["cold-items"]
    with pytest.raises(ConfigError, match="'cold' is none; known: all, user-time"):
        parse_protocols("random,cold", "user-time")
    with pytest.raises(ConfigError, match="comes twice"):
        parse_protocols("random,random", "user-time")


def test_a_protocol_without_the_reference_compares_with_the_towers(folder: Path) -> None:
    words = ['evaluation.reference="ease"', 'evaluation.baselines=["ease"]']
    run = Command.of(folder / "my.toml", words, out=folder / "runs" / "reference").run
    unnamed = run.config.evaluation.model_copy(update={"baselines": None})
    run = replace(run, config=run.config.model_copy(update={"evaluation": unnamed}))
    able, _ = protocol_runs(run, ["random", "cold-items"], lambda _: None)
    references = {name: found.run.config.evaluation.reference for name, found in able.items()}
    assert references == {"random": "ease", "cold-items": "two-tower"}


def test_folds_roll_on(folder: Path) -> None:
    """Each fold tests one window of the test part, and learns from all before it, no more."""
    out = folder / "runs" / "folds"
    found = call("evaluate", folder / "my.toml", "--folds", "3", "--out", out, QUICK)
    assert list(found["runs"]) == ["fold 1", "fold 2", "fold 3"]
    windows, last = [], -1
    for fold in ("1", "2", "3"):
        data = out / "folds-3" / fold / "data"
        cut = Split.load(data, Dataset.load(data))
        before = np.concatenate([cut.train.times, cut.validation.times])
        assert before.max() < cut.test.times.min()
        assert last < cut.test.times.min()
        last = cut.test.times.max()
        everything = np.sort(cut.log.times)
        assert len(before) == (everything < cut.test.times.min()).sum()
        windows.append(cut.test.times)
    n = N_USERS * EACH
    assert sorted(np.concatenate(windows)) == everything[-n // 5 :].tolist()
    values = [run["models"]["ease"]["value"] for run in found["runs"].values()]
    assert found["models"]["ease"]["mean"] == pytest.approx(np.mean(values))
    assert found["models"]["ease"]["sd"] == pytest.approx(np.std(values, ddof=1))
    with pytest.raises(ConfigError, match="--folds 1 needs at least 2"):
        fold_runs(Command.of(folder / "my.toml", out=out).run, 1, None)


def test_dry_runs_write_nothing(folder: Path, tmp_path: Path) -> None:
    """Nor for a log that no stage has looked at yet; what cannot be run is said all the same."""
    out = tmp_path / "runs" / "dry"
    before = sorted(folder.rglob("*"))
    asked = ("evaluate", folder / "my.toml", "--out", out, "--dry-run")
    found = call(*asked, "--protocols", "random,cold-users", "content={}")
    assert list(found["runs"]) == ["random", "cold-users"] and found["left_out"] == {}
    stages = [line["stage"] for line in found["runs"]["random"]]
    assert stages[0] == "prepare" and "recommend" not in stages
    assert {line["would"] for line in found["runs"]["random"]} == {"do"}
    assert list(call(*asked, "--folds", "2")["runs"]) == ["fold 1", "fold 2"]
    assert not out.parent.exists() and sorted(folder.rglob("*")) == before


def test_a_fold_in_which_nobody_can_be_asked_is_named(folder: Path, tmp_path: Path) -> None:
    """The last days belong to users who were never seen before."""
    log = pd.read_csv(folder / "log.csv").sort_values("time").reset_index(drop=True)
    log["user_id"] = log["user_id"].where(log.index < len(log) * 9 // 10, log.index + 1_000)
    log.to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "my.toml").write_text('[data]\ninteractions = "log.csv"\ntime = "time"\n')
    run = Command.of(tmp_path / "my.toml", out=tmp_path / "run").run
    why = r"fold 2 of 2: nobody could be asked \(32 rows of users without history.*take fewer folds"
    with pytest.raises(DataError, match=why):
        fold_runs(run, 2, None)
    with pytest.raises(DataError, match=r"fold \d+ of 900: "):
        fold_runs(run, 900, None)
    assert not (tmp_path / "run").exists()


def test_columns_are_asked_for_before_training_although_the_data_are_there(folder: Path) -> None:
    out = folder / "runs" / "columns"
    Command.of(folder / "my.toml", out=out).stage("prepare")
    for word, why in (
        ("evaluation.categories=shape", "no column 'shape'; it has: colour"),
        ('evaluation.slices=["items.shape"]', r"'items\.shape' is no column; known: items\.colour"),
    ):
        command = Command.of(folder / "my.toml", (word,), out)
        with pytest.raises(ConfigError, match=why):
            perform_stages(command.run, tell=lambda _: None)
        with pytest.raises(ConfigError, match=why):
            command.stage("prepare", force=True)
    assert not (out / "towers").exists()


def test_folds_and_global_time_agree(folder: Path) -> None:
    words = ("split.protocol=global-time", "split.folds=2", "split.fold=2")
    run = Command.of(folder / "my.toml", words, folder / "runs" / "second")
    run.stage("prepare")
    data = run.run.folder("data")
    cut = Split.load(data, Dataset.load(data))
    assert len(cut.test) == N_USERS * EACH // 10
    with pytest.raises(ConfigError, match="folds = 2 needs protocol"):
        Command.of(folder / "my.toml", ("split.folds=2",))
    with pytest.raises(ConfigError, match="fold = 3: there are 2"):
        Command.of(folder / "my.toml", (*words, "split.fold=3"))


def test_ranks_and_agreement() -> None:
    values = {"a": {"x": 0.3, "y": 0.2, "z": 0.1}, "b": {"x": 0.1, "y": 0.2, "z": 0.2}}
    found = SideBySide("ndcg@10", values, {}, {"a": 5, "b": 6}, {"c": "no moments"})
    assert found.ranks("a") == {"x": 1, "y": 2, "z": 3}
    assert found.ranks("b") == {"x": 3, "y": 1, "z": 1}
    assert found.agreement("a") == 1.0
    assert found.agreement("b") == pytest.approx(-2 / np.sqrt(3 * 2))  # tau-b of one tie
    assert found.overall("x") == pytest.approx((0.2, np.std([0.3, 0.1], ddof=1)))
    assert [found.mean_rank(m) for m in "xyz"] == [2.0, 1.5, 2.0]
    assert found.note is None
    assert found.markdown(folds=True).splitlines()[2] == (
        "| x | .3000 (1) | .1000 (3) | .2000 | .1414 |"
    )
    assert "Left out: c: no moments" in found.markdown(folds=False)


def test_side_by_side_is_never_cut() -> None:
    names = ("user-time", "leave-last-out", "global-time", "random", "cold-items", "cold-users")
    models = ("two-tower", "decayed-popularity", "content-cosine")
    values = {name: {m: 0.1 * n for n, m in enumerate(models)} for name in names}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(SideBySide("ndcg@10", values, {}, dict.fromkeys(names, 12_345), {}).table(
            folds=False
        ))  # fmt: skip
    text = capture.get()
    assert "…" not in text and all(word in text for word in ("leave-", "global-", "decayed-pop"))
    assert text.count(".2000") == len(names)


def test_mean_ranks_are_over_runs_that_measured_all_models() -> None:
    """The towers win among two new ones; that says nothing of the models that were not there."""
    values = {
        "a": {"towers": 0.1, "y": 0.2, "z": 0.3},
        "cold": {"towers": 0.3, "random": 0.4},
        "b": {"towers": 0.3, "y": 0.2, "z": 0.1, "late": 0.9},
    }
    found = SideBySide("m", values, {}, dict.fromkeys(values, 5), {})
    assert found.ranked_in == ("a", "b")
    assert [found.mean_rank(m) for m in ("towers", "y", "z")] == [2.0, 2.0, 2.0]
    assert found.mean_rank("random") is None and found.mean_rank("late") is None
    text = found.markdown(folds=False)
    assert "| random | - | .4000 (1) | - | - |" in text
    assert "Mean rank: of the models of a, over the protocols that measured all of them: a, b." in (
        text
    )


def test_knock_out(folder: Path) -> None:
    """Of new items nothing but the colour is known: without it, chance."""
    out = folder / "runs" / "out"
    asked = (
        "knock-out", folder / "my.toml", "split.protocol=cold-items", "split.test_fraction=0.4",
        "--seeds", "0,1", "--out", out,
    )  # fmt: skip
    rows = {row["variant"]: row for row in call(*asked)}
    assert list(rows) == ["all real", "colour shuffled", "colour constant", "colour absent"]
    real = rows["all real"]
    assert real["low"] <= real["mean"] <= real["high"]
    for name in list(rows)[1:]:
        row = rows[name]
        assert row["mean"] < real["mean"]
        assert row["difference"] == pytest.approx(row["mean"] - real["mean"])
        assert row["from"] <= row["difference"] <= row["to"]
        assert row["verdict"] == "worse"
    before = {p: t for p, t in modified(out).items() if "content" not in p}
    call(*asked)
    assert {p: t for p, t in modified(out).items() if "content" not in p} == before
    run = Command.of(folder / "my.toml", out=out).run
    with pytest.raises(ConfigError, match="no content 'shape'; known: colour"):
        knock_out(run, only=("shape",), tell=lambda _: None)


def test_what_is_left_of_a_block() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2) + 1
    present = np.array([1, 0, 1, 1, 1, 1], dtype=np.bool_)
    vectors[1] = 0
    block = ContentBlock("x", vectors, present)
    shuffled = knocked_out(block, "shuffled", 0)
    assert sorted(map(tuple, shuffled.vectors)) == sorted(map(tuple, vectors))
    assert not np.array_equal(shuffled.vectors, vectors)
    constant = knocked_out(block, "constant", 0)
    assert len(np.unique(constant.vectors[present], axis=0)) == 1
    for made in (shuffled, constant):
        assert np.array_equal(made.present, present)
        assert not made.vectors[1].any()
    assert not knocked_out(block, "absent", 0).present.any()
    assert vectors[0].tolist() == [1, 2]  # the block itself is as it was


def test_blend(folder: Path) -> None:
    one = folder / "runs" / "one"
    for name in ("one", "two"):
        words = ("towers.dim=4", QUICK) if name == "two" else (QUICK,)
        Command.of(folder / "my.toml", words, folder / "runs" / name).go()
    out = folder / "runs" / "both"
    report = call("blend", one, folder / "runs" / "two", "--with", "ease", "--out", out)
    assert set(report["models"]) == {
        "blend-reciprocal-rank",
        "blend-weighted",
        "one",
        "two",
        "popularity",
        "decayed-popularity",
        "ease",
        "content-cosine",
    }
    assert sum(report["weights"]["0"].values()) == pytest.approx(1)
    alone = read_json(one / "report" / "metrics.json")["models"]
    assert report["models"]["one"]["ndcg@10"] == alone["two-tower"]["ndcg@10"]
    assert report["models"]["ease"]["ndcg@10"] == alone["ease"]["ndcg@10"]
    (_, compared) = compare_runs([one, out])  # side by side, though not paired
    assert "lacks data" in compared["paired"]["why_not"]
    # The figure is that of the lists which were written.
    lists = pd.read_parquet(out / "report" / "rankings" / "blend-weighted-seed-0.parquet")
    data = Dataset.load(one / "data")
    task = Split.load(one / "data", data).task("test")
    table = lists.pivot_table(index="user_id", columns="rank", values="item_id").astype(int)
    judged = judge(data.item_ids.numbers(table.to_numpy().ravel()).reshape(table.shape),
                   task.truth.histories().take(task.users))  # fmt: skip
    assert ndcg(judged, 10).mean() == pytest.approx(report["models"]["blend-weighted"]["ndcg@10"])
    # Weights come of towers that have not learnt from the validation rows.
    parts = out / "parts" / "one"
    assert read_json(parts / "towers" / "stage.json")["settings"]["refit"] is False
    # What is said of it is what is said of any run, and the verdicts are of the others against it.
    said = set(read_json(one / "report" / "metrics.json")) - {"index"}
    assert said | {"weights", "parts"} == set(report)
    written = {path.name for path in (one / "report").iterdir()} - {"learning_curves.png"}
    assert written == {path.name for path in (out / "report").iterdir()}
    assert report["certainty"]["reference"] == "blend-weighted"
    assert set(report["verdicts"]) == set(report["models"]) - {"blend-weighted"}
    for model, by_metric in report["verdicts"].items():
        shown = report["models"][model]["ndcg@10"] - report["models"]["blend-weighted"]["ndcg@10"]
        assert by_metric["ndcg@10"]["difference"] == pytest.approx(shown)
    assert "blend-weighted" in (out / "report" / "slices.md").read_text()


def test_what_cannot_be_blended(folder: Path, tmp_path: Path) -> None:
    one, other = folder / "runs" / "one", tmp_path / "other"
    Command.of(folder / "my.toml", ("split.protocol=random", "training.epochs=1"), other).go()
    with pytest.raises(ConfigError, match=r"other is of another data or split than .*one"):
        blend([one, other], tmp_path / "out", tell=lambda _: None)
    with pytest.raises(ConfigError, match="name at least two runs"):
        blend([one], tmp_path / "out", tell=lambda _: None)
    Command.of(folder / "my.toml", (QUICK,), tmp_path / "ease").go()
    with pytest.raises(ConfigError, match="two models would be called 'ease'"):
        blend([tmp_path / "ease"], tmp_path / "out", baselines=("ease",), tell=lambda _: None)
    with pytest.raises(ConfigError, match=r"--with bpr: the baselines of .* are: popularity"):
        blend([one], tmp_path / "out", baselines=("bpr",), tell=lambda _: None)
