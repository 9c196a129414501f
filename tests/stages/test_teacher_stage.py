"""A run that learns from another run's towers: it knows when these change, and whom not to ask."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.errors import ArtifactError, ConfigError
from recsys.stages.command import Command
from recsys.stages.lr_find import lr_find
from recsys.stages.stage import read_record
from recsys.stages.tune.search import search
from recsys.towers.saved import load_towers

CONFIG = """
[data]
interactions = "log.csv"
time = "time"

[split]
refit = {refit}

[towers]
dim = 8
nested = [4]

[training]
epochs = 2
score_every = 1
device = "cpu"
{teacher}

[index]
kind = "exact"
vectors = "int8"
dim = 4

[tracking]
kind = "none"
"""


def command(folder: Path, out: str, *words: str, teacher: str = "", refit: bool = True) -> Command:
    named = f'teacher = "{teacher}"' if teacher else ""
    text = CONFIG.format(refit=str(refit).lower(), teacher=named)
    (folder / "my.toml").write_text(text)
    return Command.of(folder / "my.toml", words, folder / out)


def go(made: Command, *stages: str) -> None:
    for name in stages:
        made.stage(name)


def trained(made: Command) -> bool:
    """Whether there was something to do."""
    record = made.run.folder("towers") / "stage.json"
    before = record.stat().st_mtime_ns
    made.stage("train")
    return record.stat().st_mtime_ns > before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, and a large teacher that has learnt from its training rows."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    rows = [
        (user, int(item), step)
        for user in range(30)
        for step, item in enumerate(random.permutation(20)[:8])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "time"])
    log.to_csv(folder / "log.csv", index=False)
    go(command(folder, "large", "towers.dim=16", refit=False), "prepare", "embed", "train")
    return folder


def test_the_teacher_is_an_input(folder: Path) -> None:
    student = command(folder, "small", teacher="large")
    go(student, "prepare", "embed", "train")
    record = read_record(folder / "small/towers")
    assert record["facts"]["teacher"] == str(folder / "large")
    alone = command(folder, "alone")
    go(alone, "prepare", "embed", "train")
    ours, theirs = (load_towers(folder / f"{out}/towers", ()) for out in ("small", "alone"))
    assert np.abs(ours.item_vectors() - theirs.item_vectors()).max() > 1e-3
    assert not trained(student)
    shutil.copytree(folder / "large", folder / "moved")
    assert not trained(command(folder, "small", teacher="moved"))
    assert trained(command(folder, "moved", "towers.dim=16", "seed=1", refit=False))
    assert trained(command(folder, "small", teacher="moved"))


def test_the_second_training_has_a_teacher_of_its_own(folder: Path) -> None:
    """Who has seen validation teaches on train + validation only: the scores stay what they are."""
    go(command(folder, "again", "towers.dim=16"), "prepare", "embed", "train")
    go(command(folder, "one", teacher="large"), "prepare", "embed", "train")
    both = command(folder, "two", f"training.teacher_refit={folder / 'again'}", teacher="large")
    go(both, "prepare", "embed", "train")
    first, second = (read_record(folder / f"{out}/towers")["facts"] for out in ("one", "two"))
    assert first["validation_ndcg@10"] == second["validation_ndcg@10"]
    ours, theirs = (load_towers(folder / f"{out}/towers", ()) for out in ("one", "two"))
    assert np.abs(ours.item_vectors() - theirs.item_vectors()).max() > 1e-3


def test_a_search_and_a_range_test_learn_from_it_too(folder: Path) -> None:
    found = {}
    for name, teacher in (("taught", "large"), ("untaught", "")):
        made = command(folder, name, "tune.trials=1", "training.epochs=4", teacher=teacher)
        go(made, "prepare", "embed", "train")
        facts = read_record(folder / name / "towers")["facts"]
        results = search(made.run, tell=lambda _: None)  # the config's own setting
        assert results.trials["score"].tolist() == [facts["validation_ndcg@10"]]
        assert results.trials["epochs"].tolist() == [facts["epochs"]]
        found[name] = lr_find(made.run, steps=40, tell=lambda _: None)
    ours, theirs = found["taught"].losses, found["untaught"].losses
    n = min(len(ours), len(theirs))
    assert np.abs(ours[:n] - theirs[:n]).max() > 1e-3


def test_what_is_served_is_cut_and_packed(folder: Path) -> None:
    made = command(folder, "served")
    go(made, "prepare", "embed", "train", "index", "recommend")
    facts = read_record(folder / "served/index")["facts"]
    assert facts["vectors"] == "int8"
    assert 0 < facts["farthest"] < 0.02
    codes = np.load(folder / "served/index/vectors.npy")
    assert (codes.dtype, codes.shape) == (np.int8, (20, 4))
    assert load_towers(folder / "served/towers", ()).item_vectors().shape == (20, 8)


def test_teachers_that_are_refused(folder: Path) -> None:
    itself = command(folder, "large", teacher="large", refit=False)
    with pytest.raises(ConfigError, match="cannot teach itself"):
        go(itself, "train")
    knows = command(folder, "knows")
    go(knows, "prepare", "embed", "train")
    student = command(folder, "student", teacher="knows")
    go(student, "prepare", "embed")
    with pytest.raises(ConfigError, match=r"has learnt from the validation .*refit = false"):
        go(student, "train")
    other = command(folder, "student", "split.test_fraction=0.4", teacher="large")
    go(other, "prepare", "embed")
    with pytest.raises(ArtifactError, match="learnt from another log or split"):
        go(other, "train")
    named = f"training.teacher_refit={folder / 'large'}"
    blind = command(folder, "student", named, teacher="large")
    go(blind, "prepare", "embed")
    with pytest.raises(ConfigError, match=r"has not learnt from the validation part"):
        go(blind, "train")
    with pytest.raises(ConfigError, match=r"teacher_refit needs teacher"):
        command(folder, "student", named)
    missing = command(folder, "student", teacher="nowhere")
    go(missing, "prepare", "embed")
    with pytest.raises(ArtifactError, match="nowhere"):
        go(missing, "train")
