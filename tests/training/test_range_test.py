"""The learning-rate range test finds the rates that a curve was planted with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from recsys.cli import app
from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.errors import DataError
from recsys.towers.two_tower import TwoTower
from recsys.training import diverged
from recsys.training.distill import Teacher
from recsys.training.loop import Learner
from recsys.training.range_test import RangeTest, range_test

TRAINING = TrainingConfig(batch_size=8, device="cpu")
TRUE_STEEPEST, TRUE_MINIMUM = 1e-3, 1e-2


def rows() -> Interactions:
    users = np.repeat(np.arange(20), 6).astype(np.int32)
    items = ((np.tile(np.arange(6), 20) * 3 + users) % 15).astype(np.int32)
    at = np.arange(120)
    return Interactions(users, items, at, np.ones(120, np.float32), at, 20, 15)


def learner() -> Learner:
    towers = TwoTower(TowersConfig(dim=8), 20, (), rows().item_counts() > 0, seed=0)
    return Learner(towers, TRAINING)


def planted(rate: float) -> float:
    """Flat, then falling (fastest at the one rate), lowest at the other, then without bounds."""
    at = np.log10(rate)
    falls = 6 / (1 + np.exp(4 * (at - np.log10(TRUE_STEEPEST))))
    return float(2 + falls + np.exp(9 * (at - np.log10(TRUE_MINIMUM) - 0.5)))


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], float]], list[float]]:
    """Losses that are a function of the rate; lists the rates that were asked for."""

    def plant(loss: Callable[[float], float]) -> list[float]:
        rates: list[float] = []

        def step(*words: Any) -> torch.Tensor:
            rate = words[5]
            rates.append(rate)
            return torch.tensor(loss(rate))

        monkeypatch.setattr("recsys.training.range_test.make_step", step)
        return rates

    return plant


def test_it_finds_the_planted_rates(curve: Callable[..., list[float]]) -> None:
    random = np.random.default_rng(0)
    asked = curve(lambda rate: planted(rate) + 0.02 * random.standard_normal())
    found = range_test(learner(), rows(), TRAINING, seed=0)
    assert found.burst
    assert found.steepest == pytest.approx(TRUE_STEEPEST, rel=0.5)
    assert 10 * found.tenth == pytest.approx(TRUE_MINIMUM, rel=0.5)
    np.testing.assert_allclose(asked, np.geomspace(1e-6, 1, 200)[: len(asked)])
    assert asked[-1] < 0.1, "it ends soon after the loss has burst"


def test_a_loss_that_is_no_number_ends_it(curve: Callable[..., list[float]]) -> None:
    curve(lambda rate: planted(rate) if rate < TRUE_MINIMUM else float("nan"))
    found = range_test(learner(), rows(), TRAINING, seed=0)
    assert found.burst
    assert found.rates[-1] < TRUE_MINIMUM
    assert np.isfinite(found.losses).all()
    curve(lambda rate: float("nan") if rate > 2e-6 else 1.0)
    with pytest.raises(DataError, match="bursts after"):
        range_test(learner(), rows(), TRAINING, seed=0)


def test_real_steps_learn_at_the_rates_and_repeat() -> None:
    first = range_test(learner(), rows(), TRAINING, seed=0, steps=60, high=0.1)
    again = range_test(learner(), rows(), TRAINING, seed=0, steps=60, high=0.1)
    np.testing.assert_array_equal(first.losses, again.losses)
    assert first.losses[-5:].mean() < first.losses[:5].mean() - 0.1
    still = range_test(learner(), rows(), TRAINING, seed=0, steps=60, low=1e-9, high=1e-8)
    assert still.losses[-20:].mean() == pytest.approx(still.losses[:20].mean(), abs=0.15)


def test_a_teacher_is_learnt_from_as_well() -> None:
    towers = TwoTower(TowersConfig(dim=8), 20, (), rows().item_counts() > 0, seed=1)
    taught = Learner(learner().towers, TRAINING, Teacher.of(towers, TRAINING))
    found = range_test(taught, rows(), TRAINING, seed=0, steps=30)
    alone = range_test(learner(), rows(), TRAINING, seed=0, steps=30)
    assert found.losses[0] > alone.losses[0] + 1e-3


@pytest.mark.parametrize("seldom", [1, 50])
def test_a_step_that_is_not_made_ends_it(monkeypatch: pytest.MonkeyPatch, seldom: int) -> None:
    watch = diverged.Watch.__init__

    def looks_seldom(self: diverged.Watch, *args: Any) -> None:  # as on a GPU
        watch(self, *args)
        self.every = seldom

    monkeypatch.setattr(diverged.Watch, "__init__", looks_seldom)
    spoilt, calls = learner(), list[torch.Tensor]()

    def spoil(_module: object, _inputs: object, output: torch.Tensor) -> None:
        calls.append(output)
        if len(calls) == 30:
            output.register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]

    spoilt.towers.users.register_forward_hook(spoil)
    found = range_test(spoilt, rows(), TRAINING, seed=0, steps=60, high=0.1)
    assert found.burst
    assert len(found.losses) == 29


CONFIG = """
[data]
source = "synthetic"
[data.synthetic]
users = 60
items = 40
per_user = 12
[towers]
dim = 8
[training]
device = "cpu"
"""


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(CONFIG)
    words = ["lr-find", str(tmp_path / "my.toml"), "--out", str(tmp_path / "run"), "--steps", "50"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "steepest descent" in done.stdout
    kept = sorted(path.name for path in (tmp_path / "run").iterdir() if path.name[0] != ".")
    assert kept == ["content", "data", "lr-find.csv", "lr-find.png", "recsys.log"], "no towers"
    curve = pd.read_csv(tmp_path / "run" / "lr-find.csv")
    assert len(curve) == 50


def test_its_curve_is_smoothed_without_a_lag() -> None:
    """A step in the losses lies in the middle of its smoothed rise."""
    rates = np.geomspace(1e-6, 1, 101)
    found = RangeTest(rates, rates, 1 - 1 / (1 + np.exp(-np.arange(-50, 51))), burst=False)
    assert found.steepest == pytest.approx(rates[50])
