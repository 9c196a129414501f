"""What several processes train together; run by test_workers as a script, imported for its ways."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train
from recsys.training.workers import Workers, open_workers

N_USERS, N_ITEMS = 31, 40

# Nothing random in the towers: what each process draws there is its own.
STILL = {"history_dropout": 0.0, "item_dropout": 0.0, "dropout": 0.0}
WAYS: dict[str, dict[str, Any]] = {
    "all items": {},
    "every prefix": {"prefixes": "all", "encoder": "transformer", "label_smoothing": 0.1},
    "drawn": {"negatives": "popularity", "n_negatives": 8, "table_optimizer": "row-wise"},
    "drawn, shared": {"negatives": "uniform", "n_negatives": 9, "history_items": "shared"},
    "in the batch": {"negatives": "in-batch", "n_negatives": 20, "loss": "gbce"},
    "last batch of one user": {"batch_size": 6, "negatives": "in-batch"},
}


def make_rows() -> Interactions:
    """Even users like even items, odd users odd ones."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 8).astype(np.int32)
    draws = [random.choice(N_ITEMS // 2, size=8, replace=False) for _ in range(N_USERS)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS)


def make(name: str, **more: Any) -> tuple[Learner, TrainingConfig]:
    """Somebody who is to learn in a way."""
    settings: dict[str, Any] = {"batch_size": 10, "epochs": 3, **STILL, **WAYS[name], **more}
    shape = {key: settings.pop(key) for key in list(settings) if key in TowersConfig.model_fields}
    config = TrainingConfig.model_validate(
        {"learning_rate": 0.02, "user_dropout": 0.5, "device": "cpu", **settings}
    )
    known = np.ones(N_ITEMS, dtype=np.bool_)
    towers = TwoTower(TowersConfig(dim=16, user_id=True, **shape), N_USERS, [], known, seed=0)
    return Learner(towers, config), config


def learn(name: str, workers: Workers | None = None, **more: Any) -> tuple[Learner, list[float]]:
    """Train three epochs in a way; the learner and the losses."""
    learner, config = make(name, **more)
    reports = train(learner, make_rows(), config, seed=3, until=3, workers=workers)
    return learner, [report.loss for report in reports]


def save(learner: Learner, losses: list[float], path: Path) -> None:
    """Write what was learnt."""
    tensors = dict(learner.towers.state_dict())
    save_file({**tensors, "losses": torch.tensor(losses, dtype=torch.float64)}, path)


def main(folder: Path, size: int) -> None:
    """Fork ``size`` processes that learn in all ways; each writes what it ended with."""
    for rank in range(size):
        if os.fork():
            continue
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": sys.argv[3]}
        with open_workers("cpu") as workers:
            for name in WAYS:
                learner, losses = learn(name, workers)
                save(learner, losses, folder / f"{name}.{rank}.safetensors")
            dist.barrier()
        os._exit(0)
    statuses = [os.wait()[1] for _ in range(size)]
    sys.exit(any(statuses))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
