"""What do bf16 and torch.compile cost and gain? Quality and seconds against float32, eager.

The same towers over ids on MovieLens 100K, once with means of the history and once with a
transformer, trained in each way with several seeds; NDCG@10 on validation at the last epoch. A
difference is within noise where it is smaller than the range of the seeds. The first epoch, in
which compiled towers wait for the compiler, is stated apart. CPU seconds hold on a busy machine.

    python pipelines/benchmarks/precision.py [DATA_ROOT] [EPOCHS] [SEEDS] [THREADS]
"""

import sys
import tempfile
from pathlib import Path
from statistics import mean, median

import torch
from clock import Clock

from recsys.config import TowersConfig, TrainingConfig
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.prepare import cut_log
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train

CONFIG = Path(__file__).parent.parent / "configs" / "ml-100k.toml"
SHAPES = {
    "means": TowersConfig(dim=64, members=1),
    "transformer": TowersConfig(dim=64, members=1, encoder=("transformer",), layers=1, history=50),
}
WAYS = [("float32", False), ("bfloat16", False), ("float32", True), ("bfloat16", True)]


def main(data_root: Path, epochs: int, seeds: int, threads: int) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    settings = load_config(CONFIG, [f"data_root={data_root}"])
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.from_config(settings.data, settings.split, folder=Path(folder))
    split = cut_log(dataset, settings.split)
    print(f"{split.train!r}\n{epochs} epochs, {seeds} seeds, {threads} threads\n")
    print("| history | products | compiled | NDCG@10 | range | CPU s an epoch | of the first |")
    print("|---|---|---|--:|--:|--:|--:|", flush=True)
    for name, shape in SHAPES.items():
        for precision, compiled in WAYS:
            if compiled and name == "means":
                continue  # there is nothing that is compiled
            training = TrainingConfig.model_validate(
                {"epochs": epochs, "precision": precision, "compile": compiled, "device": "cpu"}
            )
            runs = [learnt(split, shape, training, seed) for seed in range(seeds)]
            scores, clocks = [score for score, _ in runs], [own for _, own in runs]
            later = median(clock.cpu for own in clocks for clock in own[1:])
            first = clocks[0][0].cpu
            print(
                f"| {name} | {precision} | {'yes' if compiled else 'no'} | {mean(scores):.4f} "
                f"| {min(scores):.4f} to {max(scores):.4f} | {later:.2f} | {first:.1f} |",
                flush=True,
            )


def learnt(
    split: Split, shape: TowersConfig, training: TrainingConfig, seed: int
) -> tuple[float, list[Clock]]:
    """Train; return validation NDCG@10 and what each epoch took."""
    rows = split.train
    towers = TwoTower(shape, rows.n_users, (), rows.item_counts() > 0, seed=seed)
    clocks = [Clock()]
    clocks[-1].go()
    epochs = train(Learner(towers, training), rows, training, seed=seed, until=training.epochs)
    for _ in epochs:
        clocks[-1].stop()
        clocks.append(Clock())
        clocks[-1].go()
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    return evaluate_ranker(ranker, split.task("validation"), ks=(10,)).means["ndcg@10"], clocks[:-1]


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 20,
        int(sys.argv[3]) if len(sys.argv) > 3 else 3,
        int(sys.argv[4]) if len(sys.argv) > 4 else 1,
    )
