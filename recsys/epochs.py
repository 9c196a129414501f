"""Epochs: train and score until validation gets no better, then again for as many; resumable.

What is on the way is kept in a checkpoint, between epochs and within long ones: a fit that was
killed ends with the very weights that it would have had.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID
from torch import Tensor

from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.device import pick_device
from recsys.errors import ArtifactError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.files import read_json, restore_folder
from recsys.index.exact import ExactIndex
from recsys.progress import console, progress_bar
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.rating import RatingBaseline
from recsys.towers.two_tower import TwoTower
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.distill import Teacher, Teachers
from recsys.training.loop import EpochReport, Learner, Place, train
from recsys.training.negatives import Miner
from recsys.training.workers import Workers
from recsys.updating import WarmStart

__all__ = ["CHOSEN_BY", "Checkpoints", "Epochs", "History", "OnEpoch", "Phase", "Shape"]

CHOSEN_BY = "ndcg@10"
WORTH = 20  # large towers are saved more seldom: a twentieth of the time goes into it at most
LOOK = 20  # steps from one look at the clock to the next, where several workers must agree

logger = logging.getLogger(__name__)

Phase = Literal["search", "refit"]
OnEpoch = Callable[[Phase, EpochReport, float | None], None]


class Shape(NamedTuple):
    """What towers are made of."""

    config: TowersConfig
    blocks: tuple[ContentBlock, ...]
    user_blocks: tuple[ContentBlock, ...]


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a fit keeps what it has.

    Attributes:
        folder: None: nothing is kept.
        seconds: from one writing to the next, at least; 0: after every step.
    """

    folder: Path | None = None
    seconds: float = 10.0


@dataclass
class History:
    """Where a fit stands: what a checkpoint keeps beside weights and optimisers."""

    phase: Phase = "search"
    scores: dict[int, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def best(self, last: int) -> int:
        """The epoch with the best validation score, the earlier of equals; without any the last."""
        return max(self.scores, key=lambda e: (self.scores[e], -e)) if self.scores else last

    def should_stop(self, patience: int) -> bool:
        """Whether the last ``patience`` scorings were no better than one before."""
        return sum(epoch > self.best(0) for epoch in self.scores) >= patience

    @classmethod
    def read(cls, folder: Path) -> "History":
        """What a checkpoint says.

        Raises:
            ArtifactError: it is none.
        """
        state = read_json(folder / "state.json")
        try:
            scores = {int(epoch): float(score) for epoch, score in state["scores"].items()}
            return cls(state["phase"], scores, list(state["history"]))
        except (KeyError, AttributeError, ValueError) as error:
            raise ArtifactError(f"{folder}: is no checkpoint ({error!r}); delete it") from None


class Epochs:
    """A fit under way. Not frozen: it is the bookkeeping of a loop."""

    def __init__(
        self,
        split: Split,
        shape: Shape,
        training: TrainingConfig,
        seed: int,
        *,
        checkpoints: Checkpoints,
        on_epoch: OnEpoch | None = None,
        start: WarmStart | None = None,
        workers: Workers | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        """See `recsys.fitting.fit_towers`; a checkpoint that is there is gone on from."""
        self.split, self.shape, self.training = split, shape, training
        self.seed, self.on_epoch, self.start = seed, on_epoch, start
        self.workers = workers or Workers()
        self.train = train if start is None else start.train
        self.checkpoints = checkpoints
        self.device = pick_device(training.device, self.workers.local_rank)
        self.teachers = [Teacher.of(one.to(self.device), training) for one in teachers or ()]
        self.miner = partial(_nearest, training.hard_pool)
        self.history = History()
        self.saved, self.cost = time.monotonic(), 0.0  # seconds: when, and how long it took
        self.resumable = False
        folder = checkpoints.folder
        if folder is not None:
            self.workers.agree(lambda: restore_folder(folder))
            self.resumable = self.workers.agree(folder.is_dir)
        if self.resumable and folder is not None:
            self.history = History.read(folder)

    def learner(self, rows: Interactions, *, again: bool = False) -> Learner:
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
        self.workers.start_alike(list(towers.parameters()))
        teacher = self.teachers[again] if self.teachers else None
        learner = Learner(towers, self.training, teacher)
        if self.checkpoints.folder is not None:
            learner.diverged = self.checkpoints.folder.with_name("diverged")
        return learner

    def search(self) -> tuple[int, dict[str, Tensor]]:
        """Train on train until validation gets no better: the best epoch and its weights."""
        history, training = self.history, self.training
        last = training.epochs
        if history.phase == "refit":
            return history.best(last), {}
        most = training.score_users
        task = (
            self.start.task(self.split, most)
            if self.start
            else self.split.task("validation", most_users=most)
        )
        learner, best = self.learner(self.split.train), dict[str, Tensor]()
        self._resume(learner, best)
        if history.should_stop(training.patience):
            return history.best(last), best
        with progress_bar() as bar:
            shown = bar.add_task("training", total=last, completed=learner.epoch)
            for report in self._reports(learner, self.split.train, last, bar, shown, best):
                due = report.epoch % training.score_every == 0 or report.epoch == last
                score = self._score(learner.towers, task) if due else None
                if score is not None:
                    history.scores[report.epoch] = score
                if history.best(last) == report.epoch:
                    best.update(_copy(learner.towers))
                self._note("search", report, score, learner, best)
                bar.update(shown, completed=report.epoch, description=_describe(history))
                if history.should_stop(training.patience):
                    break
            bar.update(shown, total=learner.epoch)
        return history.best(last), best

    def refit(self, epochs: int) -> Learner:
        """Train on train + validation for the chosen number of epochs."""
        rows = self.split.learnable(refit=True)
        learner = self.learner(rows, again=True)
        if self.history.phase == "refit":
            self._resume(learner, {})
        self.history.phase = "refit"
        with progress_bar() as bar:
            shown = bar.add_task("training again", total=epochs, completed=learner.epoch)
            for report in self._reports(learner, rows, epochs, bar, shown, {}):
                self._note("refit", report, None, learner, {})
                bar.update(shown, completed=report.epoch)
        return learner

    def _reports(
        self,
        learner: Learner,
        rows: Interactions,
        until: int,
        bar: Progress,
        shown: TaskID,
        best: dict[str, Tensor],
    ) -> Iterator[EpochReport]:
        """Train, showing and keeping what is done within epochs too."""
        # What hard negatives were found with, or encoders that learn, is not in a checkpoint.
        whole = bool(self.training.hard_negatives or learner.towers.items.tuned)

        def on_step(step: int, steps: int, place: Callable[[], Place]) -> None:
            if step < steps:
                bar.update(shown, completed=learner.epoch + step / steps)
                if not whole and self._is_due(step):
                    self._save(learner, best, self.workers.collect(place()))

        return self.train(
            learner,
            rows,
            self.training,
            seed=self.seed,
            until=until,
            miner=self.miner,
            workers=self.workers,
            on_step=on_step,
        )

    def _score(self, towers: TwoTower, task: Task) -> float | None:
        """What validation says; the first worker asks, the others hear."""
        return self.workers.agree(lambda: _validation_score(towers, task))

    def _note(
        self,
        phase: Phase,
        report: EpochReport,
        score: float | None,
        learner: Learner,
        best: dict[str, Tensor],
    ) -> None:
        self.history.history.append({"phase": phase, **asdict(report), "score": score})
        if self.on_epoch is not None:
            self.on_epoch(phase, report, score)
        if self._is_due(0):
            self._save(learner, best, ())

    def _is_due(self, step: int) -> bool:
        """Whether all workers are to save now: the first one's clock says."""
        if self.checkpoints.folder is None or (self.workers.are_several and step % LOOK):
            return False
        seconds = max(self.checkpoints.seconds, WORTH * self.cost)
        waited = time.monotonic() - self.saved >= seconds
        return self.workers.agree(lambda: waited)

    def _save(self, learner: Learner, best: dict[str, Tensor], places: Sequence[Place]) -> None:
        began = time.monotonic()
        if self.workers.is_first and self.checkpoints.folder is not None:
            save_checkpoint(self.checkpoints.folder, learner, asdict(self.history), best, places)
        self.saved = time.monotonic()
        self.cost = self.saved - began if self.checkpoints.seconds else 0.0

    def _resume(self, learner: Learner, best: dict[str, Tensor]) -> None:
        if not self.resumable or self.checkpoints.folder is None:
            return
        best.update(load_checkpoint(self.checkpoints.folder, learner, self.workers))
        self.resumable = False
        again = " on train + validation" if self.history.phase == "refit" else ""
        within = f" and {learner.place.steps} steps" if learner.place else ""
        line = f"training{again} goes on after epoch {learner.epoch}{within}, where it was stopped"
        logger.info(line)
        if self.workers.is_first:
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


def _describe(history: History) -> str:
    if not history.scores:
        return "training"
    last = list(history.scores)[-1]
    return f"training (validation NDCG@10 {history.scores[last]:.4f})"


def _copy(towers: TwoTower) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in towers.state_dict().items()}
