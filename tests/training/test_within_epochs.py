"""Within an epoch a checkpoint of any step goes on to the very same weights; so does a kill."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from together import WAYS, make, make_rows

from recsys.errors import ArtifactError
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.loop import Place, train
from recsys.training.workers import Workers

RANDOM = {"history_dropout": 0.2, "item_dropout": 0.2, "dropout": 0.2, "id_dropout": 0.1}


class StoppedError(Exception):
    """Stands for a kill."""


def stop_at(folder: Path, way: str, at: tuple[int, int], **more: object) -> None:
    """Train until a step of an epoch, and keep what there is."""
    learner, config = make(way, **RANDOM, **more)

    def on_step(step: int, steps: int, place: Callable[[], Place]) -> None:
        assert steps >= 4
        if (learner.epoch + 1, step) == at:
            save_checkpoint(folder, learner, {}, {}, [place()])
            raise StoppedError

    with pytest.raises(StoppedError):
        list(train(learner, make_rows(), config, seed=3, until=3, on_step=on_step))


@pytest.mark.parametrize(
    ("way", "prefetch"), [*((way, 0) for way in WAYS), ("drawn", 2), ("every prefix", 2)]
)
def test_a_checkpoint_within_an_epoch_goes_on_exactly(
    way: str, prefetch: int, tmp_path: Path
) -> None:
    unbroken, config = make(way, **RANDOM)
    expected = list(train(unbroken, make_rows(), config, seed=3, until=3))
    stop_at(tmp_path / "checkpoint", way, (2, 3), prefetch=prefetch)
    later, config = make(way, **RANDOM, prefetch=prefetch)
    torch.manual_seed(99)
    load_checkpoint(tmp_path / "checkpoint", later)
    assert later.place is not None
    assert (later.epoch, later.place.steps) == (1, 3)
    reports = list(train(later, make_rows(), config, seed=3, until=3))
    assert reports == expected[1:], "the losses of the steps before count too"
    for name, weight in unbroken.towers.state_dict().items():
        torch.testing.assert_close(later.towers.state_dict()[name], weight, rtol=0, atol=0)


def test_a_checkpoint_is_of_as_many_processes(tmp_path: Path) -> None:
    stop_at(tmp_path / "checkpoint", "all items", (1, 2))
    with pytest.raises(ArtifactError, match="by 1 processes and is to be read by 2"):
        load_checkpoint(tmp_path / "checkpoint", make("all items")[0], Workers(1, 2))


NURSERY = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from safetensors.torch import save_file
from recsys.config import TowersConfig, TrainingConfig
from recsys.data.protocols import leave_last_out
from recsys.data.splits import Split
from recsys.fitting import fit_towers
from recsys.progress import set_quiet
from together import N_ITEMS, make_rows
import numpy as np

torch.set_num_threads(1)
set_quiet(True)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
rows = make_rows()
split = Split("leave-last-out", rows, leave_last_out(rows), np.zeros(N_ITEMS, dtype=np.int8))

def fit(checkpoint, out):
    training = TrainingConfig(epochs=12, score_every=2, batch_size=4, device="cpu", patience=9)
    shape = TowersConfig(dim=16)
    fitted = fit_towers(
        split, (), shape, training, seed=5, checkpoint=checkpoint, checkpoint_seconds=0
    )
    save_file(fitted.towers.state_dict(), out)

def live(seconds):
    child = os.fork()
    if child == 0:
        fit(folder / "checkpoint", folder / "killed.safetensors")
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

moments = random.Random(0)
print(*(live(moments.uniform(0.02, 0.4)) for _ in range(kills)))
assert not live(None)
fit(None, folder / "unbroken.safetensors")
"""


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """At random moments, kill -9: while it computes, writes, or renames."""
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, tmp_path, "20"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") >= 15, "most must have been killed in the middle"
    killed, unbroken = (
        load_file(tmp_path / f"{name}.safetensors") for name in ("killed", "unbroken")
    )
    for name, weight in unbroken.items():
        torch.testing.assert_close(killed[name], weight, rtol=0, atol=0)
