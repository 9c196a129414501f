"""The learning-rate range test: the rate rises at every step, and the loss says what it does.

L. Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from recsys.config import TrainingConfig
from recsys.data.interactions import Interactions
from recsys.errors import DataError, TrainingDiverged
from recsys.training.batches import Batch, draw_batches
from recsys.training.diverged import Watch
from recsys.training.loop import Learner, make_step
from recsys.training.objective import MinerOf, Objective

__all__ = ["RangeTest", "range_test"]

REMEMBERED = 0.9  # of the running mean of losses, which ends the test, at every step
WIDTH = 0.02  # of the Gaussian, of all steps
TOO_MUCH = 4.0  # times the best running mean: the loss has burst, and the test ends
SETTLED = 10  # steps until the running mean can be trusted
MIXED_IN = 7_919


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What the loss did while the rate rose.

    Attributes:
        rates: of each step, rising evenly in their logarithm, float64 ``(steps,)``.
        losses: of each step's batch before its step, in nats, float64 ``(steps,)``.
        smooth: the losses smoothed by a Gaussian, which, unlike a running mean, does not lag behind
            the rate, float64 ``(steps,)``.
        burst: whether the loss rose to several times its best. Towers of unit vectors, clipped
            gradients and Adam may bear any rate; `tenth` then says nothing.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smooth: NDArray[np.float64]
    burst: bool

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest by the logarithm of the rate."""
        slope = np.gradient(self.smooth, np.log(self.rates))
        first = min(SETTLED, len(slope) - 1)
        return float(self.rates[first + int(slope[first:].argmin())])

    @property
    def tenth(self) -> float:
        """A tenth of the rate with the lowest loss: beyond that one, steps do harm."""
        first = min(SETTLED, len(self.smooth) - 1)
        return float(self.rates[first + int(self.smooth[first:].argmin())]) / 10


def range_test(
    learner: Learner,
    rows: Interactions,
    config: TrainingConfig,
    *,
    seed: int,
    steps: int = 200,
    low: float = 1e-6,
    high: float = 1.0,
    miner: MinerOf | None = None,
) -> RangeTest:
    """Train with a rate that rises from ``low`` to ``high``, until the loss bursts.

    Args:
        learner: fresh; it is of no use afterwards.
        rows: interactions to learn from.
        config: how; its learning rate and schedule are not used.
        seed: of batches and dropout.
        steps: from ``low`` to ``high``.
        low: rate of the first step.
        high: rate of the last one.
        miner: makes of all item vectors what finds hard negatives, if some are wanted; once.

    Raises:
        DataError: there is nothing to learn from, or the loss bursts at once.
    """
    if not len(rows):
        raise DataError("learning-rate range test: no interactions to learn from")
    objective = replace(Objective.of(rows, config), teacher=learner.teacher)
    mine = miner(learner.towers.item_vectors()) if miner and config.hard_negatives else None
    rates, losses = np.geomspace(low, high, steps), list[float]()
    random, sum_, best, burst = np.random.default_rng([seed, MIXED_IN]), 0.0, math.inf, False
    learner.towers.train()
    torch.manual_seed(seed)  # of dropout
    watch = Watch(learner.towers, learner.optimizers, config, objective.workers, None)
    batches = zip(rates.tolist(), _batches(learner, rows, config, seed), strict=False)
    for step, (rate, batch) in enumerate(batches):
        try:
            loss = float(make_step(learner, objective, batch, random, mine, rate, watch, (1, step)))
        except TrainingDiverged:
            loss = math.nan
        if not math.isfinite(loss):
            burst = True
            break
        losses.append(loss)
        sum_ = REMEMBERED * sum_ + (1 - REMEMBERED) * loss
        mean = sum_ / (1 - REMEMBERED ** len(losses))
        best = min(best, mean if len(losses) >= SETTLED else math.inf)
        if mean > TOO_MUCH * best:
            burst = True
            break
    if len(losses) < 2 * SETTLED:
        raise DataError(
            f"learning-rate range test: the loss bursts after {len(losses)} steps; take a lower "
            "first rate"
        )
    done = np.array(losses)
    smooth = gaussian_filter1d(done, max(1.0, WIDTH * steps), mode="nearest")
    return RangeTest(rates[: len(done)], done, smooth, burst)


def _batches(
    learner: Learner, rows: Interactions, config: TrainingConfig, seed: int
) -> Iterator[Batch]:
    """Batches without end."""
    towers, sequences, epoch = learner.towers, rows.histories(), 0
    while True:
        epoch += 1
        yield from draw_batches(
            sequences,
            config,
            towers.config.history,
            seed=seed,
            epoch=epoch,
            ratings=None if towers.ratings is None else rows.weights,
        )
