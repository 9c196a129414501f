"""The picture of a search: scores by trial, what mattered, and the scores over each parameter."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from recsys.config import RangeConfig
from recsys.stages.tune.space import Space

__all__ = ["draw_search"]

DONE, GREY, LINE, BEST = "#4477AA", "#BBBBBB", "#228833", "#EE6677"  # Paul Tol's "bright"
COLUMNS = 4
METRIC = "validation NDCG@10"
WORST = 0.1  # quantile of the finished scores: a chart of all would show the few failures only


def draw_search(trials: pd.DataFrame, importance: dict[str, float], space: Space) -> Figure:
    """Draw scores by trial, importance, and a panel of scores for each parameter.

    Args:
        trials: as in `recsys.stages.tune.results.Results`; at least one of them finished.
        importance: key -> share, the largest first; may be empty.
        space: what was searched.
    """
    keys = sorted(space.values, key=lambda key: -importance.get(key, 0.0))
    rows = math.ceil(len(keys) / COLUMNS)
    figure = Figure(figsize=(14, 3.6 + 3.0 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.25] + [1.0] * rows)
    finished = trials[trials["state"] == "complete"]
    top, low = finished["score"].max(), finished["score"].quantile(WORST)
    margin = max(0.05 * (top - low), 1e-4)
    limits = (low - 3 * margin, top + margin)
    wide = 3 if importance else COLUMNS
    _by_trial(figure.add_subplot(grid[0, :wide]), trials, limits)
    if importance:
        _importance(figure.add_subplot(grid[0, wide:]), importance, len(finished))
    for number, key in enumerate(keys):
        axes = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS])
        values = space.values[key]
        if isinstance(values, RangeConfig):
            _over_numbers(axes, finished, key, log=values.log)
        else:
            _over_values(axes, finished, key, values)
        axes.set_ylim(*limits)
        axes.set_title(key, fontsize=10)
        if number % COLUMNS == 0:
            axes.set_ylabel(METRIC)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _by_trial(axes: Any, trials: pd.DataFrame, limits: tuple[float, float]) -> None:
    finished = trials[trials["state"] == "complete"].sort_values("number")
    below = finished["score"] < limits[0]
    axes.scatter(finished["number"], finished["score"], s=26, color=DONE, label="finished")
    best = finished["score"].cummax()
    axes.step(finished["number"], best, where="post", color=LINE, label="best so far")
    others = trials[trials["state"] != "complete"]
    bottom = limits[0] + 0.03 * (limits[1] - limits[0])
    if len(others):
        at = np.full(len(others), bottom)
        axes.scatter(others["number"], at, s=22, marker="x", color=GREY, label="pruned or failed")
    if below.any():
        at = np.full(int(below.sum()), bottom)
        axes.scatter(finished["number"][below], at, s=26, marker="v", color=DONE, label="far below")
    axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=METRIC)
    axes.set_title(f"Best: {best.max():.4f}", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=9)


def _importance(axes: Any, importance: dict[str, float], finished: int) -> None:
    names, shares = list(importance), list(importance.values())
    axes.barh(range(len(names)), shares, color=DONE)
    axes.set_yticks(range(len(names)), [name.partition(".")[2] for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("share of variance (fANOVA)")
    axes.set_title(f"What mattered, {finished} finished trials", fontsize=10)


def _over_numbers(axes: Any, finished: pd.DataFrame, key: str, *, log: bool) -> None:
    at, scores = finished[key].to_numpy(dtype=float), finished["score"].to_numpy()
    axes.scatter(at, scores, s=20, color=DONE, alpha=0.7)
    winner = int(scores.argmax())
    axes.scatter(at[winner], scores[winner], s=60, marker="*", color=BEST, zorder=3)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _over_values(axes: Any, finished: pd.DataFrame, key: str, values: tuple[Any, ...]) -> None:
    """Points with a little sideways noise, and the median as a bar."""
    names, random = [str(value) for value in values], np.random.default_rng(0)
    place = finished[key].map(str).map({name: at for at, name in enumerate(names)})
    at, scores = place.to_numpy(dtype=float), finished["score"].to_numpy()
    aside = random.uniform(-0.12, 0.12, len(at))
    axes.scatter(at + aside, scores, s=20, color=DONE, alpha=0.7)
    winner = int(scores.argmax())
    axes.scatter(at[winner] + aside[winner], scores[winner], s=60, marker="*", color=BEST, zorder=3)
    for number in range(len(names)):
        if (at == number).any():
            median = float(np.median(scores[at == number]))
            axes.hlines(median, number - 0.3, number + 0.3, color=LINE, linewidth=2)
    shown = [f"{name}\n({int((at == number).sum())})" for number, name in enumerate(names)]
    axes.set_xticks(range(len(names)), shown, fontsize=8)
    axes.set_xlim(-0.6, len(names) - 0.4)
