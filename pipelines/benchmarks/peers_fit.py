"""One model in a process of its own, so that its seconds and memory are its own; see `peers.py`.

    python benchmarks/peers_fit.py RUN MODEL tune --out FOLDER
    python benchmarks/peers_fit.py RUN MODEL fit --out FOLDER --seeds 0,1 --settings '{"dim": 32}'

``tune`` fits every setting of the grid on train and writes ``MODEL-tuning.json``; ``fit`` learns
from train and validation and writes, for each seed, ``rankings/MODEL-seed-N.parquet`` (user_id,
rank, item_id, score: 20 items for every user of the test) and ``MODEL-seed-N.json``, the costs.
``two-tower`` learns as the run did, for its costs alone: its lists are in the run.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from clock import Clock
from peers_models import PEERS, peers_for

from recsys.config_file import load_config
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.arrow import from_frame, write_parquet
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.tuning import tune
from recsys.files import write_json
from recsys.fitting import fit_towers
from recsys.stages.command import CONFIG_FILE
from recsys.stages.prepare import load_data
from recsys.stages.run import Run

OURS = "two-tower"


def main() -> None:
    """Tune or fit one model and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", choices=(*PEERS, OURS))
    parser.add_argument("what", choices=("tune", "fit"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--settings", type=json.loads, default={})
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(asked.run / CONFIG_FILE)
    seeds = tuple(int(seed) for seed in asked.seeds.split(","))
    run = Run(config, asked.run.resolve(), seeds)
    if asked.what == "tune":
        tune_peer(run, asked.model, asked.out)
    elif asked.model == OURS:
        fit_ours(run, asked.out)
    else:
        fit_peer(run, asked.model, asked.settings, asked.out)


def tune_peer(run: Run, model: str, out: Path) -> None:
    """Fit each setting on train, with seed 0, and score it on validation."""
    _, split = load_data(run)
    peer = peers_for(load_blocks(run.folder("content")))[model]
    tuned = tune(peer, split.train, split.task("validation"))
    trials = [asdict(trial) for trial in tuned.trials]
    write_json(out / f"{model}-tuning.json", {"params": tuned.params, "trials": trials})


def fit_peer(run: Run, model: str, settings: dict[str, float], out: Path) -> None:
    """Learn from all rows before the test, rank, write lists and costs, for each seed."""
    dataset, split = load_data(run)
    peer = peers_for(load_blocks(run.folder("content")))[model]
    rows = split.learnable(refit=True)
    task = split.task("test", candidates=run.config.evaluation.candidates)
    (out / "rankings").mkdir(parents=True, exist_ok=True)
    for seed in run.seeds:
        clock = Clock()
        clock.go()
        ranker = peer.fit(rows, seed, **settings)
        clock.stop()
        costs = costs_of(clock)
        found = evaluate_ranker(ranker, task, ks=(10, 20))
        table = found.table(dataset.user_ids, dataset.item_ids)
        write_parquet(out / "rankings" / f"{model}-seed-{seed}.parquet", from_frame(table))
        write_json(out / f"{model}-seed-{seed}.json", costs)


def fit_ours(run: Run, out: Path) -> None:
    """Train the run's towers again, search and refit, and write what it costs."""
    _, split = load_data(run)
    config, content = run.config, run.folder("content")
    blocks, user_blocks = load_blocks(content), load_user_blocks(content)
    for seed in run.seeds:
        clock = Clock()
        clock.go()
        fit_towers(
            split,
            blocks,
            config.towers,
            config.training,
            seed=seed,
            refit=config.split.refit,
            user_blocks=user_blocks,
            newcomers=config.newcomers,
        )
        clock.stop()
        write_json(out / f"{OURS}-seed-{seed}.json", costs_of(clock))


def costs_of(clock: Clock) -> dict[str, float]:
    """What a fit took: seconds, CPU seconds, and the peak of memory up to its end."""
    return {"seconds": clock.wall, "cpu_seconds": clock.cpu, "megabytes": peak_megabytes()}


def peak_megabytes() -> float:
    """The most memory this process has held, MB (Linux).

    Not ``getrusage``: there a child starts with the peak of the process that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
