"""How long does an epoch on a log on disk take, and how much memory, as the log grows?

    python pipelines/benchmarks/scale_epoch.py --run RUN [--steps N]

``RUN`` is a folder that ``scale_prepare.py --kept`` left (``run-5000000``, say). Trains one epoch
of ``split.train`` from the mapped arrays, or its first steps, in this process: histories read by
``means``, vectors of 64 numbers, drawn negatives, row-wise state for the tables of ids.
"""

import argparse
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from scale_prepare import Watch, memory

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train


class EnoughError(Exception):
    """Enough steps were made."""


def measure(run: Path, steps: int | None, batch: int, threads: int) -> dict[str, Any]:
    """Train an epoch, or ``steps`` of it."""
    torch.set_num_threads(threads)
    config = TrainingConfig(
        epochs=2, prefixes="all", batch_size=batch, n_negatives=1_024, horizon=1, device="cpu"
    )
    made = [0, 0]

    def on_step(step: int, of: int, *_: object) -> None:
        made[:] = step, of
        if step == steps:
            raise EnoughError

    with Watch() as watch:
        dataset = Dataset.load(run / "data")
        rows = Split.load(run / "data", dataset).train
        shape = TowersConfig(dim=64, members=1, history=50)
        towers = TwoTower(shape, rows.n_users, [], rows.item_counts() > 0, seed=0)
        learner = Learner(towers, config)
        started, computed = time.perf_counter(), time.process_time()
        with suppress(EnoughError):
            next(train(learner, rows, config, seed=0, until=1, on_step=on_step))
        seconds, computed = time.perf_counter() - started, time.process_time() - computed
    return {
        "rows": dataset.counts.read,
        "train": len(rows),
        "items": rows.n_items,
        "steps": made[0],
        "of_steps": made[1],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(computed, 1),
        "positions_per_second": round(len(rows) * made[0] / made[1] / seconds),
        "peak_megabytes": memory("VmHWM"),
        "anonymous_megabytes": watch.most,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(json.dumps(measure(args.run, args.steps, args.batch, args.threads)))


if __name__ == "__main__":
    main()
