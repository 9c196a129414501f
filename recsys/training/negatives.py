"""Negatives: which items a step's targets are told apart from, and how often each is expected.

Items without training rows are never drawn: their content would be learnt to be bad. ``log_q`` is
the log of how often an item is *expected* among what is drawn, so ``sum exp(score - log_q)`` over
the draw is right on average for the sum over all items (see ``recsys.towers.losses``).
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged
from recsys.device import to_device
from recsys.errors import ConfigError, DataError

__all__ = [
    "HardNegatives",
    "ItemSampler",
    "Miner",
    "Negatives",
    "accidental_hits",
    "against_all",
    "in_batch",
    "mined",
]

Items = NDArray[np.integer[Any]]


def against_all(config: TrainingConfig, n_items: int) -> bool:
    """Whether all items are negatives, and none are drawn."""
    if config.negatives != "auto":
        return config.negatives == "all"
    return n_items <= config.full_softmax_up_to and config.loss == "softmax"


@dataclass(frozen=True, eq=False)
class Negatives:
    """Negatives that all rows of a step share.

    Attributes:
        items: item numbers, int32 ``(n,)``, rising; an item may be there more than once.
        log_q: of each, float32 ``(n,)``.
    """

    items: NDArray[np.int32]
    log_q: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HardNegatives:
    """Each row's own negatives, drawn evenly from its pool.

    The pool is what the miner found, less what may not be learnt from. Shared negatives that are in
    the pool are counted twice unless they are barred: ``accidental_hits(shared items,
    taken.beside(hard.pool))`` keeps the sum of both right on average.

    Attributes:
        items: item numbers, int32 ``(b, n)``; 0 where barred.
        log_q: of each, float32 ``(b, n)``; 0 where barred.
        barred: where a row's pool had too few, bool ``(b, n)``.
        pool: the pools, ``b`` rows.
    """

    items: NDArray[np.int32]
    log_q: NDArray[np.float32]
    barred: NDArray[np.bool_]
    pool: Ragged


class Miner(Protocol):
    """Finds the items that lie nearest to each user, such as an index does."""

    def __call__(self, user_vectors: NDArray[np.float32], exclude: Ragged, /) -> Items:
        """Return item numbers ``(b, k)``, each once a row, -1 where fewer were allowed.

        Args:
            user_vectors: ``(b, d)``.
            exclude: per user, items never to return, ``b`` rows.
        """
        ...


@dataclass(frozen=True, eq=False)
class ItemSampler:
    """Draws items that have training rows in proportion to their number of rows to a power.

    Attributes:
        known: items with training rows, int32 ``(m,)``, rising.
        cumulative: share of the draws up to and with each of them, float64 ``(m,)``, ending in 1.
        log_share: log of each item's share of the draws, float32 ``(n_items,)``; -inf: never drawn.
    """

    known: NDArray[np.int32]
    cumulative: NDArray[np.float64]
    log_share: NDArray[np.float32]

    @classmethod
    def by_popularity(cls, counts: NDArray[np.integer[Any]], power: float) -> Self:
        """Build from the number of training rows of each item, ``(n_items,)``.

        Args:
            counts: not negative.
            power: 0 is uniform, 1 by popularity, 0.75 the usual middle (Mikolov et al. 2013).

        Raises:
            ConfigError: power is negative or not finite.
            DataError: no item has a training row.
        """
        if not (math.isfinite(power) and power >= 0):
            raise ConfigError(f"negatives: power = {power}, expected a number of at least 0")
        known = np.flatnonzero(counts > 0)
        if not len(known):
            raise DataError("negatives: no item has training rows; check the training part")
        shares = counts[known].astype(np.float64) ** power
        cumulative = np.cumsum(shares)
        log_share = np.full(len(counts), -np.inf, dtype=np.float32)
        log_share[known] = np.log(shares / cumulative[-1])
        return cls(known.astype(np.int32), cumulative / cumulative[-1], log_share)

    def draw(self, n: int, random: np.random.Generator) -> Negatives:
        """Draw ``n`` items, one from each n-th of the probability.

        So an item comes ``n q`` times on average and never one time more or less than that: the
        estimate of a sum varies less than with independent draws, and few items come twice.

        Raises:
            ConfigError: n is below 1.
        """
        _check_number(n)
        places = (np.arange(n) + random.random(n)) / n
        found = np.searchsorted(self.cumulative, places, side="right")
        items = self.known[np.minimum(found, len(self.known) - 1)]  # a place may round to 1
        return Negatives(items, self.log_share[items] + np.float32(math.log(n)))


def in_batch(
    targets: Items, log_share: NDArray[np.float32], n: int, random: np.random.Generator
) -> Negatives:
    """Take a step's own targets as negatives, each item once.

    An item that is there c times counts c times: ``log_q = log(expected) - log(c)``. Losses without
    logQ see it once.

    Args:
        targets: item numbers of the step, ``(t,)``, with repetitions.
        log_share: of each item among all targets, ``(n_items,)``, as an ``ItemSampler`` of power 1
            has it.
        n: more targets than this are cut down to n of them at random.
        random: says which.

    Raises:
        ConfigError: n is below 1.
        DataError: a target has no share: it has no training rows.
    """
    _check_number(n)
    kept = targets if len(targets) <= n else random.choice(targets, n, replace=False, shuffle=False)
    items, counts = np.unique(kept, return_counts=True)
    shares = log_share[items]
    if not np.isfinite(shares).all():
        lost = items[~np.isfinite(shares)][0]
        raise DataError(f"in-batch negatives: target {lost} has no training rows; shares are stale")
    log_q = shares + np.log(len(kept) / counts)
    return Negatives(items.astype(np.int32), log_q.astype(np.float32))


def mined(
    mine: Miner,
    user_vectors: NDArray[np.float32],
    taken: Ragged,
    known: NDArray[np.bool_],
    n: int,
    random: np.random.Generator,
) -> HardNegatives:
    """Draw each row's negatives from the items that the miner finds nearest to it.

    Args:
        mine: finds them.
        user_vectors: ``(b, d)``.
        taken: all that each user ever took, ``b`` rows: never a negative.
        known: items with training rows, bool ``(n_items,)``; others are left out.
        n: how many a row; at most as many as the miner finds.
        random: says which.

    Raises:
        ConfigError: n is below 1 or the miner finds fewer than n.
    """
    _check_number(n)
    found = mine(user_vectors, taken)
    if found.shape[0] != len(taken) or found.shape[1] < n:
        raise ConfigError(
            f"hard negatives: {n} of the nearest for {len(taken)} rows, but the miner found "
            f"{found.shape}; let it find more, or draw fewer"
        )
    fit = (found >= 0) & known[found]
    order = random.random(found.shape)
    order[~fit] = 2.0  # behind all others
    chosen = np.argpartition(order, n - 1, axis=1)[:, :n]
    barred = ~np.take_along_axis(fit, chosen, axis=1)
    items = np.where(barred, 0, np.take_along_axis(found, chosen, axis=1)).astype(np.int32)
    sizes = fit.sum(axis=1)
    shares = np.minimum(n, sizes) / np.maximum(sizes, 1)
    log_q = np.where(barred, 0.0, np.log(np.maximum(shares, 1e-9))[:, None]).astype(np.float32)
    pool = Ragged(np.concatenate([[0], np.cumsum(sizes)]), found[fit].astype(np.int32))
    return HardNegatives(items, log_q, barred, pool)


def accidental_hits(items: Tensor, taken: Ragged) -> Tensor:
    """Where shared negatives are no negatives of a row, bool ``(b, n)``, on the items' device.

    Args:
        items: the shared negatives, int64 ``(n,)``, rising, with repetitions.
        taken: per row, item numbers that are no negatives, ``b`` rows.
    """
    n = len(items)
    if not n:
        return torch.zeros((len(taken), 0), dtype=torch.bool, device=items.device)
    values = to_device(taken.values.astype(np.int64), items.device)
    rows = to_device(taken.row_numbers, items.device)
    first = torch.searchsorted(items, values)
    hit = items[first.clamp(max=n - 1)] == values
    barred = torch.zeros((len(taken), n + 1), dtype=torch.bool, device=items.device)
    barred[rows, torch.where(hit, first, n)] = True  # the last column takes what is no hit
    return barred[:, torch.searchsorted(items, items)]  # the repetitions of an item as its first


def _check_number(n: int) -> None:
    if n < 1:
        raise ConfigError(f"negatives: n = {n}, expected at least 1")
