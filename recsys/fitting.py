"""Fit the two towers to a split: early stopping on validation, then once more on all but the test.

``training`` knows how to learn, ``evaluation`` how to judge; this is where they meet.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import (
    AttributeConfig,
    ContentConfig,
    IndexConfig,
    NewcomersConfig,
    TowersConfig,
    TrainingConfig,
)
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.store import VectorStore
from recsys.content.tune import tunable_blocks
from recsys.content.user_attributes import UserAttributes
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.data.times import TimeKind
from recsys.device import pick_device
from recsys.errors import ArtifactError, ConfigError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.files import read_json, restore_folder
from recsys.index.exact import ExactIndex
from recsys.index.index import build_index, check_recall
from recsys.progress import console, progress_bar
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.rating import RatingBaseline
from recsys.towers.two_tower import TwoTower
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.loop import EpochReport, Learner, train
from recsys.training.negatives import Miner
from recsys.training.newcomers import fit_newcomers
from recsys.updating import WarmStart

__all__ = ["Fitted", "OnEpoch", "Phase", "check_times", "fit", "fit_towers"]

CHOSEN_BY = "ndcg@10"
ASKED = 500  # users with whom the index is measured
LEAST_USERS = 20  # with two items and more, to learn from how newcomers are placed

logger = logging.getLogger(__name__)

Phase = Literal["search", "refit"]
OnEpoch = Callable[[Phase, EpochReport, float | None], None]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Trained towers and how they came about.

    Attributes:
        towers: as they are to be served.
        epochs: how many were chosen on validation.
        scores: epoch -> validation NDCG@10, of every scoring.
        history: one record an epoch: phase, epoch, loss, learning_rate, temperature, score.
    """

    towers: TwoTower
    epochs: int
    scores: dict[int, float]
    history: list[dict[str, Any]]


@dataclass
class _Progress:
    """Where a fit stands: what a checkpoint keeps beside weights and optimiser."""

    phase: Phase = "search"
    scores: dict[int, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def best(self, last: int) -> int:
        """The epoch with the best validation score, the earlier of equals; without any the last."""
        return max(self.scores, key=lambda e: (self.scores[e], -e)) if self.scores else last

    def should_stop(self, patience: int) -> bool:
        """Whether the last ``patience`` scorings were no better than one before."""
        return sum(epoch > self.best(0) for epoch in self.scores) >= patience


def fit(
    dataset: Dataset,
    split: Split,
    *,
    content: Mapping[str, ContentConfig] | None = None,
    users: Mapping[str, AttributeConfig] | None = None,
    towers: TowersConfig | None = None,
    training: TrainingConfig | None = None,
    newcomers: NewcomersConfig | None = None,
    index: IndexConfig | None = None,
    vectors: str | Path = "runs/vectors",
    seed: int = 0,
    refit: bool = True,
) -> Recommender:
    """Encode, train and index in one call: what notebooks use.

    Args:
        dataset: the log, and the catalogue if there is one.
        split: of this data set; its test part is not looked at.
        content: as ``[content.NAME]`` in a config: name -> columns and encoder, or vectors.
        users: as ``[users.NAME]`` in a config: name -> columns of ``dataset.users`` and encoder.
        towers: their shape.
        training: how they learn.
        newcomers: how items without interactions are placed.
        index: what recommendations are served from.
        vectors: folder that keeps encoded vectors, so that they are made once.
        seed: of weights and batches.
        refit: see `fit_towers`.

    Returns:
        A recommender whose histories are the whole log.
    """
    training = training or TrainingConfig()
    catalogue = Catalogue(
        dataset.items,
        dataset.item_ids,
        dataset.catalogue_rows,
        training=split.trained_items,
        folder=dataset.items_folder or Path(),
    )
    store, device = VectorStore(Path(vectors)), str(pick_device(training.device))
    made = content_blocks(catalogue, content or {}, store, device=device).blocks
    blocks = tunable_blocks(made, content or {}, catalogue, store, device)
    attributes = UserAttributes.fit(users or {}, dataset.users, split.trained_users)
    fitted = fit_towers(
        split,
        blocks,
        towers or TowersConfig(),
        training,
        seed=seed,
        refit=refit,
        user_blocks=attributes.blocks(dataset.users),
        newcomers=newcomers or NewcomersConfig(),
    )
    learnt, index = split.learnable(refit=refit), index or IndexConfig()
    asked = np.random.default_rng(seed).permutation(np.unique(learnt.users))[:ASKED]
    histories = learnt.histories().take(asked)
    built = build_index(
        fitted.towers.item_vectors(),
        index,
        ids_digest=dataset.item_ids.digest,
        askers=fitted.towers.user_vectors(asked, histories),
        exclude=histories,
    )
    check_recall(built, index)
    return Recommender.of(TwoTowerRanker(fitted.towers, built), dataset, attributes=attributes)


def fit_towers(
    split: Split,
    blocks: Sequence[ContentBlock],
    towers: TowersConfig,
    training: TrainingConfig,
    *,
    seed: int,
    refit: bool = True,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
    on_epoch: OnEpoch | None = None,
    user_blocks: Sequence[ContentBlock] = (),
    start: WarmStart | None = None,
    newcomers: NewcomersConfig | None = None,
) -> Fitted:
    """Choose the number of epochs on validation, then (``refit``) train on train + validation.

    Args:
        split: what to learn from and what chooses.
        blocks: content of the items.
        towers: their shape.
        training: how they learn.
        seed: of weights and batches.
        refit: train again from the start on train + validation for the chosen number of epochs;
            otherwise the best epoch's weights are kept.
        checkpoint: a folder that is read at the start, if it is there, and written on the way; a
            fit that was killed then ends with the very weights that it would have had.
        checkpoint_seconds: between two writings.
        on_epoch: told of every epoch: phase, report, validation score if there was one.
        user_blocks: attributes of the users.
        start: what was learnt before; None: start afresh.
        newcomers: how items without interactions are placed, once the towers are trained; None:
            where the item tower puts their content.

    Raises:
        TrainingDiverged: a loss is not finite.
        DataError: there is nothing to learn from.
        ConfigError: the towers look at times, but the log has an order only.
    """
    check_times(towers, split.time_kind)
    shape = _Shape(towers, blocks, user_blocks)
    fit = _Fit(split, shape, training, seed, checkpoint, checkpoint_seconds, on_epoch, start)
    again = refit and len(split.validation) > 0
    if again and start is not None and not start.can_choose(split):
        epochs, best = training.epochs, dict[str, Tensor]()
    else:
        epochs, best = fit.search()
    if again:
        learner = fit.refit(epochs)
    else:
        learner = fit.learner(split.train)
        learner.towers.load_state_dict(best)
    learner.towers.eval()
    rows = split.learnable(refit=again)
    learner.towers.learn_average(rows.histories())
    if newcomers is not None and _has_newcomers(learner.towers, newcomers, rows):
        learner.towers.newcomers = fit_newcomers(
            learner.towers, rows, learner.towers.items.as_tuned(blocks), newcomers, seed=seed
        )
    return Fitted(learner.towers, epochs, fit.progress.scores, fit.progress.history)


def _has_newcomers(towers: TwoTower, config: NewcomersConfig, rows: Interactions) -> bool:
    """Whether there are or will be items with content, but no interactions, and who shows how."""
    known = towers.items.known
    expected = config.later and bool(towers.content_widths)
    new = expected or bool((towers.items.scorable & ~known).any())
    if config.dim == 0 or not (new and known.any()):
        return False
    if (rows.user_counts() > 1).sum() < LEAST_USERS:
        logger.warning(
            "newcomers: fewer than %d users took two items; new items stay where the item tower "
            "puts them",
            LEAST_USERS,
        )
        return False
    return True


def check_times(towers: TowersConfig, time_kind: TimeKind) -> None:
    """Refuse towers that look at times where the log has none.

    Raises:
        ConfigError: the towers look at times, but the log has an order only.
    """
    if towers.time_gaps and time_kind != "timestamp":
        raise ConfigError(
            "towers.time_gaps = true needs moments, but the log's times are only an order; name a "
            "column of moments in data.time, or leave time_gaps out"
        )


class _Shape(NamedTuple):
    """What towers are made of."""

    config: TowersConfig
    blocks: Sequence[ContentBlock]
    user_blocks: Sequence[ContentBlock]


class _Fit:
    """One fit under way. Not frozen: it is the bookkeeping of a loop."""

    def __init__(
        self,
        split: Split,
        shape: _Shape,
        training: TrainingConfig,
        seed: int,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        on_epoch: OnEpoch | None,
        start: WarmStart | None,
    ) -> None:
        self.split, self.shape, self.training = split, shape, training
        self.seed, self.on_epoch, self.start = seed, on_epoch, start
        self.train = train if start is None else start.train
        self.checkpoint, self.checkpoint_seconds = checkpoint, checkpoint_seconds
        self.device = pick_device(training.device)
        self.miner = partial(_nearest, training.hard_pool)
        self.progress = _Progress()
        self.saved = time.monotonic()
        self.resumable = False
        if checkpoint is not None:
            restore_folder(checkpoint)
            self.resumable = checkpoint.is_dir()
        if self.resumable and checkpoint is not None:
            self.progress = _read_progress(checkpoint)

    def learner(self, rows: Interactions) -> Learner:
        """Towers for the items of ``rows``: fresh ones, or with what was learnt before."""
        config, blocks, user_blocks = self.shape
        towers = TwoTower(
            config,
            rows.n_users,
            blocks,
            rows.item_counts() > 0,
            seed=self.seed,
            user_blocks=user_blocks,
            known_users=rows.user_counts() > 0,
            ratings=RatingBaseline.of(rows) if self.training.rating_weight else None,
        )
        if self.start is not None:
            self.start.enter(towers)
        towers = towers.to(self.device)
        if self.start is not None:
            towers.items.encode_anew(self.training.precision)  # by the encoders that learnt before
        return Learner(towers, self.training)

    def search(self) -> tuple[int, dict[str, Tensor]]:
        """Train on train until validation gets no better: the best epoch and its weights."""
        progress, training = self.progress, self.training
        last = training.epochs
        if progress.phase == "refit":
            return progress.best(last), {}
        task = self.start.task(self.split) if self.start else self.split.task("validation")
        learner, best = self.learner(self.split.train), dict[str, Tensor]()
        self._resume(learner, best)
        if progress.should_stop(training.patience):
            return progress.best(last), best
        rows = self.split.train
        with progress_bar() as bar:
            shown = bar.add_task("training", total=last, completed=learner.epoch)
            for report in self.train(
                learner, rows, training, seed=self.seed, until=last, miner=self.miner
            ):
                due = report.epoch % training.score_every == 0 or report.epoch == last
                score = _validation_score(learner.towers, task) if due else None
                if score is not None:
                    progress.scores[report.epoch] = score
                if progress.best(last) == report.epoch:
                    best.update(_copy(learner.towers))
                self._note("search", report, score, learner, best)
                bar.update(shown, completed=report.epoch, description=_describe(progress))
                if progress.should_stop(training.patience):
                    break
            bar.update(shown, total=learner.epoch)
        return progress.best(last), best

    def refit(self, epochs: int) -> Learner:
        """Train on train + validation for the chosen number of epochs."""
        rows = self.split.learnable(refit=True)
        learner = self.learner(rows)
        if self.progress.phase == "refit":
            self._resume(learner, {})
        self.progress.phase = "refit"
        with progress_bar() as bar:
            shown = bar.add_task("training again", total=epochs, completed=learner.epoch)
            for report in self.train(
                learner, rows, self.training, seed=self.seed, until=epochs, miner=self.miner
            ):
                self._note("refit", report, None, learner, {})
                bar.advance(shown)
        return learner

    def _note(
        self,
        phase: Phase,
        report: EpochReport,
        score: float | None,
        learner: Learner,
        best: dict[str, Tensor],
    ) -> None:
        self.progress.history.append({"phase": phase, **asdict(report), "score": score})
        if self.on_epoch is not None:
            self.on_epoch(phase, report, score)
        if self.checkpoint is None or time.monotonic() - self.saved < self.checkpoint_seconds:
            return
        save_checkpoint(self.checkpoint, learner, asdict(self.progress), best)
        self.saved = time.monotonic()

    def _resume(self, learner: Learner, best: dict[str, Tensor]) -> None:
        if self.resumable and self.checkpoint is not None:
            best.update(load_checkpoint(self.checkpoint, learner))
            self.resumable = False
            again = " on train + validation" if self.progress.phase == "refit" else ""
            line = f"training{again} goes on after epoch {learner.epoch}, where it was stopped"
            logger.info(line)
            console.print(line)


def _nearest(k: int, item_vectors: NDArray[np.float32]) -> Miner:
    """Finds the k items nearest to a user, by exact search."""
    index = ExactIndex.build(item_vectors)

    def mine(user_vectors: NDArray[np.float32], exclude: Ragged, /) -> NDArray[np.int32]:
        return index.query(user_vectors, min(k, len(item_vectors)), exclude=exclude).items

    return mine


def _validation_score(towers: TwoTower, task: Task) -> float | None:
    """NDCG@10 of exact ranking; None when the validation part has nothing to ask."""
    if not len(task.truth):
        return None
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    return evaluate_ranker(ranker, task, ks=(10,)).means[CHOSEN_BY]


def _describe(progress: _Progress) -> str:
    if not progress.scores:
        return "training"
    last = list(progress.scores)[-1]
    return f"training (validation NDCG@10 {progress.scores[last]:.4f})"


def _copy(towers: TwoTower) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in towers.state_dict().items()}


def _read_progress(folder: Path) -> _Progress:
    state = read_json(folder / "state.json")
    try:
        scores = {int(epoch): float(score) for epoch, score in state["scores"].items()}
        return _Progress(state["phase"], scores, list(state["history"]))
    except (KeyError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{folder}: is no checkpoint ({error!r}); delete it") from None
