"""How good is RecTools' SASRec on our splits, judged by our metrics, and how soon?

    cd pipelines
    python benchmarks/rectools_sasrec.py configs/ml-100k-loo.toml --out FOLDER --seeds 0,1,2,3,4

64 wide, 2 blocks, 4 heads, the last 100 items, softmax over all items, 30 epochs. For the test part
it learns from train and validation, for the validation part from train. Each seed's lists (20 items
a user, without those that the user has) go to ``FOLDER/seed-N.parquet``: user_id, rank, item_id,
score.

``--time-to TARGET`` scores every epoch, with the clock stopped, and says after how many seconds of
fitting the NDCG@10 was first that good; 0 stands for its own last. The towers of the config, over
ids alone, then learn from the same rows until they are that good. For the installation of RecTools
see ``peer.py``.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from clock import Clock
from peer import Peer, Shape, peer

from recsys.config import Config
from recsys.config_file import load_config
from recsys.data.arrow import from_frame, write_parquet
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.tasks import Task
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.index.exact import ExactIndex
from recsys.recommenders.ranker import Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train

HEAD = "| seed | hr@10 | ndcg@10 | fit, s | CPU s | to target, s | CPU s | ours, s | CPU s |"


def main(
    config: Path,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value words")] = None,
    out: Annotated[Path, typer.Option(help="folder of the lists")] = Path("rectools"),
    seeds: Annotated[str, typer.Option(help="such as 0,1,2")] = "0",
    epochs: int = 30,
    part: Literal["validation", "test"] = "test",
    threads: int = 1,
    time_to: Annotated[float | None, typer.Option(help="an NDCG@10; 0: its own last")] = None,
) -> None:
    """Fit, rank, judge, print a row for each seed."""
    torch.set_num_threads(threads)
    settings = load_config(config, overrides or ())
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.from_config(settings.data, settings.split, folder=Path(folder))
    cut = cut_log(dataset, settings.split)
    task, rows = cut.task(part), cut.learnable(refit=part == "test")
    out.mkdir(parents=True, exist_ok=True)
    print(f"{dataset!r}\n{cut!r}\n{Shape()!r}, {epochs} epochs, {threads} threads, {part}\n")
    print(f"{HEAD}\n{'|--:' * HEAD.count(' |')}|", flush=True)
    for seed in map(int, seeds.split(",")):
        model = peer(rows, Shape(), seed=seed)
        clock = Clock()
        curve = fit(model, epochs, clock, None if time_to is None else task)
        found = evaluate_ranker(model, task)
        table = from_frame(found.table(dataset.user_ids, dataset.item_ids))
        write_parquet(out / f"seed-{seed}.parquet", table)
        hit_rate, ndcg = found.means["hr@10"], found.means["ndcg@10"]
        cells = f"| {seed} | {hit_rate:.4f} | {ndcg:.4f} | {clock.wall:.1f} | {clock.cpu:.1f} |"
        if time_to is not None:
            target = time_to or ndcg
            cells += f" {first(iter(curve), target)} |"
            cells += f" {first(fit_ours(rows, settings, task, seed), target)} |"
        print(cells, flush=True)


Scored = tuple[Clock, float]  # what the clock showed and the NDCG@10 then


def fit(model: Peer, epochs: int, clock: Clock, task: Task | None) -> list[Scored]:
    """Train RecTools' model; with a task, score every epoch."""
    curve: list[Scored] = []

    def score(_: int) -> None:
        if task is not None:
            clock.stop()
            curve.append((clock.copy(), ndcg_of(model, task)))
            clock.go()

    clock.go()
    model.fit(epochs, score)
    clock.stop()
    return curve


def fit_ours(rows: Interactions, settings: Config, task: Task, seed: int) -> Iterator[Scored]:
    """Train our towers, scoring every epoch."""
    clock, training = Clock(), settings.training
    clock.go()
    towers = TwoTower(settings.towers, rows.n_users, (), rows.item_counts() > 0, seed=seed)
    learner = Learner(towers, training)
    for _ in train(learner, rows, training, seed=seed, until=training.epochs):
        clock.stop()
        index = ExactIndex.build(towers.item_vectors())
        yield clock.copy(), ndcg_of(TwoTowerRanker(towers, index), task)
        clock.go()


def ndcg_of(ranker: Ranker, task: Task) -> float:
    """NDCG@10 of exact ranking."""
    return evaluate_ranker(ranker, task, ks=(10,)).means["ndcg@10"]


def first(curve: Iterator[Scored], target: float) -> str:
    """Two cells: seconds and CPU seconds to the first score of at least ``target``."""
    for clock, score in curve:
        if score >= target:
            return f"{clock.wall:.1f} | {clock.cpu:.1f}"
    return "never | never"


if __name__ == "__main__":
    typer.run(main)
