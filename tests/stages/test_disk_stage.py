"""A whole run with the log on disk: the figures, lists and bundle of the same run in memory."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.config import Config
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.files import read_json
from recsys.serving.make import make_bundle
from recsys.stages.check import check_log
from recsys.stages.command import Command
from recsys.stages.prepare import prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import perform

CONFIG = """
[data]
interactions = "log"
time = "time"
storage = "STORAGE"

[towers]
dim = 8

[training]
epochs = 3
score_every = 1
batch_size = 16
device = "cpu"

[index]
kind = "exact"

[evaluation]
tune_baselines = false
baselines = ["popularity"]

[tracking]
kind = "none"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in three files, and a config for each storage."""
    folder = tmp_path_factory.mktemp("log-on-disk")
    (folder / "log").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        frame = pd.DataFrame(
            {
                "user_id": random.integers(40, size=300),
                "item_id": random.integers(60, size=300) * 7,
                "time": 1_700_000_000 + random.integers(30, size=300) * 86_400,
            }
        )
        frame.to_parquet(folder / "log" / f"{number}.parquet")
    for storage in ("memory", "disk"):
        (folder / f"{storage}.toml").write_text(CONFIG.replace("STORAGE", storage))
    return folder


def test_a_check_says_the_same_of_both(folder: Path, tmp_path: Path) -> None:
    said = {}
    for storage in ("memory", "disk"):
        found = check_log(load_config(folder / f"{storage}.toml"), tmp_path / storage)
        said[storage] = found.lines()
    assert (tmp_path / "disk" / "log").is_dir(), "not read into memory"
    assert said["disk"] == said["memory"]
    assert any("duplicate of user and item, first: 0.parquet" in line for line in said["disk"])


def without_seconds(value: Any) -> Any:
    """Figures without what a clock says."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def test_figures_lists_and_bundle_are_those_of_memory(folder: Path) -> None:
    for storage in ("memory", "disk"):
        Command.of(folder / f"{storage}.toml", out=folder / storage).go()
    assert (folder / "disk" / "data" / "log" / "items.npy").exists()
    assert not (folder / "disk" / "data" / "interactions.parquet").exists()
    assert (folder / "memory" / "data" / "interactions.parquet").exists()
    figures = [
        without_seconds(read_json(folder / storage / "report" / "metrics.json"))
        for storage in ("memory", "disk")
    ]
    assert figures[0]["models"] == figures[1]["models"]
    lists = [
        [pd.read_parquet(part) for part in sorted((folder / storage).glob("recommend*/*.parquet"))]
        for storage in ("memory", "disk")
    ]
    pd.testing.assert_frame_equal(pd.concat(lists[0]), pd.concat(lists[1]))
    known, ours = (make_bundle(folder / name).recommender() for name in ("memory", "disk"))
    users = known.user_ids.values
    pd.testing.assert_frame_equal(known.recommend(users, k=5), ours.recommend(users, k=5))


def test_killed_in_the_middle_it_leaves_nothing_half_made(folder: Path, tmp_path: Path) -> None:
    """The process dies while arrays are written; the next call makes all, and nothing is left."""
    dies = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from recsys.data.disk import cut\n"
        "from recsys.stages.command import Command\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "cut.write_json = die\n"  # all arrays are there, what says how long they are is not
        "Command.of(Path(sys.argv[1]), out=Path(sys.argv[2])).stage('prepare')\n"
    )
    out, config = tmp_path / "run", folder / "disk.toml"
    command = [sys.executable, "-c", dies, str(config), str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    assert not (out / "data").exists()
    assert [path.name for path in out.iterdir()] != []  # the partial one
    Command.of(config, out=out).stage("prepare")
    assert {path.name for path in out.iterdir()} == {"data", "config.toml"}
    dataset = Dataset.load(out / "data")
    assert len(Split.load(out / "data", dataset).train) > 0


def test_prepared_once_it_is_fresh_until_an_array_changes(folder: Path, tmp_path: Path) -> None:
    data = {"interactions": folder / "log", "time": "time", "storage": "disk"}
    stage = prepare_stage(Run(Config.model_validate({"data": data}), tmp_path / "run", (0,)))
    record = perform(stage)
    assert not record.skipped and record.facts["storage"] == "disk"
    assert perform(stage).skipped
    path = tmp_path / "run" / "data" / "split" / "train" / "items.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    assert not perform(stage).skipped
