"""Does a content help because of what it says? Real, shuffled, constant and absent, one by one.

The towers are trained anew with one content at a time made useless, all others as they are. A gain
that stays when the vectors are shuffled among the items is none.

    python pipelines/benchmarks/knock_out.py CONFIG [--seeds 0,1,2] [--only NAME,NAME] [KEY=VALUE]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from recsys.config import Config
from recsys.config_file import load_config
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.store import VectorStore
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log

WAYS = ("shuffled", "constant", "absent")


def main(config: Config, seeds: list[int], only: set[str]) -> None:
    """Print NDCG@10 of every content knocked out in every way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = Dataset.from_config(config.data, config.split, folder=folder)
        cut = cut_log(dataset, config.split)
        catalogue = Catalogue(
            dataset.items,
            dataset.item_ids,
            dataset.catalogue_rows,
            training=cut.trained_items,
            folder=dataset.items_folder or folder,
        )
        blocks = content_blocks(catalogue, config.content, VectorStore(Path("runs/vectors"))).blocks
    print(f"{dataset!r}\n{cut!r}\n")
    print("| content | ndcg@10 | against all real | seeds |\n|---|--:|--:|---|")
    real = _show("all real", config, cut, blocks, seeds, None)
    for block in (block for block in blocks if not only or block.name in only):
        for way in WAYS:
            others = [_knocked_out(other, way) if other is block else other for other in blocks]
            kept = [other for other in others if other.present.any()]
            _show(f"{block.name} {way}", config, cut, kept, seeds, real)
    _show("none", config, cut, (), seeds, real)


def _knocked_out(block: ContentBlock, way: str) -> ContentBlock:
    """The block with nothing left of what it says."""
    n = len(block.vectors)
    if way == "absent":
        return ContentBlock(block.name, block.vectors, np.zeros(n, dtype=np.bool_))
    if way == "constant":
        one = np.broadcast_to(block.vectors[block.present][:1], block.vectors.shape).copy()
        return ContentBlock(block.name, one, block.present)
    order = np.random.default_rng(0).permutation(n)
    return ContentBlock(block.name, block.vectors[order], block.present[order])


def _show(
    label: str,
    config: Config,
    cut: Split,
    blocks: tuple[ContentBlock, ...] | list[ContentBlock],
    seeds: list[int],
    real: float | None,
) -> float:
    """Train and judge with every seed; print a line and return the mean."""
    scores = []
    refit = config.split.refit
    for seed in seeds:
        towers = fit_towers(
            cut, blocks, config.towers, config.training, seed=seed, refit=refit
        ).towers
        ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
        scores.append(evaluate_ranker(ranker, cut.task("test")).means["ndcg@10"])
    mean = float(np.mean(scores))
    change = "" if real is None else f"{mean / real - 1:+.1%}"
    print(f"| {label} | {mean:.4f} | {change} | {min(scores):.4f}-{max(scores):.4f} |", flush=True)
    return mean


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="contents to knock out; all if absent")
    parser.add_argument("overrides", nargs="*", help="such as training.epochs=20")
    asked = parser.parse_intermixed_args()
    main(
        load_config(asked.config, asked.overrides),
        [int(seed) for seed in asked.seeds.split(",")],
        set(filter(None, asked.only.split(","))),
    )
