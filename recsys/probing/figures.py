"""A figure with its interval, by the bootstrap.

Efron, Bootstrap methods, 1979. Each resample draws n of n units (items, pairs, questions) with
replacement, and the figure is computed again from how often each was drawn. What was learnt before
(a probe's weights, clusters, neighbours) stays: the interval speaks of the units, not of the
learning. Shares have Wilson's interval: where all units are right the bootstrap would show none.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "Figure", "bootstrap", "mean_figure", "ratio", "resamples", "share_figure"]

RESAMPLES = 1_000
LEVEL = 0.95
Z = 1.959964  # the normal quantile at (1 + LEVEL) / 2
BLOCK = 1 << 22  # numbers held at a time

Floats = NDArray[np.float64]


class Figure(NamedTuple):
    """A measured figure."""

    value: float
    low: float  # the 95 % interval
    high: float
    chance: float | None = None  # what vectors that know nothing get, where that is known
    n: int = 0  # units (items, pairs, questions) it was measured on

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for json."""
        return dict(self._asdict())


def bootstrap(
    value: Callable[[Floats], Floats],
    n: int,
    *,
    chance: float | None = None,
    seed: int = 0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Figure:
    """Measure a figure and its interval.

    The interval is the percentile interval moved by the bootstrap's own bias, which matters for
    figures such as the mutual information that repeated units push up.

    Args:
        value: maps counts ``(resamples, n)``, how often each unit was drawn, to the figure of each
            resample ``(resamples,)``; NaN where a resample has none.
        n: units.
        chance: what vectors that know nothing get.
        seed: of the draws.
        within: the least and the greatest value that there can be.

    Returns:
        The figure of the data as they are (all counts 1), with its interval.
    """
    measured = float(value(np.ones((1, n)))[0])
    drawn = np.concatenate([value(counts) for counts in resamples(n, seed=seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(measured) or not len(drawn):
        raise ValueError(f"{n} units give no figure")
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = (np.quantile(drawn, tails) - (drawn.mean() - measured)).tolist()
    return Figure(measured, max(low, within[0]), min(high, within[1]), chance, n)


def mean_figure(values: Floats, *, chance: float | None = None, seed: int = 0) -> Figure:
    """The mean of one value a unit ``(n,)``, with its interval."""
    return bootstrap(
        lambda counts: counts @ values / counts.sum(axis=1), len(values), chance=chance, seed=seed
    )


def share_figure(right: Floats, *, chance: float | None = None) -> Figure:
    """The share of units that are right ``(n,)``, 0 to 1 each, with its interval.

    The score interval (Wilson, Probable inference, 1927), which keeps within 0 and 1 and has a
    width for 0 and 1 themselves; where units are partly right it is a little too wide.
    """
    n, share = len(right), float(right.mean())
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Figure(share, max(centre - half, 0.0), min(centre + half, 1.0), chance, n)


def ratio(above: Floats, below: Floats, otherwise: float = np.nan) -> Floats:
    """Divide, and give ``otherwise`` where the divisor is 0."""
    there = below > 1e-12
    return np.where(there, above / np.where(there, below, 1.0), otherwise)


def resamples(n: int, *, seed: int, times: int = RESAMPLES) -> Iterator[Floats]:
    """Yield blocks of counts ``(resamples, n)``: how often each of ``n`` units was drawn."""
    draw = np.random.default_rng(seed)
    block = max(1, min(times, BLOCK // max(n, 1)))
    for start in range(0, times, block):
        rows = min(block, times - start)
        drawn = draw.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
