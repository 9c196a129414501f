"""How training went, as a picture: ``learning_curves.png`` in the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recsys.files import atomic_file
from recsys.stages.run import Run
from recsys.stages.train import HISTORY

__all__ = ["CHART", "draw_curves", "write_curves"]

CHART = "learning_curves.png"
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")  # Paul Tol's "bright"
STYLES = {"search": "-", "refit": ":"}
NAMED = {"search": "train", "refit": "train + validation"}

Epochs = Sequence[Mapping[str, Any]]


def write_curves(run: Run, folder: Path) -> None:
    """Draw the training of all seeds into a folder."""
    histories = {}
    for seed in run.seeds:
        text = (run.folder("towers", seed) / HISTORY).read_text(encoding="utf-8")
        histories[seed] = [json.loads(line) for line in text.splitlines() if line]
    with atomic_file(folder / CHART) as partial:
        draw_curves(histories).savefig(partial, format="png", dpi=110)


def draw_curves(histories: Mapping[int, Epochs]) -> Figure:
    """Draw the loss of each epoch, and beside it validation NDCG@10 with the chosen epoch starred.

    Args:
        histories: seed -> a record an epoch: phase, epoch, loss, score (None where none was taken).
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for number, (seed, history) in enumerate(histories.items()):
        colour = COLOURS[number % len(COLOURS)]
        for phase, style in STYLES.items():
            own = [one for one in history if one["phase"] == phase]
            at, loss = [one["epoch"] for one in own], [one["loss"] for one in own]
            name = f"seed {seed}, {NAMED[phase]}"
            if own:
                losses.plot(at, loss, style, color=colour, label=name)
        scored = [(one["epoch"], one["score"]) for one in history if one["score"] is not None]
        if scored:
            scores.plot(*zip(*scored, strict=True), marker="o", color=colour, label=f"seed {seed}")
            best = max(scored, key=lambda one: (one[1], -one[0]))
            scores.plot(*best, marker="*", markersize=14, color=colour)
    losses.set(xlabel="epoch", ylabel="loss (nats)", title="Loss in training")
    scores.set(xlabel="epoch", ylabel="NDCG@10", title="Validation")
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    return figure
