"""Is a run better than EASE, and than a peer's lists, user by user?

    python pipelines/benchmarks/paired.py runs/ml-100k-loo [--peer FOLDER]

Takes the very lists that the run was measured on (``report/rankings``), fits EASE anew as it was
tuned, and reads a peer's lists (``FOLDER/seed-N.parquet`` with user_id, rank, item_id, as
``rectools_sasrec.py`` writes them). Each user's value is the mean over seeds.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import DataError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.metrics import PerUser, judge, ndcg
from recsys.evaluation.paired import paired_difference
from recsys.files import read_json
from recsys.recommenders.ease import fit_ease

K = 10


def main(run: Path, peer: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print NDCG@10 of each and the paired 95 % interval of the difference."""
    config = load_config(run / "config.toml", ())
    dataset = Dataset.load(run / "data")
    cut = Split.load(run / "data", dataset)
    task = cut.task("test", candidates=config.evaluation.candidates)
    ours = _mean_of(sorted((run / "report" / "rankings").glob("two-tower-seed-*")), dataset, task)
    chosen = read_json(run / "report" / "metrics.json")["models"]
    if "ease" not in chosen:
        raise DataError(f"{run}: EASE is not among its baselines; add it to evaluation.baselines")
    regularization = chosen["ease"]["regularization"]
    rows = cut.learnable(refit=config.split.refit)
    ease = evaluate_ranker(fit_ease(rows, regularization=regularization), task)
    others = {"EASE": ease.per_user["ndcg@10"]}
    if peer is not None:
        others[peer.name] = _mean_of(sorted(peer.glob("seed-*.parquet")), dataset, task)
    print(f"two-tower {ours.mean():.4f}")
    for name, theirs in others.items():
        mean, low, high = paired_difference(ours, theirs)
        print(f"{name} {theirs.mean():.4f}: two-tower is {mean:+.4f} ({low:+.4f} to {high:+.4f})")


def _mean_of(files: list[Path], dataset: Dataset, task: Task) -> PerUser:
    """NDCG@10 of each user of the task, averaged over the files of lists, one a seed."""
    truth = task.truth.histories().take(task.users)
    if not files:
        raise DataError("no lists: expected seed-N.parquet, or a finished run's report/rankings")
    values = []
    for file in files:
        lists = pd.read_parquet(file)
        users = dataset.user_ids.numbers(lists["user_id"])
        items = np.full((len(dataset.user_ids), int(lists["rank"].max())), -1, dtype=np.int64)
        items[users, lists["rank"] - 1] = dataset.item_ids.numbers(lists["item_id"])
        values.append(ndcg(judge(items[task.users], truth), K))
    mean: PerUser = np.mean(values, axis=0)
    return mean


if __name__ == "__main__":
    typer.run(main)
