"""Charts of figures that are not certain: every bar and every point has its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.evaluation.certainty import Interval

__all__ = ["COLOURS", "draw_bars", "draw_line", "draw_points"]

# Paul Tol's "bright" scheme: told apart by colour-blind people too.
COLOURS = {
    "better": "#228833",
    "worse": "#BBBBBB",
    "cannot tell": "#CCBB44",
    "same": "#66CCEE",
    "ours": "#4477AA",
    "other": "#EE6677",
}
REACH = 0.04  # of the width: a name farther to the right is written to the left of its point
CLOSE = 0.04  # of the height: the name of the lower of two such points stands below it


def draw_bars(
    axes: Any,
    intervals: Mapping[str, Interval],
    *,
    colours: Mapping[str, str] | None = None,
    label: str = "",
) -> None:
    """Draw a bar and its interval for each name, the first on top.

    Args:
        axes: of matplotlib.
        intervals: name -> mean with its interval.
        colours: name -> colour; blue where there is none.
        label: of the axis of values.
    """
    names = list(intervals)
    means = np.array([intervals[name].mean for name in names])
    ends = np.array([[intervals[name].low, intervals[name].high] for name in names]).reshape(-1, 2)
    paint = [(colours or {}).get(name, COLOURS["ours"]) for name in names]
    # An interval of the bootstrap need not hold the mean itself.
    reach = np.maximum([means - ends[:, 0], ends[:, 1] - means], 0)
    axes.barh(range(len(names)), means, xerr=reach, color=paint, error_kw={"lw": 1.2, "capsize": 3})
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def draw_line(
    axes: Any, at: Sequence[float], intervals: Sequence[Interval], *, name: str, colour: str
) -> None:
    """Draw means over numbers ``at``, with the band of their intervals.

    Args:
        axes: of matplotlib.
        at: where on the horizontal axis, ``(n,)``.
        intervals: the mean and its interval at each, ``(n,)``.
        name: in the legend.
        colour: of line and band.
    """
    mean, low, high = np.array(intervals).T
    axes.plot(at, mean, marker="o", color=colour, label=name)
    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.spines[["top", "right"]].set_visible(False)


def draw_points(
    axes: Any, points: Mapping[str, tuple[float, float]], *, labels: tuple[str, str]
) -> None:
    """Draw a named point for each name; those that no other point beats in both are blue.

    More is better on both axes: what is grey is dominated (Pareto).

    Args:
        axes: of matplotlib.
        points: name -> place.
        labels: of the two axes.
    """
    places = np.array(list(points.values()))
    beaten = [bool(((places > place).all(axis=1)).any()) for place in places]
    middle = places[:, 0].min() + (0.5 + REACH) * np.ptp(places[:, 0])
    named = sorted(zip(points, places, beaten, strict=True), key=lambda one: -one[1][1])
    last = np.inf
    for name, (x, y), lost in named:
        axes.scatter(x, y, s=45, color=COLOURS["worse" if lost else "ours"])
        right, below = x > middle, last - y < CLOSE * np.ptp(places[:, 1])
        last = np.inf if below else y
        axes.annotate(
            name, (x, y), textcoords="offset points",
            xytext=(-7 if right else 7, -12 if below else 4),
            ha="right" if right else "left", fontsize=9,
        )  # fmt: skip
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.margins(0.12)
    axes.spines[["top", "right"]].set_visible(False)
