"""RecBole's documented BPR on MovieLens 100K, beside our id towers under that very protocol.

    python pipelines/benchmarks/recbole_bpr.py pipelines/configs/ml-100k.toml [--seeds 0,1,2]

RecBole's documentation gives, for ``run_recbole(model="BPR", dataset="ml-100k")`` on the test part:
Recall@10 .2523, NDCG@10 .2920, MRR@10 .4855, Hit@10 .7953. Protocol: all 100,000 ratings count as
positive; each user's are shuffled and cut 80/10/10; the model learns from the 80 % alone, and
validation chooses when to stop; every item but those of train and validation is ranked; recall is
hits over all n held-out items.

Our towers learn by BPR with uniform negatives from the same rows, every row a target once an epoch
and all alike. "mf" is as near to matrix factorisation as they come: a learned vector a user and one
an item, 64 wide as RecBole's; what the history adds is fixed at 0.What is left of ours: vectors
have length 1 and a temperature scales their cosine. It has to stay where it is (.2): learnt, it
sharpens until the training rows stand before single random negatives, which any sharp score
achieves, and the rest of the order is lost. The softmax over all items has no such way out.

"histories" also reads what the user took. Neither sees the validation rows when it is asked for
the test ones, as RecBole's does not.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.config import TowersConfig, TrainingConfig
from recsys.config_file import load_config
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part, Parts
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.index.exact import ExactIndex
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Abilities, Queries, Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train

METRICS = ("recall@10", "ndcg@10", "mrr@10", "hr@10")
THEIRS = (0.2523, 0.2920, 0.4855, 0.7953)
CUT_SEED = 0  # of the one cut that all are measured on


@dataclass(frozen=True)
class Settings:
    """One way to learn; the towers are always of ids alone."""

    towers: TowersConfig
    training: TrainingConfig
    reads_history: bool


def mf(rate: float, temperature: float = 0.2, *, learnt: bool = False) -> Settings:
    """A step learns 2,048 rows, as RecBole's; all share the step's negatives."""
    return Settings(
        TowersConfig(
            dim=64,
            members=1,
            user_id=True,
            history=1,
            speeds=1,
            temperature=temperature,
            learn_temperature=learnt,
        ),
        TrainingConfig(
            loss="bpr",
            negatives="uniform",
            n_negatives=64,
            learning_rate=rate,
            batch_size=2048,  # stretches of 1 row
            prefixes="all",
            horizon=1,
            user_balance=0.0,
            user_dropout=0.0,
            epochs=150,
            score_every=5,
            patience=3,
        ),
        reads_history=False,
    )


def histories(rate: float) -> Settings:
    """The towers as they come, but for the loss and a learned vector a user."""
    training = TrainingConfig(
        loss="bpr", negatives="uniform", learning_rate=rate, epochs=300, score_every=10, patience=4
    )
    towers = TowersConfig(user_id=True, temperature=0.2, learn_temperature=False)
    return Settings(towers, training, reads_history=True)


TRIED = {
    "mf, rate 1e-3": mf(1e-3),
    "mf, rate 3e-3": mf(3e-3),
    "mf, rate 3e-3, temperature learnt from .1": mf(3e-3, 0.1, learnt=True),
    "histories, rate 3e-3": histories(3e-3),
    "histories, rate 1e-2": histories(1e-2),
}
ABILITIES = Abilities(new_users=False, new_items=False)


@dataclass(frozen=True, eq=False)
class OfTraining:
    """A ranker that is asked with the rows it learnt from, whatever is known by now."""

    ranker: Ranker
    histories: Ragged
    name: str = "of-training"
    abilities: Abilities = ABILITIES

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query; see `Ranker`."""
        known = Queries(queries.users, self.histories.take(queries.users))
        return self.ranker.top_k(known, k, exclude=exclude, candidates=candidates)


def main() -> None:
    """Choose on validation, then print the test of each seed beside RecBole's figures."""
    parser = argparse.ArgumentParser(description="RecBole's BPR beside our id towers")
    parser.add_argument("config", type=Path, help="of MovieLens 100K; its [data] is read")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--settings", choices=list(TRIED), help="else the best on validation")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        dataset = Dataset.from_config(load_config(asked.config).data, folder=Path(name))
    log = dataset.log.ordered("item")
    nothing = np.full(log.n_items, Part.TRAIN, dtype=np.int8)
    split = Split("random", log, cut_by_user(log, CUT_SEED), nothing)
    print(f"{split!r}\n", flush=True)
    chosen = [asked.settings] if asked.settings else [best_of("mf", split), best_of("hist", split)]
    print("| model | seed | " + " | ".join(METRICS) + " |\n|---|--:|" + "--:|" * len(METRICS))
    print(f"| RecBole BPR, documented | 2020 | {cells(THEIRS)} |", flush=True)
    for name in chosen:
        rows = np.array([test(split, TRIED[name], int(s)) for s in asked.seeds.split(",")])
        for seed, row in zip(asked.seeds.split(","), rows, strict=True):
            print(f"| {name} | {seed} | {cells(row)} |")
        print(f"| {name} | mean | {cells(rows.mean(axis=0))} |")
        shares = rows.mean(axis=0) / np.array(THEIRS) - 1
        print(
            f"| {name} against RecBole | | {' | '.join(f'{s:+.1%}' for s in shares)} |", flush=True
        )


def cut_by_user(log: Interactions, seed: int) -> Parts:
    """Shuffle each user's rows; the last tenth tests, the tenth before validates, rounded down.

    As RecBole's ``split_by_ratio`` with ``[0.8, 0.1, 0.1]`` does for users with 10 rows and more;
    its fewer ones have one row each. All users here have 20.
    """
    counts = log.user_counts()
    order = np.lexsort((np.random.default_rng(seed).random(len(log)), log.users))
    from_end = np.cumsum(counts)[log.users[order]] - np.arange(len(log))  # 1 for the last
    tenth = (counts // 10)[log.users[order]]
    parts = np.full(len(log), Part.TRAIN, dtype=np.int8)
    parts[order[from_end <= 2 * tenth]] = Part.VALIDATION
    parts[order[from_end <= tenth]] = Part.TEST
    return parts


def best_of(kind: str, split: Split) -> str:
    """The settings of a kind with the best validation NDCG@10 (seed 0)."""
    scores = {}
    for name, one in TRIED.items():
        if name.startswith(kind):
            _, scores[name], epoch = learn(split, one, seed=0)
            print(f"validation: {name}: ndcg@10 {scores[name]:.4f}, epoch {epoch}", flush=True)
    return max(scores, key=lambda name: scores[name])


def learn(split: Split, chosen: Settings, seed: int) -> tuple[TwoTower, float, int]:
    """Towers of the epoch with the best validation NDCG@10, that score, that epoch."""
    rows, training = split.train, chosen.training
    towers = TwoTower(chosen.towers, rows.n_users, (), rows.item_counts() > 0, seed=seed)
    if not chosen.reads_history and towers.users.history is not None:
        towers.users.history.weight.requires_grad_(False).zero_()
    validation = split.task("validation", candidates="catalogue")
    best, best_epoch, best_state = -1.0, 0, towers.state_dict()
    learner = Learner(towers, training)
    for report in train(learner, rows, training, seed=seed, until=training.epochs):
        if report.epoch % training.score_every:
            continue
        score = evaluate_ranker(served(towers), validation, ks=(10,)).means["ndcg@10"]
        if score > best:
            state = {name: value.clone() for name, value in towers.state_dict().items()}
            best, best_epoch, best_state = score, report.epoch, state
        elif report.epoch >= best_epoch + training.patience * training.score_every:
            break
        towers.train()
    towers.load_state_dict(best_state)
    return towers.eval(), best, best_epoch


def served(towers: TwoTower) -> TwoTowerRanker:
    """The towers over exact search."""
    return TwoTowerRanker(towers.eval(), ExactIndex.build(towers.item_vectors()))


def test(split: Split, chosen: Settings, seed: int) -> list[float]:
    """Learn from train alone and return the metrics of the test part."""
    towers, _, _ = learn(split, chosen, seed)
    ranker = OfTraining(served(towers), split.train.histories())
    task = split.task("test", candidates="catalogue")
    means = evaluate_ranker(ranker, task, ks=(10,)).means
    return [means[metric] for metric in METRICS]


def cells(values: tuple[float, ...] | NDArray[np.float64]) -> str:
    """Four decimals each."""
    return " | ".join(f"{value:.4f}".lstrip("0") for value in values)


if __name__ == "__main__":
    main()
