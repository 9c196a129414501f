"""What does a text encoder that learns on gain, and what does it cost? Frozen against tuned.

The same towers, trained with the encoder of one content as it is and with its last layers learning
at several rates; each training in a process of its own, which says what it took.

    python pipelines/benchmarks/finetune.py CONFIG --content NAME [--rates 2e-5,1e-4] [--layers 1]
        [--items 64] [--only] [--part validation|test] [--seeds 0,1,2] [KEY=VALUE]
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from recsys.config import Config, FinetuneConfig
from recsys.config_file import load_config
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.store import VectorStore
from recsys.content.tune import tunable_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log

UNITS_OF_RSS = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss in a MB

Part = Literal["validation", "test"]


class Trained(NamedTuple):
    """What one training gave and took."""

    ndcg: float  # at 10, on the part that was asked for
    epochs: int  # chosen on validation
    seconds: float  # of the CPU, from the ready vectors to the trained towers
    prepare: float  # seconds of the CPU before that: states, or vectors from the store
    memory: float  # peak of the process, MB


def main(
    config: Config, name: str, tuned: list[FinetuneConfig], part: Part, seeds: list[int]
) -> None:
    """Print a table with one row for each way to train."""
    contents = ", ".join(config.content)
    print(f"NDCG@10 on {part}, {config.split.protocol}, content {contents}, seeds {seeds}\n")
    print("| learns | NDCG@10 | against frozen | range | epochs | CPU s | before | peak MB |")
    print("|---|--:|--:|---|---|--:|--:|--:|", flush=True)
    frozen = None
    for finetune in (FinetuneConfig(), *tuned):
        changed = config.content[name].model_copy(update={"finetune": finetune})
        wanted = config.model_copy(update={"content": config.content | {name: changed}})
        runs = [_alone(wanted, part, seed) for seed in seeds]
        scores = [run.ndcg for run in runs]
        mean = float(np.mean(scores))
        frozen = mean if frozen is None else frozen
        label = f"{finetune.layers} at {finetune.learning_rate:g}" if finetune.layers else "nothing"
        print(
            f"| {label} | {mean:.4f} | {mean / frozen - 1:+.1%} "
            f"| {min(scores):.4f}-{max(scores):.4f} | {', '.join(str(run.epochs) for run in runs)} "
            f"| {np.mean([run.seconds for run in runs]):.0f} "
            f"| {np.mean([run.prepare for run in runs]):.0f} "
            f"| {max(run.memory for run in runs):,.0f} |",
            flush=True,
        )


def _alone(config: Config, part: Part, seed: int) -> Trained:
    """Train in a fresh process, whose peak of memory is that of this training."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_train, config, part, seed).result()


def _train(config: Config, part: Part, seed: int) -> Trained:
    cut, blocks = _load(config)
    prepared = time.process_time()
    fitted = fit_towers(
        cut,
        blocks,
        config.towers,
        config.training,
        seed=seed,
        refit=part == "test",  # what validates must not have been learnt from
        newcomers=config.newcomers,
    )
    seconds = time.process_time() - prepared
    ranker = TwoTowerRanker(fitted.towers, ExactIndex.build(fitted.towers.item_vectors()))
    ndcg = evaluate_ranker(ranker, cut.task(part)).means["ndcg@10"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_OF_RSS
    return Trained(ndcg, fitted.epochs, seconds, prepared, memory)


def _load(config: Config) -> tuple[Split, list[ContentBlock]]:
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
        store = VectorStore(Path("runs/vectors"))
        blocks = content_blocks(catalogue, config.content, store).blocks
        return cut, tunable_blocks(blocks, config.content, catalogue, store, "cpu")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--content", required=True, help="the content whose encoder learns")
    parser.add_argument("--only", action="store_true", help="leave the other contents out")
    parser.add_argument("--rates", default="2e-5")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("overrides", nargs="*", help="such as training.epochs=20")
    asked = parser.parse_intermixed_args()
    read = load_config(asked.config, asked.overrides)
    if asked.only:
        read = read.model_copy(update={"content": {asked.content: read.content[asked.content]}})
    ways = [
        FinetuneConfig(layers=asked.layers, learning_rate=float(rate), items=asked.items)
        for rate in filter(None, asked.rates.split(","))
    ]
    main(read, asked.content, ways, asked.part, [int(seed) for seed in asked.seeds.split(",")])
