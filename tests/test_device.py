"""Training on any device: the same code; on CUDA only where ``make test-gpu`` asks for it."""

import numpy as np
import pytest
import torch

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.device import autocast, pick_device, to_device
from recsys.errors import ConfigError
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train


def test_auto_is_cuda_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device is here"):
            pick_device("cuda")


def test_the_cpu_computes_in_float32() -> None:
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.gpu
def test_training_learns_on_the_device(device: torch.device) -> None:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(30), 8).astype(np.int32)
    draws = [random.choice(20, size=8, replace=False) for _ in range(30)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = np.arange(len(users))
    rows = Interactions(users, items, n, np.ones(len(n), np.float32), n, 30, 40)
    config = TrainingConfig(epochs=20, batch_size=8, learning_rate=0.02)
    towers = TwoTower(TowersConfig(dim=16), 30, [], np.ones(40, dtype=np.bool_), seed=0)
    learner = Learner(towers.to(device), config)
    reports = list(train(learner, rows, config, seed=0, until=20))
    assert reports[-1].loss < reports[0].loss
    scores = towers.user_vectors(np.arange(30, dtype=np.int32), rows.histories())
    scores = scores @ towers.item_vectors().T
    same = (np.arange(30)[:, None] + np.arange(40)) % 2 == 0
    assert scores[same].mean() > scores[~same].mean() + 0.5


def test_a_copy_keeps_values_and_type(device: torch.device) -> None:
    array = np.arange(5, dtype=np.int64)
    copy = to_device(array, device)
    assert copy.device.type == device.type
    assert copy.tolist() == array.tolist()
