"""What is text worth where its worth is known?

On generated data (``source = "synthetic"``) text shows half of what decides. A tower that reads it
must beat one that has ids alone; one that reads another item's text must not.
"""

import tempfile
from pathlib import Path

import numpy as np

from recsys.config import ContentConfig, DataConfig, SyntheticConfig, TowersConfig, TrainingConfig
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.store import VectorStore
from recsys.data.dataset import Dataset
from recsys.data.splits import split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker

SEEDS = (0, 1, 2)
TEXT = {"text": ContentConfig(columns=("text",), encoder="sbert:all-MiniLM-L6-v2")}


def main() -> None:
    """Print NDCG@10 of towers with the text, with shuffled text, and without."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = DataConfig(
            source="synthetic", synthetic=SyntheticConfig(users=600, items=1_500, per_user=16)
        )
        dataset = Dataset.from_config(config, folder=folder)
        cut = split(dataset, "user-time")
        catalogue = Catalogue(
            dataset.items, dataset.item_ids, dataset.catalogue_rows, cut.trained_items, folder
        )
        (text,) = content_blocks(catalogue, TEXT, VectorStore(folder / "vectors")).blocks
    order = np.random.default_rng(0).permutation(len(text.vectors))
    shuffled = ContentBlock("text", text.vectors[order], text.present[order])
    print(f"{dataset!r}\n{config.synthetic!r}\n")
    print("| text | ndcg@10 | against none | seeds |\n|---|--:|--:|---|")
    means: dict[str, float] = {}
    for label, blocks in {"none": (), "real": (text,), "shuffled": (shuffled,)}.items():
        scores = []
        for seed in SEEDS:
            towers = fit_towers(cut, blocks, TowersConfig(), TrainingConfig(), seed=seed).towers
            ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
            scores.append(evaluate_ranker(ranker, cut.task("test")).means["ndcg@10"])
        means[label] = float(np.mean(scores))
        change = means[label] / means["none"] - 1
        span = f"{min(scores):.4f}-{max(scores):.4f}"
        print(f"| {label} | {means[label]:.4f} | {change:+.1%} | {span} |")


if __name__ == "__main__":
    main()
