"""What does an update cost and keep, against training afresh?

MovieLens 100K, ids only. The old log is the first 80 % of the rows to learn from by global time.
Asked about the same held-out rows, each user after the whole history: towers of the old log as they
are, the same after an update, and towers trained afresh on all rows to learn from.

    python pipelines/benchmarks/update.py [--part validation] [--seeds 0,1,2] [key=value ...]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from recsys.config import Config
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log
from recsys.towers.grow import Blocks
from recsys.towers.two_tower import TwoTower
from recsys.updating import Learnt, WarmStart, schedule

CONFIG = Path(__file__).parents[1] / "configs" / "ml-100k.toml"
OLD = 0.8  # share of the rows to learn from

Row = dict[str, float]


def main() -> None:
    """Print NDCG@10, seconds and drift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("overrides", nargs="*", help="such as update.replay=2")
    asked = parser.parse_intermixed_args()
    config = load_config(CONFIG, asked.overrides)
    dataset = Dataset.from_config(config.data, config.split)
    split = cut_log(dataset, config.split)
    refit = asked.part == "test"
    rows = split.learnable(refit=refit)
    moment = np.quantile(rows.times, OLD)
    parts = np.where(split.log.times < moment, split.parts, Part.TEST).astype(np.int8)
    old = Split(split.protocol, split.log, parts, split.item_parts)
    new = rows.take(rows.times >= moment)
    learnt = old.learnable(refit=refit)
    print(f"{dataset!r}\n{config.towers!r}\n{config.update!r}\nmeasured on {asked.part}")
    print(
        f"old: {len(learnt):,} rows; new: {len(new):,} of {len(np.unique(new.users)):,} users "
        f"({len(np.setdiff1d(new.users, learnt.users)):,} unseen) and "
        f"{len(np.unique(new.items)):,} items "
        f"({len(np.setdiff1d(new.items, learnt.items)):,} unseen)\n"
    )
    found: dict[str, list[Row]] = {"old, as it is": [], "updated": [], "afresh": []}
    for seed in map(int, asked.seeds.split(",")):
        for name, row in compare(config, dataset, split, old, asked.part, seed).items():
            found[name].append(row)
    print("| towers | ndcg@10 | range | seconds | epochs |\n|---|--:|---|--:|--:|")
    for name, ones in found.items():
        scores = [row["ndcg@10"] for row in ones]
        print(
            f"| {name} | {np.mean(scores):.4f} | {min(scores):.4f}-{max(scores):.4f} "
            f"| {mean(ones, 'seconds'):.1f} | {mean(ones, 'epochs'):.1f} |"
        )
    names = ("mean", "p99", "turned_mean", "turned_p99", "changed")
    print(
        "\n| against the old ones | mean distance | 99 % | turned: mean | 99 % | top 20 changed |\n"
        "|---|--:|--:|--:|--:|--:|"
    )
    for name in ("updated", "afresh"):
        print(f"| {name} | {' | '.join(f'{mean(found[name], one):.4f}' for one in names)} |")


def compare(
    config: Config, dataset: Dataset, split: Split, old: Split, part: str, seed: int
) -> dict[str, Row]:
    """Train the old towers, update them, and train afresh; what each is worth and took."""
    refit = part == "test"
    task = split.task("test" if refit else "validation")
    learnable = split.learnable(refit=refit)

    def fit(what: Split, start: WarmStart | None = None) -> tuple[TwoTower, Row]:
        training = config.training if start is None else schedule(config.training, config.update)
        started = time.perf_counter()
        fitted = fit_towers(what, (), config.towers, training, seed=seed, refit=refit, start=start)
        seconds = time.perf_counter() - started
        ranker = TwoTowerRanker(fitted.towers, ExactIndex.build(fitted.towers.item_vectors()))
        score = evaluate_ranker(ranker, task, ks=(10,)).means["ndcg@10"]
        return fitted.towers, {"ndcg@10": score, "seconds": seconds, "epochs": fitted.epochs}

    towers, as_it_is = fit(old)
    learnt = Learnt(
        towers, Blocks(), old.learnable(refit=refit), dataset.user_ids, dataset.item_ids
    )
    start = WarmStart.of(learnt, dataset.user_ids, dataset.item_ids, Blocks(), config.update.replay)
    updated_towers, updated = fit(split, start)
    fresh_towers, afresh = fit(split)
    updated |= vars(start.drift(updated_towers, learnable))
    afresh |= vars(start.drift(fresh_towers, learnable))
    return {"old, as it is": as_it_is, "updated": updated, "afresh": afresh}


def mean(rows: list[Row], name: str) -> float:
    """Of one figure over the seeds."""
    return float(np.mean([row[name] for row in rows]))


if __name__ == "__main__":
    main()
