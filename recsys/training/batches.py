"""Batches: every epoch each user is cut at a random point; what came next is to be guessed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged

__all__ = ["Batch", "draw_batches", "steps_per_epoch", "target_weights"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step learns from.

    Attributes:
        users: user numbers, int32 ``(b,)``; -1 where the user is played as unknown.
        histories: what came before the cut, oldest first, ``b`` rows.
        targets: what came after it, ``b`` rows, none of them empty.
        positives: everything the users ever took: never a negative, ``b`` rows.
    """

    users: NDArray[np.int32]
    histories: Ragged
    targets: Ragged
    positives: Ragged


def steps_per_epoch(n_users: int, batch_size: int) -> int:
    """How many batches an epoch over ``n_users`` users with interactions has."""
    return -(-n_users // batch_size)


def draw_batches(
    sequences: Ragged, config: TrainingConfig, history: int, *, seed: int, epoch: int
) -> Iterator[Batch]:
    """Yield the batches of an epoch: the same for the same seed and epoch.

    A user with n items is cut before item c, c uniform in 0..n-1: the (at most ``history``) items
    before it are the history, the (at most ``config.horizon``) from it on are the targets.

    Args:
        sequences: every user's items, oldest first, ``n_users`` rows.
        config: batch size, horizon and how often users are played as unknown.
        history: items of a history at most.
        seed: of the run.
        epoch: counted from 1.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(np.flatnonzero(sequences.lengths))
    for start in range(0, len(order), config.batch_size):
        users = order[start : start + config.batch_size]
        lengths = sequences.lengths[users]
        cuts = (random.random(len(users)) * lengths).astype(np.int64)
        unknown = random.random(len(users)) < config.user_dropout
        begins = sequences.indptr[users]
        yield Batch(
            users=np.where(unknown, -1, users).astype(np.int32),
            histories=_spans(sequences, begins + np.maximum(cuts - history, 0), begins + cuts),
            targets=_spans(
                sequences, begins + cuts, begins + np.minimum(cuts + config.horizon, lengths)
            ),
            positives=sequences.take(users),
        )


def target_weights(targets: Ragged, decay: float) -> NDArray[np.float32]:
    """Weights ``(t,)`` that fall with the distance from the cut and sum to 1 for every user."""
    rows = targets.row_numbers
    distance = np.arange(len(rows)) - targets.indptr[:-1][rows]
    weights = np.exp(-decay * distance)
    shares: NDArray[np.float32] = (weights / np.bincount(rows, weights)[rows]).astype(np.float32)
    return shares


def _spans(sequences: Ragged, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Ragged:
    """The values from each start up to its stop."""
    lengths = stops - starts
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
    return Ragged(indptr, sequences.values[np.repeat(starts, lengths) + within])
