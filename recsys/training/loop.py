"""The training loop: batches in, one report per epoch out.

The caller owns everything that is not learning: it logs the report, scores, saves a checkpoint, or
stops by leaving the ``for``.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.interactions import Interactions
from recsys.device import generator_states, set_generator_states
from recsys.errors import ConfigError, DataError, TrainingDiverged
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch, draw_batches, steps_per_epoch
from recsys.training.compiling import compile_towers
from recsys.training.distill import Teacher
from recsys.training.diverged import Watch
from recsys.training.negatives import Miner
from recsys.training.objective import MinerOf, Objective
from recsys.training.optimizers import Optimizers
from recsys.training.prefetch import ahead
from recsys.training.workers import Workers

__all__ = ["EpochReport", "Learner", "OnStep", "Place", "learning_rate", "make_step", "train"]

MIXED_IN = 7_919  # keeps the seed of dropout apart from that of the batches
APART = 15_485_863  # keeps the seeds of workers apart


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did."""

    epoch: int  # counted from 1
    loss: float  # mean over the epoch's batches, in nats
    learning_rate: float  # at its last step
    temperature: float  # at its end


@dataclass(frozen=True, eq=False)
class Place:
    """Where a training stands between two steps of an epoch, beside weights and optimiser.

    Attributes:
        steps: done in this epoch.
        batches: state of the generator that draws batches.
        negatives: state of the generator that draws negatives.
        loss: sum over these steps, ``()``.
        generators: states of torch's own: of the CPU, and of the GPU if there is one.
    """

    steps: int
    batches: dict[str, Any]
    negatives: dict[str, Any]
    loss: Tensor
    generators: tuple[Tensor, ...]


OnStep = Callable[[int, int, Callable[[], Place]], None]
# Told of a step: how many of how many are done in the epoch, and how to learn where one stands.


class Learner:
    """What training changes: towers, the optimisers' state, the epochs done, and the steps."""

    def __init__(
        self, towers: TwoTower, config: TrainingConfig, teacher: Teacher | None = None
    ) -> None:
        """Start afresh; a teacher is learnt from as well."""
        if teacher is not None:
            teacher.check(towers)
        self.towers, self.teacher = towers, teacher
        self.epoch = 0
        self.place: Place | None = None  # in the middle of the epoch after that
        self.diverged: Path | None = None  # where a step that is not finite is written
        if config.compile:
            compile_towers(towers)
        self.optimizers = Optimizers(towers, config)


def learning_rate(step: int, total: int, config: TrainingConfig) -> float:
    """Rise over the first ``warmup`` of the steps, fall along a cosine to a twentieth.

    Args:
        step: counted from 0.
        total: steps of all ``config.epochs``.
        config: peak and warm-up.
    """
    rise = min(1.0, (step + 1) / max(1.0, config.warmup * total))
    fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total))
    return config.learning_rate * rise * fall


def train(
    learner: Learner,
    rows: Interactions,
    config: TrainingConfig,
    *,
    seed: int,
    until: int,
    miner: MinerOf | None = None,
    workers: Workers | None = None,
    on_step: OnStep | None = None,
) -> Iterator[EpochReport]:
    """Train in place, yielding after each epoch; a learner from a checkpoint goes on exactly.

    Every random draw of an epoch comes from (seed, epoch), so beside weights and optimiser nothing
    is carried on from one epoch to the next, and within one what `Place` says.

    Args:
        learner: towers and optimiser, on their device.
        rows: interactions to learn from.
        config: how.
        seed: of batches and dropout.
        until: the last epoch, counted from 1; the schedule is that of ``config.epochs`` all the
            same.
        miner: makes of all item vectors what finds hard negatives, once an epoch.
        workers: who shares each step; their number changes how sums round, what dropout drops and
            which hard negatives are drawn, and the time it takes.
        on_step: told of every step.

    Raises:
        TrainingDiverged: a step is not finite; it is not made. See `recsys.training.diverged`.
        DataError: there is nothing to learn from.
        ConfigError: what is asked for needs a single process.
    """
    if not len(rows):
        raise DataError("training: no interactions to learn from")
    workers = workers or Workers()
    _check_workers(learner.towers, config, workers)
    towers, sequences = learner.towers, rows.histories()
    steps = steps_per_epoch(sequences, config, towers.config.history)
    objective = replace(Objective.of(rows, config, workers), teacher=learner.teacher)
    watch = Watch(towers, learner.optimizers, config, workers, learner.diverged)
    for epoch in range(learner.epoch + 1, until + 1):
        mine = miner(towers.item_vectors()) if miner and config.hard_negatives else None
        towers.train()
        random, total, done = _begin(learner, seed, epoch, workers.rank)
        batches = ahead(
            draw_batches,
            config.prefetch,
            sequences,
            config,
            towers.config.history,
            seed=seed,
            epoch=epoch,
            ratings=None if towers.ratings is None else rows.weights,
            workers=(workers.rank, workers.size),
            begin=None if learner.place is None else (done, learner.place.batches),
        )
        learner.place, rate = None, 0.0
        for number, batch in enumerate(batches, start=done):
            rate = learning_rate((epoch - 1) * steps + number, config.epochs * steps, config)
            place = (epoch, number)
            total += make_step(learner, objective, batch, random, mine, rate, watch, place)
            if on_step is not None:
                on_step(number + 1, steps, partial(_place, number + 1, batch, random, total, watch))
        watch.look()
        loss = float(workers.sum(total)) / steps  # the one wait for the GPU
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"epoch {epoch}: the loss is {loss}; try training.learning_rate below "
                f"{config.learning_rate}"
            )
        if epoch % config.score_every == 0 or epoch == until:  # what is scored or kept
            towers.items.encode_anew(config.precision)
        learner.epoch = epoch
        yield EpochReport(epoch, loss, rate, towers.temperature)


def _check_workers(towers: TwoTower, config: TrainingConfig, workers: Workers) -> None:
    """Refuse what would need more than gradients and negatives from the others."""
    if not workers.are_several:
        return
    for what, asked in (
        ("training.contrast_weight", config.contrast_weight > 0),
        ("content.NAME.finetune.layers", bool(towers.items.tuned)),
    ):
        if asked:
            raise ConfigError(
                f"{what} is set and {workers.size} processes train: it is learnt by one process "
                "only; leave it out, or train without torchrun"
            )


def _begin(
    learner: Learner, seed: int, epoch: int, rank: int
) -> tuple[np.random.Generator, Tensor, int]:
    """Set all generators to the beginning of an epoch, or to where the learner stands in it.

    Returns:
        The generator of negatives, the sum of losses, and the number of steps done.
    """
    device, place = learner.towers.device, learner.place
    random = np.random.default_rng([seed, epoch, MIXED_IN])
    torch.manual_seed(seed * MIXED_IN + epoch + rank * APART)
    if place is None:
        return random, torch.zeros((), device=device), 0
    random.bit_generator.state = place.negatives
    set_generator_states(place.generators, device)
    return random, place.loss.to(device, copy=True), place.steps


def _place(
    steps: int, batch: Batch, random: np.random.Generator, total: Tensor, watch: Watch
) -> Place:
    """Where the training stands after a batch: only where all steps until then were made."""
    watch.look()
    negatives, generators = dict(random.bit_generator.state), generator_states(total.device)
    return Place(steps, batch.after, negatives, total.to("cpu", copy=True), generators)


def _tuning(
    towers: TwoTower, batch: Batch, random: np.random.Generator, config: TrainingConfig
) -> AbstractContextManager[None]:
    """Let some of the batch's items reach their encoders, if there are any that learn."""
    if not towers.items.tuned:
        return nullcontext()
    items = np.union1d(batch.targets.values, batch.histories.values)
    return towers.items.tuning(items, random, config.precision)


def make_step(
    learner: Learner,
    objective: Objective,
    batch: Batch,
    random: np.random.Generator,
    mine: Miner | None,
    rate: float,
    watch: Watch,
    place: tuple[int, int],
) -> Tensor:
    """Make one step; return this worker's share of the loss without waiting for it."""
    towers, config = learner.towers, objective.config
    learner.optimizers.set_rate(rate)
    learner.optimizers.zero_grad()
    drawn = objective.draw(batch, random, towers.device)
    moment = watch.moment(place[0], place[1] + 1, batch, drawn, random)
    own = random if not objective.workers.are_several else _own(random, objective.workers.rank)
    total = torch.zeros((), device=towers.device)
    for part in batch.parts(config.accumulate):
        with _tuning(towers, part, own, config):
            loss = objective(towers, part, drawn, own, mine)
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    objective.workers.sum_gradients(learner.optimizers.parameters)
    # A loss that is not finite leaves no sum of gradients finite, so all workers decide alike.
    alone = not objective.workers.are_several
    norm = learner.optimizers.clip_and_step(config.clip_norm, total if alone else None)
    watch.saw(moment, total, norm)
    towers.limit_temperature()
    return total


def _own(random: np.random.Generator, rank: int) -> np.random.Generator:
    """A generator of a worker's own draws of a step; the one that all share stays where it is."""
    state = random.bit_generator.state["state"]["state"]
    return np.random.default_rng([state % 2**63, rank])
