"""lr-find: the learning-rate range test of a config's towers -> DIR/lr-find.png and .csv.

Its towers are fresh and thrown away: nothing else of the run changes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recsys.content.user_attributes import load_user_blocks
from recsys.epochs import Checkpoints, Epochs, Shape
from recsys.files import atomic_file
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data
from recsys.stages.run import Run
from recsys.stages.stage import Record
from recsys.stages.teacher import load_teachers
from recsys.stages.train import item_blocks
from recsys.training.range_test import RangeTest, range_test

__all__ = ["CHART", "CURVE", "lr_find"]

CHART, CURVE = "lr-find.png", "lr-find.csv"
BLUE, GREEN, RED, GREY = "#4477AA", "#228833", "#EE6677", "#BBBBBB"  # Paul Tol's "bright"


def lr_find(
    run: Run,
    *,
    steps: int = 200,
    low: float = 1e-6,
    high: float = 1.0,
    tell: Callable[[Record], None],
) -> RangeTest:
    """Test rates from ``low`` to ``high`` on the training part.

    Args:
        run: its config says what is trained, its first seed with which weights.
        steps: from ``low`` to ``high``.
        low: rate of the first step.
        high: rate of the last one.
        tell: told of the stages before.

    Raises:
        DataError: there is nothing to learn from, or the loss bursts at once.
    """
    perform_stages(run, ("prepare", "embed"), tell=tell)
    content, config, seed = run.folder("content"), run.config, run.seeds[0]
    split = load_data(run)[1]
    blocks, users = tuple(item_blocks(run, content)), tuple(load_user_blocks(content))
    shape = Shape(config.towers, blocks, users)
    teachers = load_teachers(run, seed)
    fit = Epochs(split, shape, config.training, seed, checkpoints=Checkpoints(), teachers=teachers)
    learner = fit.learner(split.train)
    found = range_test(
        learner, split.train, config.training, seed=seed, steps=steps, low=low, high=high,
        miner=fit.miner,
    )  # fmt: skip
    _write(run.out, found, config.training.learning_rate)
    return found


def _write(folder: Path, found: RangeTest, configured: float) -> None:
    columns = {"learning_rate": found.rates, "loss": found.losses, "smooth": found.smooth}
    with atomic_file(folder / CURVE) as partial:
        pd.DataFrame(columns).to_csv(partial, index=False)
    with atomic_file(folder / CHART) as partial:
        _drawn(found, configured).savefig(partial, format="png", dpi=130)


def _drawn(found: RangeTest, configured: float) -> Figure:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=GREY, linewidth=0.8, label="loss of a batch")
    axes.plot(found.rates, found.smooth, color=BLUE, linewidth=2, label="smoothed")
    lines = [
        (found.steepest, GREEN, "-", "steepest descent"),
        (configured, "black", ":", "training.learning_rate"),
    ]
    if found.burst:
        lines.append((found.tenth, RED, "-", "a tenth of the minimum's rate"))
    for rate, colour, style, name in lines:
        axes.axvline(rate, color=colour, linestyle=style, label=f"{name}: {rate:.2g}")
    low, high = float(found.smooth.min()), float(np.quantile(found.smooth, 0.97))
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    axes.set_xscale("log")
    axes.set(xlabel="learning rate", ylabel="loss (nats)", title="Learning-rate range test")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    return figure
