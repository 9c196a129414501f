"""Several processes learn what one learns, and a step may be cut into parts."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from together import WAYS, learn, make
from typer.testing import CliRunner

from recsys.cli import app
from recsys.errors import ConfigError
from recsys.stages.command import Command
from recsys.training.workers import Workers, open_workers

# Attention does not change with the bias of its keys: the gradient is rounding, which Adam makes
# steps of full length from.
NOISE = {f"users.encoders.0.blocks.{layer}.inward.bias" for layer in range(2)}

SCRIPT = Path(__file__).parent / "together.py"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("localhost", 0))
        return int(asked.getsockname()[1])


@pytest.fixture(scope="module", params=[2])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes learnt, in all ways."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, str(SCRIPT), str(folder), str(request.param), str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_processes_learn_what_one_learns(together: Path, way: str) -> None:
    alone, losses = learn(way)
    files = sorted(together.glob(f"{way}.*"))
    assert len(files) >= 2
    first = load_file(files[0])
    torch.testing.assert_close(
        first.pop("losses"), torch.tensor(losses, dtype=torch.float64), rtol=1e-4, atol=0
    )
    for name, weight in alone.towers.state_dict().items():
        if name not in NOISE:
            torch.testing.assert_close(first[name], weight, rtol=1e-3, atol=2e-4, msg=name)
    for other in map(load_file, files[1:]):
        for name, weight in first.items():
            torch.testing.assert_close(other[name], weight, rtol=0, atol=0)


def test_the_comparison_can_fail(together: Path) -> None:
    """Another seed's weights are far outside the tolerance."""
    moved, _ = learn("all items", learning_rate=0.019)
    first = load_file(together / "all items.0.safetensors")
    theirs, ours = first["items.id.weight"], moved.towers.items.id.weight
    assert (theirs - ours).abs().max() > 10 * 2e-4


@pytest.mark.parametrize("parts", [3])
@pytest.mark.parametrize("way", WAYS)
def test_a_step_in_parts_is_the_same_step(way: str, parts: int) -> None:
    whole, losses = learn(way)
    cut, theirs = learn(way, accumulate=parts)
    assert theirs == pytest.approx(losses, rel=1e-4)
    for name, weight in whole.towers.state_dict().items():
        if name not in NOISE:
            again = cut.towers.state_dict()[name]
            torch.testing.assert_close(again, weight, rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("way", ["all items", "in the batch"])
def test_batches_drawn_ahead_are_the_same(way: str) -> None:
    here, _ = learn(way)
    ahead, _ = learn(way, prefetch=2)
    for name, weight in here.towers.state_dict().items():
        torch.testing.assert_close(ahead.towers.state_dict()[name], weight, rtol=0, atol=0)


def test_what_needs_one_process_is_refused() -> None:
    with pytest.raises(ConfigError, match="contrast_weight is set and 2 processes"):
        learn("all items", Workers(0, 2), contrast_weight=0.1)


def test_what_needs_a_whole_step_is_refused() -> None:
    with pytest.raises(ValueError, match="contrast_weight goes with accumulate = 1, not 2"):
        make("all items", contrast_weight=0.1, accumulate=2)


def test_torchrun_says_who_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workers.from_environment() == Workers(0, 1, 0)
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert Workers.from_environment() == Workers(3, 8, 1)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ConfigError, match="torchrun"):
        Workers.from_environment()


@pytest.mark.parametrize(
    ("device", "said"), [("auto", "has no GPU: 1 are here"), ("cuda:0", "a GPU of its own")]
)
def test_each_process_has_a_gpu(monkeypatch: pytest.MonkeyPatch, device: str, said: str) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=said), open_workers(device):
        pass


def test_the_first_alone_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('[data]\nsource = "synthetic"\n')
    monkeypatch.setattr(Command, "stage", lambda *_, **__: {"train": {}})
    words = ["train", str(tmp_path / "my.toml"), "--out", str(tmp_path / "run"), "--json"]
    assert json.loads(CliRunner().invoke(app, words).stdout) == {"train": {}}
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, words).stdout == ""


def test_shares_are_all_of_it_once() -> None:
    for n in (0, 1, 5, 17):
        for size in (1, 2, 3, 8):
            shares = [Workers(rank, size).share(n) for rank in range(size)]
            assert [i for share in shares for i in range(n)[share]] == list(range(n))
