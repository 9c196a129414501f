"""How good are recommendations for people the towers never learnt from, click by click?

A fifth of the users of MovieLens 100K is held out (``protocol = "cold-users"``); each is asked with
the last k items before the held-out ones, k = 0, 1, 2, 5, 10 and all. Whatever they took before is
left out of every list, also of popularity's.

    python pipelines/benchmarks/new_users.py [CONFIG] [key=value ...]
"""

import sys
from pathlib import Path

import numpy as np

from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.popularity import fit_popularity
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.report.clicks import ndcg_by_clicks
from recsys.stages.prepare import cut_log

CLICKS = (0, 1, 2, 5, 10, 10_000)
SEEDS = (0, 1, 2)
DEFAULT = Path(__file__).parents[1] / "configs" / "ml-100k.toml"


def main(config_file: Path, overrides: list[str]) -> None:
    """Print NDCG@10 by the number of clicks, and its share of that with all of them."""
    config = load_config(config_file, ["split.protocol=cold-users", *overrides])
    dataset = Dataset.from_config(config.data, config.split, folder=Path())
    cut = cut_log(dataset, config.split)
    task = cut.task("test")
    print(f"{cut!r}\n{task!r}\n")
    popular = evaluate_ranker(fit_popularity(cut.learnable(refit=True)), task).means["ndcg@10"]
    scores: dict[int, list[float]] = {clicks: [] for clicks in CLICKS}
    refit = config.split.refit
    for seed in SEEDS:
        towers = fit_towers(cut, (), config.towers, config.training, seed=seed, refit=refit).towers
        ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
        for clicks, of_users in ndcg_by_clicks(ranker, task, CLICKS).items():
            scores[clicks].append(float(of_users.mean()))
    full = np.mean(scores[CLICKS[-1]])
    print("| clicks | ndcg@10 | seeds | of all clicks | over popularity |\n|--:|--:|---|--:|--:|")
    for clicks, values in scores.items():
        mean, span = np.mean(values), f"{min(values):.4f}-{max(values):.4f}"
        label = "all" if clicks == CLICKS[-1] else clicks
        print(f"| {label} | {mean:.4f} | {span} | {mean / full:.0%} | {mean / popular - 1:+.0%} |")
    print(f"\npopularity {popular:.4f}")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*((Path(given[0]), given[1:]) if given and "=" not in given[0] else (DEFAULT, given)))
