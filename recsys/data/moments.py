"""The moments that cut a log in time, found in the order of its rows, wherever that lies."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.parts import Part, Parts, floor_share
from recsys.data.times import TimeKind
from recsys.errors import ConfigError, DataError

__all__ = ["Moments", "check_moments", "moments_of"]


@dataclass(frozen=True)
class Moments:
    """Where the windows of global-time begin; ``later``: None where nothing is left out."""

    validation: int
    test: int
    later: int | None

    def parts(self, times: NDArray[np.int64]) -> Parts:
        """The part of each row by its time, ``(n,)``."""
        parts = np.full(len(times), Part.TRAIN, dtype=np.int8)
        parts[times >= self.validation] = Part.VALIDATION
        parts[times >= self.test] = Part.TEST
        if self.later is not None:
            parts[times >= self.later] = Part.LATER
        return parts


def check_moments(time_kind: TimeKind) -> None:
    """Refuse to cut a log at a moment where its times are none.

    Raises:
        ConfigError: they are an order within each user.
    """
    if time_kind == "order":
        raise ConfigError(
            "split: protocol 'global-time' needs moments, but the log's times are an order "
            "within each user; use 'user-time' or 'leave-last-out'"
        )


def moments_of(
    n: int,
    at: Callable[[int], int],
    before: Callable[[int], int],
    fractions: tuple[float, float],
    folds: tuple[int, int],
) -> Moments:
    """The boundaries of `recsys.data.protocols.global_time`, of a log that need not be in memory.

    Args:
        n: its rows.
        at: the time of the row at a place, counted from 0, of all rows by time.
        before: how many rows are earlier than a moment.
        fractions: that test, and that validate.
        folds: how many windows, and which of them tests.

    Raises:
        DataError: see there.
    """
    of, fold = folds
    test_fraction, validation_fraction = fractions
    test = _boundary(n, at, test_fraction * (of - fold + 1) / of)
    validation = _boundary(before(test), at, validation_fraction)
    if fold == of:
        return Moments(validation, test, None)
    later = _boundary(n, at, test_fraction * (of - fold) / of)
    if later == test:
        raise DataError(f"fold {fold} of {of} is empty: too many rows share their time; take fewer")
    return Moments(validation, test, later)


def _boundary(n: int, at: Callable[[int], int], fraction: float) -> int:
    """The time from which on about ``fraction`` of the first ``n`` rows by time lie.

    Something lies before it.
    """
    cut = at(n - max(1, floor_share(n, fraction)))
    if cut == at(0):
        raise DataError(
            f"no moment leaves {fraction:g} of {n} rows at or after it and some before: "
            "too many rows share their time; use another protocol"
        )
    return cut
