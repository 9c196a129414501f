"""The training loop: batches in, one report per epoch out.

The caller owns everything that is not learning: it logs the report, scores, saves a checkpoint, or
stops by leaving the ``for``.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.interactions import Interactions
from recsys.errors import DataError, TrainingDiverged
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch, draw_batches, steps_per_epoch
from recsys.training.objective import MinerOf, Objective
from recsys.training.optimizers import Optimizers

__all__ = ["EpochReport", "Learner", "learning_rate", "train"]

MIXED_IN = 7_919  # keeps the seed of dropout apart from that of the batches


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did."""

    epoch: int  # counted from 1
    loss: float  # mean over the epoch's batches, in nats
    learning_rate: float  # at its last step
    temperature: float  # at its end


class Learner:
    """What training changes: the towers, the optimisers' state, and how many epochs are done."""

    def __init__(self, towers: TwoTower, config: TrainingConfig) -> None:
        """Start afresh."""
        self.towers = towers
        self.epoch = 0
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
) -> Iterator[EpochReport]:
    """Train in place, yielding after each epoch; a learner from a checkpoint goes on exactly.

    Every random draw comes from (seed, epoch), so nothing but weights and optimiser is carried on.

    Args:
        learner: towers and optimiser, on their device.
        rows: interactions to learn from.
        config: how.
        seed: of batches and dropout.
        until: the last epoch, counted from 1; the schedule is that of ``config.epochs`` all the
            same.
        miner: makes of all item vectors what finds hard negatives, once an epoch.

    Raises:
        TrainingDiverged: the mean loss of an epoch is not finite.
        DataError: there is nothing to learn from.
    """
    if not len(rows):
        raise DataError("training: no interactions to learn from")
    towers, sequences = learner.towers, rows.histories()
    steps = steps_per_epoch(sequences, config, towers.config.history)
    objective = Objective.of(rows, config)
    for epoch in range(learner.epoch + 1, until + 1):
        mine = miner(towers.item_vectors()) if miner and config.hard_negatives else None
        random = np.random.default_rng([seed, epoch, MIXED_IN])
        towers.train()
        torch.manual_seed(seed * MIXED_IN + epoch)
        total, rate = torch.zeros((), device=towers.device), 0.0
        batches = draw_batches(
            sequences,
            config,
            towers.config.history,
            seed=seed,
            epoch=epoch,
            ratings=None if towers.ratings is None else rows.weights,
        )
        for number, batch in enumerate(batches):
            rate = learning_rate((epoch - 1) * steps + number, config.epochs * steps, config)
            with _tuning(towers, batch, random, config):
                total += _step(learner, objective(towers, batch, random, mine), config, rate)
        loss = float(total) / steps  # the one wait for the GPU
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"epoch {epoch}: the loss is {loss}; try training.learning_rate below "
                f"{config.learning_rate}"
            )
        if epoch % config.score_every == 0 or epoch == until:  # what is scored or kept
            towers.items.encode_anew(config.precision)
        learner.epoch = epoch
        yield EpochReport(epoch, loss, rate, towers.temperature)


def _tuning(
    towers: TwoTower, batch: Batch, random: np.random.Generator, config: TrainingConfig
) -> AbstractContextManager[None]:
    """Let some of the batch's items reach their encoders, if there are any that learn."""
    if not towers.items.tuned:
        return nullcontext()
    items = np.union1d(batch.targets.values, batch.histories.values)
    return towers.items.tuning(items, random, config.precision)


def _step(learner: Learner, loss: Tensor, config: TrainingConfig, rate: float) -> Tensor:
    """Make one step against a loss; return it without waiting for it."""
    learner.optimizers.set_rate(rate)
    learner.optimizers.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    learner.optimizers.clip_and_step(config.clip_norm, loss.detach())
    learner.towers.limit_temperature()
    return loss.detach()
