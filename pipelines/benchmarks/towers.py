"""How fast and how lean is training, against RecTools' SASRec?

    python pipelines/benchmarks/towers.py [DATA_ROOT] [ROUNDS] [THREADS]

First the peak memory of an epoch on Amazon Beauty with the softmax over all items, in a process of
its own. Then training positions per second on MovieLens 1M: our causal transformer and RecTools'
SASRec of the same width, layers, heads and history in turn, epoch by epoch in one process, one
member, item vectors shared between history and catalogue, one target a position, all items as
negatives, float32. A first round does not count; medians of the others. A position is an item that
is guessed from at least one item before it: padding does not count, nor does guessing from nothing,
which only ours learns. Our feed-forward nets are four times as wide as the vectors, as in the
transformer's paper, theirs once as in SASRec's: ours does more for a position. CPU seconds are
those of the process: they hold on a machine that is busy with something else, too.

For the installation of RecTools see ``peer.py``; without it only the memory is measured.
"""

import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from clock import Clock

from recsys.config import TowersConfig, TrainingConfig
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.stages.prepare import cut_log
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import draw_batches
from recsys.training.loop import Learner, train

CONFIGS = Path(__file__).parent.parent / "configs"
SEED = 0


def main(data_root: Path, rounds: int, threads: int) -> None:
    """Measure and print."""
    args = (data_root, threads)
    process = multiprocessing.get_context("spawn").Process(target=peak_memory, args=args)
    process.start()
    process.join()
    torch.set_num_threads(threads)
    try:
        speed(data_root, rounds, threads)
    except ModuleNotFoundError as error:
        print(f"no comparison: {error}; see peer.py")


def peak_memory(data_root: Path, threads: int) -> None:
    """Learn for an epoch on Amazon Beauty and print the most memory that the process had."""
    torch.set_num_threads(threads)
    rows = learnable("beauty-loo.toml", data_root)
    towers = TowersConfig(encoder=("transformer",), history=50)
    training = TrainingConfig(prefixes="all", negatives="all", epochs=1, device="cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    clock.go()
    next(train(learner(rows, towers, training), rows, training, seed=SEED, until=1))
    clock.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{rows!r}\n{towers!r}\n")
    print(f"peak memory {peak / 2**10:,.0f} MB, before training {before / 2**10:,.0f} MB")
    print(f"epoch: {clock.wall:.0f} s, {clock.cpu:.0f} CPU seconds\n", flush=True)


def speed(data_root: Path, rounds: int, threads: int) -> None:
    """Train both in turn on MovieLens 1M and print positions per second."""
    from peer import Shape, peer

    rows, shape = learnable("ml-1m-loo.toml", data_root), Shape()
    towers = TowersConfig(
        dim=shape.dim,
        members=1,
        encoder=("transformer",),
        history=shape.history,
        history_items="shared",
        layers=shape.blocks,
        heads=shape.heads,
        dropout=shape.dropout,
    )
    training = TrainingConfig(
        epochs=rounds + 1,
        prefixes="all",
        batch_size=shape.batch_size,
        horizon=1,
        negatives="all",
        device="cpu",
    )
    print(f"{rows!r}\n{towers!r}\n{shape!r}, {threads} threads\n", flush=True)
    epochs = train(learner(rows, towers, training), rows, training, seed=SEED, until=rounds + 1)
    clocks: dict[str, list[Clock]] = {"ours": [], "RecTools": [Clock()]}

    def ours(epoch: int) -> None:
        """Comes after each epoch of theirs."""
        clocks["RecTools"][-1].stop()
        clocks["ours"].append(Clock())
        clocks["ours"][-1].go()
        next(epochs)
        clocks["ours"][-1].stop()
        print(f"round {epoch} of {rounds + 1}", file=sys.stderr)
        clocks["RecTools"].append(Clock())
        clocks["RecTools"][-1].go()

    model = peer(rows, shape, seed=SEED)
    clocks["RecTools"][-1].go()
    model.fit(rounds + 1, ours)
    # Each user's last items, every epoch the same.
    theirs = int((rows.histories().lengths.clip(1, shape.history + 1) - 1).sum())
    positions = {
        "ours": [positions_of(rows, training, shape.history, epoch + 2) for epoch in range(rounds)],
        "RecTools": [theirs] * rounds,
    }
    show(positions, {name: own[1 : rounds + 1] for name, own in clocks.items()})


def show(positions: dict[str, list[int]], clocks: dict[str, list[Clock]]) -> None:
    """Print medians and the ratio of each round."""
    print(
        "| training | positions an epoch | positions / s | positions / CPU s |\n|---|--:|--:|--:|"
    )
    rates: dict[str, list[tuple[float, float]]] = {}
    for name, counts in positions.items():
        rates[name] = [(n / c.wall, n / c.cpu) for n, c in zip(counts, clocks[name], strict=True)]
        wall, cpu = (median(column) for column in zip(*rates[name], strict=True))
        print(f"| {name} | {median(counts):,.0f} | {wall:,.0f} | {cpu:,.0f} |")
    for place, what in enumerate(("seconds", "CPU seconds")):
        pairs = zip(rates["ours"], rates["RecTools"], strict=True)
        ratios = [a[place] / b[place] for a, b in pairs]
        print(f"\nours / RecTools by {what}: {median(ratios):.2f}", end=" ")
        print(f"({min(ratios):.2f} to {max(ratios):.2f})")


def learnable(config: str, data_root: Path) -> Interactions:
    """The rows that a fit for the test part learns from."""
    settings = load_config(CONFIGS / config, [f"data_root={data_root}"])
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.from_config(settings.data, settings.split, folder=Path(folder))
    return cut_log(dataset, settings.split).learnable(refit=True)


def learner(rows: Interactions, towers: TowersConfig, training: TrainingConfig) -> Learner:
    """Towers over ids alone, about to learn."""
    known = rows.item_counts() > 0
    return Learner(TwoTower(towers, rows.n_users, (), known, seed=SEED), training)


def positions_of(rows: Interactions, training: TrainingConfig, history: int, epoch: int) -> int:
    """How many positions an epoch of ours learns from, leaving out those that know nothing."""
    batches = draw_batches(rows.histories(), training, history, seed=SEED, epoch=epoch)
    return sum(int((batch.newest >= 0).sum()) for batch in batches)


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"),
        int(sys.argv[2]) if len(sys.argv) > 2 else 3,
        int(sys.argv[3]) if len(sys.argv) > 3 else 1,
    )
