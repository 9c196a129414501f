"""``torchrun pipelines/train.py``: what one process learns, and a lost worker changes nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "train.py"

CONFIG = """
[data]
interactions = "log.csv"
[towers]
dim = 16
history_dropout = 0.0
item_dropout = 0.0
[training]
epochs = 12
score_every = 3
patience = 9
batch_size = 8
device = "cpu"
checkpoint_seconds = 0.0
[tracking]
kind = "none"
"""

BEFORE = """
from pathlib import Path
from recsys.stages.command import Command
for out in ("whole", "lost", "alone"):
    command = Command.of(Path("c.toml"), out=Path(out))
    command.stage("prepare")
    command.stage("embed")
command.stage("train")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs with data and content; the one called ``alone`` is trained."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 12)
    draws = [random.choice(40, size=12, replace=False) for _ in range(60)]
    items = np.concatenate(draws) * 2 + users % 2
    log = pd.DataFrame({"user_id": users, "item_id": items})
    log.to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "c.toml").write_text(CONFIG, encoding="utf-8")
    subprocess.run([sys.executable, "-c", BEFORE], cwd=tmp_path, check=True, env=environment())
    return tmp_path


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def start(folder: Path, out: str) -> subprocess.Popen[str]:
    """Train with two processes, which are replaced three times at most."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    launch += ["--max-restarts=3", str(PIPELINE), "c.toml", "--out", out]
    return subprocess.Popen(
        [sys.executable, *launch],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it has started."""
    told = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
    return [int(number) for number in told.split()]


def weights(folder: Path, out: str) -> dict[str, np.ndarray]:
    (path,) = (folder / out / "towers").glob("*.safetensors")
    return load_file(path)


@pytest.mark.timeout(300)
def test_two_processes_train_one_model_and_a_lost_one_is_replaced(folder: Path) -> None:
    whole = start(folder, "whole")
    told, _ = whole.communicate(timeout=120)
    assert whole.returncode == 0, told
    lost = start(folder, "lost")
    deadline = time.monotonic() + 60
    while not list((folder / "lost").glob(".checkpoint-*")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert lost.poll() is None, "it must not end before it is disturbed"
        time.sleep(0.02)
    os.kill(workers_of(lost)[-1], signal.SIGKILL)
    told, _ = lost.communicate(timeout=120)
    assert lost.returncode == 0, told
    assert "training goes on after epoch" in told
    expected, alone = weights(folder, "whole"), weights(folder, "alone")
    for name, found in weights(folder, "lost").items():
        np.testing.assert_array_equal(found, expected[name], err_msg=name)
        np.testing.assert_allclose(found, alone[name], rtol=1e-2, atol=2e-3, err_msg=name)
