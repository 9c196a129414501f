"""A step that is not finite: it is not made, it is kept, and its replay says what was wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from recsys.cli import app
from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import ArtifactError, TrainingDiverged
from recsys.towers.two_tower import TwoTower
from recsys.training import diverged
from recsys.training.batches import draw_batches
from recsys.training.diverged import Moment, read_moment, save_moment
from recsys.training.loop import Learner, Place, train
from recsys.training.replay import replay

USERS, ITEMS, WIDTH = 20, 30, 6


def make_rows() -> Interactions:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), 6).astype(np.int32)
    items = np.concatenate([random.permutation(ITEMS)[:6] for _ in range(USERS)]).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), USERS, ITEMS)


def block() -> ContentBlock:
    vectors = np.random.default_rng(1).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    return ContentBlock("text", vectors, np.ones(ITEMS, dtype=np.bool_))


def make_learner(
    folder: Path | None, blocks: list[ContentBlock], **settings: object
) -> tuple[Learner, TrainingConfig]:
    config = TrainingConfig.model_validate(
        {"batch_size": 4, "negatives": "uniform", "n_negatives": 5, "device": "cpu", **settings}
    )
    known = np.ones(ITEMS, dtype=np.bool_)
    shape = TowersConfig(dim=8, user_id=True, encoder=("transformer",), layers=1, heads=1)
    learner = Learner(TwoTower(shape, USERS, blocks, known, seed=0), config)
    learner.diverged = folder
    return learner, config


def states(learner: Learner) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in learner.towers.state_dict().items()}


class Spoil:
    """Makes the gradient of a module's output infinite at a given call."""

    def __init__(self, learner: Learner, name: str, call: int) -> None:
        self.left = call
        module = learner.towers.get_submodule(name)
        module.register_forward_hook(self.hook)

    def hook(self, _module: object, _inputs: object, output: Tensor) -> None:
        self.left -= 1
        if self.left == 0:
            output.register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("table_optimizer", ["adamw", "row-wise"])
@pytest.mark.parametrize("seldom", [1, 4])
def test_training_stops_with_the_weights_before_the_step_and_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table_optimizer: str, seldom: int
) -> None:
    blocks, rows = [block()], make_rows()
    sound, config = make_learner(None, blocks, table_optimizer=table_optimizer)
    kept: list[dict[str, Tensor]] = []
    list(
        train(
            sound,
            rows,
            config,
            seed=0,
            until=1,
            on_step=lambda *_: kept.append(states(sound)),
        )
    )
    broken, _ = make_learner(tmp_path / "diverged", blocks, table_optimizer=table_optimizer)
    Spoil(broken, "users.encoders.0", 3)
    watch = diverged.Watch.__init__

    def looks_seldom(self: diverged.Watch, *args: Any) -> None:  # as on a GPU
        watch(self, *args)
        self.every = seldom

    monkeypatch.setattr(diverged.Watch, "__init__", looks_seldom)
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 3: .* recsys replay .*/diverged"):
        list(train(broken, rows, config, seed=0, until=1))
    for name, weight in states(broken).items():
        assert torch.equal(weight, kept[1][name]), name
    moment, read, towers = read_moment(tmp_path / "diverged")
    assert (moment.epoch, moment.step, read) == (1, 3, config)
    assert towers.is_dir() and not list((tmp_path / "diverged").rglob("*.p*kl*"))
    done = replay(tmp_path / "diverged", blocks, device="cpu")
    assert done.findings == () and done.loss == pytest.approx(
        float(json.loads((tmp_path / "diverged" / "state.json").read_text())["loss"]), rel=1e-6
    )


def test_where_a_step_was_not_made_is_no_place_to_go_on_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, config = make_learner(None, [])
    Spoil(learner, "users.encoders.0", 3)
    watch = diverged.Watch.__init__

    def looks_seldom(self: diverged.Watch, *args: Any) -> None:  # as on a GPU
        watch(self, *args)
        self.every = 5

    monkeypatch.setattr(diverged.Watch, "__init__", looks_seldom)
    asked, told = list[int](), list[int]()

    def on_step(step: int, steps: int, place: Callable[[], Place]) -> None:
        assert steps > 4
        asked.append(step)
        if step in (2, 4):
            told.append(place().steps)

    with pytest.raises(TrainingDiverged, match="epoch 1, step 3: "):
        list(train(learner, make_rows(), config, seed=0, until=1, on_step=on_step))
    assert (asked, told) == ([1, 2, 3, 4], [2])


def test_a_share_of_a_step_stays_one(tmp_path: Path) -> None:
    learner, config = make_learner(None, [])
    histories = make_rows().histories()
    batch = next(draw_batches(histories, config, 100, seed=0, epoch=1, workers=(1, 2)))
    moment = Moment(1, 1, batch, None, {}, ())
    save_moment(tmp_path / "diverged", learner.towers, config, moment, 0.0, 0.0, {})
    assert batch.total == 4.0
    assert read_moment(tmp_path / "diverged")[0].batch.total == batch.total


def stopped(folder: Path, blocks: list[ContentBlock], **settings: object) -> None:
    learner, config = make_learner(folder, blocks, **settings)
    with pytest.raises(TrainingDiverged):
        list(train(learner, make_rows(), config, seed=0, until=1))


@pytest.mark.parametrize("settings", [{}, {"negatives": "all"}, {"accumulate": 2}])
def test_replay_finds_content_that_is_not_finite(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    blocks = [block()]
    learner, config = make_learner(tmp_path / "diverged", blocks, **settings)
    learner.towers.items.contents[0].get_buffer("content")[7, 2] = torch.inf
    with pytest.raises(TrainingDiverged):
        list(train(learner, make_rows(), config, seed=0, until=1))
    done = replay(tmp_path / "diverged", blocks, device="cpu")
    first = done.findings[0]
    assert (first.where, first.name) == ("content", "items.contents.0.content")
    assert (first.bad, first.first, first.shape) == (1, (7, 2), (ITEMS, WIDTH))
    then = [found for found in done.findings if found.where == "forward"]
    assert then[0].name == "items.contents.0.project"
    assert "first at [7, 2]" in str(first)


def test_replay_finds_the_module_whose_output_is_the_first(tmp_path: Path) -> None:
    learner, config = make_learner(tmp_path / "diverged", [])
    with torch.no_grad():
        learner.towers.users.base[0] = 1e38  # its square is none: no unit vector
        learner.towers.users.base[1] = torch.inf
    with pytest.raises(TrainingDiverged):
        list(train(learner, make_rows(), config, seed=0, until=1))
    done = replay(tmp_path / "diverged", device="cpu")
    assert (done.findings[0].where, done.findings[0].name) == ("weights", "users.base")
    assert done.findings[0].largest == pytest.approx(1e38)
    assert next(found.name for found in done.findings if found.where == "forward") == "users"


def test_replay_finds_where_finite_weights_overflow(tmp_path: Path) -> None:
    learner, config = make_learner(tmp_path / "diverged", [])
    with torch.no_grad():
        for name, weight in learner.towers.named_parameters():
            if "users.encoders.0" in name and weight.ndim > 1:
                weight.mul_(1e30)
    with pytest.raises(TrainingDiverged):
        list(train(learner, make_rows(), config, seed=0, until=1))
    done = replay(tmp_path / "diverged", device="cpu")
    first = done.findings[0]
    assert first.where == "forward" and first.name.startswith("users.encoders.0.")
    assert done.operation


def test_without_a_folder_training_stops_all_the_same() -> None:
    learner, config = make_learner(None, [])
    Spoil(learner, "users.encoders.0", 2)
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 2: .*learning_rate below 0.003$"):
        list(train(learner, make_rows(), config, seed=0, until=1))


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    learner, config = make_learner(tmp_path / "diverged", [])
    Spoil(learner, "users.encoders.0", 1)
    with pytest.raises(TrainingDiverged):
        list(train(learner, make_rows(), config, seed=0, until=1))
    (tmp_path / "diverged" / "batch" / "users.npy").write_bytes(b"no array")
    with pytest.raises(ArtifactError, match="cannot be replayed"):
        replay(tmp_path / "diverged", device="cpu")


CONFIG = """
[data]
source = "synthetic"
[data.synthetic]
users = 60
items = 40
per_user = 10
[towers]
dim = 8
learn_temperature = false
[training]
epochs = 2
learning_rate = 1e30
clip_norm = 1e30
device = "cpu"
[split]
protocol = "user-time"
"""


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.toml").write_text(CONFIG)
    runner = CliRunner()
    for stage in ("prepare", "embed", "train"):
        trained = runner.invoke(app, [stage, "shop.toml", "--quiet"])
    assert isinstance(trained.exception, TrainingDiverged)
    folder = str(trained.exception).rsplit("recsys replay ", 1)[1]
    by_config = runner.invoke(app, ["replay", "shop.toml", "--json"])
    by_folder = runner.invoke(app, ["replay", folder, "--json"])
    assert by_config.exit_code == 0 and by_config.output == by_folder.output
    found = json.loads(by_config.output)
    assert found["findings"]
    assert found["norm"] != "None", "json has a null"
    told = runner.invoke(app, ["replay", "shop.toml"])
    assert "first: " in told.output
    Path(folder).rename(f"{folder}-0")  # of the first of several processes
    assert runner.invoke(app, ["replay", "shop.toml", "--json"]).output == by_config.output
    runner.invoke(app, ["train", "shop.toml", "training.learning_rate=0.003", "--quiet"])
    after = runner.invoke(app, ["replay", "shop.toml"])
    assert isinstance(after.exception, ArtifactError), "of a training before this one"
