"""torch.compile: the same numbers and names, and one line where there is no compiler."""

import shutil

import numpy as np
import pytest
import torch

from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.errors import ConfigError
from recsys.towers.item_tower import ItemTower
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner

ITEMS = 12


def towers(**settings: object) -> TwoTower:
    shape = TowersConfig.model_validate({"dim": 8, "members": 1, "layers": 1, **settings})
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    block = ContentBlock("text", vectors, np.ones(ITEMS, dtype=np.bool_))
    return TwoTower(shape, 3, [block], np.ones(ITEMS, dtype=np.bool_), seed=0)


def test_without_a_compiler_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler 'no-such-compiler'"):
        Learner(towers(), TrainingConfig(compile=True, device="cpu"))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (
            {"encoder": "transformer", "layers": 2},
            {"users.encoders.0.blocks.0", "users.encoders.0.blocks.1"},
        ),
        ({"fusion": "mlp"}, {"items.fusion"}),
        ({}, set()),
    ],
)
def test_what_is_compiled_and_that_names_stay(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], parts: set[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)  # CXX would stay with torch
    made, plain = towers(**settings), towers(**settings)
    Learner(made, TrainingConfig(compile=True, device="cpu"))
    assert list(made.state_dict()) == list(plain.state_dict())
    compiled = {
        name for name, module in made.named_modules() if module._compiled_call_impl is not None
    }
    assert compiled == parts


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles with g++")
def test_compiled_towers_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # no pool of processes
    plain, made = towers(fusion="mlp"), towers(fusion="mlp")
    learner = Learner(made, TrainingConfig(compile=True, device="cpu"))
    results = []
    for one in (plain, made):
        vectors: ItemTower = one.items
        loss = (vectors() * torch.linspace(-1, 1, 8)).sum()
        loss.backward()
        gradient = one.items.id.weight.grad
        assert gradient is not None
        results.append((loss.detach(), gradient))
    assert learner.towers is made
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
