"""`finetune.layers=1` all the way: train, index, evaluate, explain and update by the tuned rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.content.saved import load_blocks
from recsys.errors import ArtifactError
from recsys.recommenders.explain import explain
from recsys.recommenders.recommender import Recommender
from recsys.stages.command import Command
from recsys.stages.pipeline import STAGES, plan
from recsys.towers.saved import load_tails, load_towers

CONFIG = """
[data]
interactions = "log.csv"
time = "time"
items = "items.csv"

[content.plot]
columns = ["plot"]
encoder = "random:bert:tiny"

[towers]
dim = 8

[training]
epochs = 2
score_every = 1
device = "cpu"

[update]
epochs = 1

[recommend]
k = 3

[tracking]
kind = "none"
"""
TUNED = ("content.plot.finetune.layers=1", "content.plot.finetune.learning_rate=1e-3")


def write_files(folder: Path, n_items: int) -> None:
    """A catalogue with one item that nobody took."""
    random = np.random.default_rng(0)
    rows = [
        (user, int(item), step)
        for user in range(30)
        for step, item in enumerate(random.permutation(n_items - 1)[:8])
    ]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "time"])
    log.to_csv(folder / "log.csv", index=False)
    plots = [f"{'abc' * (item % 4 + 1)} film {item}" for item in range(n_items)]
    items = pd.DataFrame({"item_id": range(n_items), "plot": plots})
    items.to_csv(folder / "items.csv", index=False)


def command(folder: Path, out: str, *words: str) -> Command:
    return Command.of(folder / "my.toml", words, folder / out)


def go(folder: Path, out: str, *words: str) -> None:
    made = command(folder, out, *words)
    for name in STAGES:
        made.stage(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small catalogue with an encoder that learns."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "my.toml").write_text(CONFIG)
    write_files(folder, 20)
    go(folder, "tuned", *TUNED)
    return folder


def test_every_stage_is_served_by_the_tuned_rows(folder: Path) -> None:
    out = folder / "tuned"
    blocks = load_blocks(out / "content")
    towers = load_towers(out / "towers", blocks)
    rows = towers.items.contents[0].get_buffer("content")
    assert not np.allclose(rows.numpy(), blocks[0].vectors, atol=1e-4)  # also of the newcomer
    assert load_tails(out / "towers")
    recommender = Recommender.load(out)
    assert len(recommender.recommend([1, 2], k=3)) == 6
    why = explain(recommender, 1, 5)
    assert "content.plot" in [share.name for share in why.item]
    assert pd.read_parquet(next((out / "recommendations").glob("*.parquet"))).shape[0] == 90


def test_what_is_done_is_skipped_and_other_rates_train_again(folder: Path) -> None:
    def would(*words: str) -> dict[str, str]:
        return {line.stage: line.would for line in plan(command(folder, "tuned", *words).run)}

    assert would(*TUNED)["train"] == "skip"
    assert would(*TUNED)["index"] == "skip"
    assert would(TUNED[0])["train"] == would()["train"] == "do"


def test_an_update_encodes_new_items_by_the_tuned_encoder(folder: Path) -> None:
    write_files(folder, 24)
    start = f"update.start={folder / 'tuned'}"
    with pytest.raises(ArtifactError, match="set finetune as it was"):
        go(folder, "without", start)
    go(folder, "updated", *TUNED, start)
    before, after = load_tails(folder / "tuned/towers"), load_tails(folder / "updated/towers")
    assert before.keys() == after.keys()
    moved = max(float((after[name] - weight).abs().max()) for name, weight in before.items())
    frozen = load_blocks(folder / "updated/content")[0].vectors
    towers = load_towers(folder / "updated/towers", load_blocks(folder / "updated/content"))
    rows = towers.items.contents[0].get_buffer("content")
    assert 0 < moved < 0.1
    assert tuple(rows.shape) == (24, 32)
    assert (torch.from_numpy(frozen) - rows).abs().amax(dim=1).min() > 1e-4  # all of them
