"""Batches: which parts of the users' sequences a step learns from, and what came next.

``prefixes = "one"``: every epoch each user is cut at a random point. ``"all"``: every prefix of a
sequence at once, read from windows of the sequence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged
from recsys.training.augment import augmented

__all__ = ["Batch", "draw_batches", "steps_per_epoch", "target_weights"]

POOL = 16  # batches whose windows are sorted by length, so that attention sees little padding

Whole = NDArray[np.int64]
_NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step learns from.

    Attributes:
        users: user numbers, int32 ``(b,)``; -1 where the user is played as unknown.
        people: who they are all the same: whose attributes and whose ratings, int32 ``(b,)``.
        histories: what they took, oldest first, ``b`` rows.
        rows: the history of each position that is learnt from, int64 ``(p,)``, not decreasing.
        newest: the newest item of what each position knows, a place in ``histories.values``; -1:
            it knows nothing. int64 ``(p,)``.
        targets: what came next, ``p`` rows, none of them empty.
        ratings: the weight of each target in the log, float32 ``(t,)``; empty if nobody asks.
        weights: of the positions, float32 ``(p,)``.
        positives: everything the users ever took: never a negative, ``b`` rows.
        total: what the positions of the whole step weigh together, where this is a part of one;
            None: it is the whole.
        after: where the generator of batches stands behind this one.
    """

    users: NDArray[np.int32]
    people: NDArray[np.int32]
    histories: Ragged
    rows: Whole
    newest: Whole
    targets: Ragged
    ratings: NDArray[np.float32]
    weights: NDArray[np.float32]
    positives: Ragged
    total: float | None = None
    after: dict[str, Any] = field(default_factory=dict)

    def parts(self, n: int) -> list["Batch"]:
        """Cut into ``n`` batches of as many users each, or nearly; some may be empty."""
        if n == 1:
            return [self]
        size, total = len(self.users), self.total
        if total is None:
            total = float(self.weights.sum(dtype=np.float64))
        bounds = [size * k // n for k in range(n + 1)]
        return [self._rows(*pair, total) for pair in pairwise(bounds)]

    def _rows(self, begin: int, end: int, total: float) -> "Batch":
        """The batch of the users from ``begin`` to ``end``."""
        first, last = np.searchsorted(self.rows, [begin, end])
        taken = np.arange(begin, end)
        of_targets = slice(*self.targets.indptr[[first, last]])
        newest = self.newest[first:last]
        start = self.histories.indptr[begin]
        return replace(
            self,
            users=self.users[begin:end],
            people=self.people[begin:end],
            histories=self.histories.take(taken),
            rows=self.rows[first:last] - begin,
            newest=np.where(newest < 0, -1, newest - start),
            targets=self.targets.take(np.arange(first, last)),
            ratings=self.ratings[of_targets] if len(self.ratings) else self.ratings,
            weights=self.weights[first:last],
            positives=self.positives.take(taken),
            total=total,
        )


@dataclass(frozen=True, eq=False)
class _Windows:
    """Stretches of sequences: user, first item and the item behind the last, ``(n,)`` each."""

    users: Whole
    begins: Whole
    ends: Whole

    def at(self, rows: NDArray[Any]) -> "_Windows":
        """Some of them."""
        return _Windows(self.users[rows], self.begins[rows], self.ends[rows])


def steps_per_epoch(sequences: Ragged, config: TrainingConfig, history: int) -> int:
    """How many batches an epoch has."""
    lengths = sequences.lengths
    if config.prefixes == "one":
        return -(-int((lengths > 0).sum()) // config.batch_size)
    return -(-int(_windows_of(lengths, history).sum()) // config.batch_size)


def draw_batches(
    sequences: Ragged,
    config: TrainingConfig,
    history: int,
    *,
    seed: int,
    epoch: int,
    ratings: NDArray[np.float32] | None = None,
    workers: tuple[int, int] = (0, 1),
    begin: tuple[int, dict[str, Any]] | None = None,
) -> Iterator[Batch]:
    """Yield the batches of an epoch: the same for the same seed and epoch.

    With one prefix, a user with n items is cut before item c, c uniform in 0..n-1: the (at most
    ``history``) items before it are what is known, the (at most ``config.horizon``) from it on are
    the targets. Of a share ``config.short_histories`` only the last few items are known;
    ``config.augment`` changes what is known only. With all prefixes, windows of at most ``history``
    items are drawn, as many as the sequence is long, and the targets of each of their items are
    those that follow it.

    Of several workers, all draw the same steps, and each reads its own users of them: those whose
    number leaves its rank when divided by how many there are.

    Args:
        sequences: every user's items, oldest first, ``n_users`` rows.
        config: batch size, horizon and how often users are played as unknown.
        history: items of a history at most.
        seed: of the run.
        epoch: counted from 1.
        ratings: of ``sequences.values``, where they are learnt too.
        workers: rank and number of those who share each step.
        begin: how many batches to leave out, and ``Batch.after`` of the last of them.
    """
    random = np.random.default_rng([seed, epoch])
    rank, size = workers
    if config.prefixes == "one":
        windows = _cuts(sequences.lengths, history, config.short_histories, random)
        chosen = _in_order(windows, config.batch_size)
    else:
        windows = _windows(sequences.lengths, history, random)
        chosen = _by_length(windows, config.batch_size, random)
    done = 0 if begin is None else begin[0]
    for number, rows in enumerate(chosen):
        if number < done:
            continue
        if begin is not None and number == done:
            random.bit_generator.state = begin[1]
        unknown = random.random(len(rows)) < config.user_dropout
        if size == 1:
            batch = _batch(sequences, config, windows.at(rows), unknown, random, ratings)
        else:
            mine = windows.users[rows] % size == rank
            own = np.random.default_rng([seed, epoch, number, rank])  # none draws for the others
            batch = _batch(sequences, config, windows.at(rows[mine]), unknown[mine], own, ratings)
            batch = replace(batch, total=_total(windows.at(rows), sequences.lengths, config))
        yield replace(batch, after=dict(random.bit_generator.state))


def _batch(
    sequences: Ragged,
    config: TrainingConfig,
    windows: _Windows,
    unknown: NDArray[np.bool_],
    random: np.random.Generator,
    ratings: NDArray[np.float32] | None,
) -> Batch:
    """Read what windows show."""
    users, begins, ends = windows.users, windows.begins, windows.ends
    untimed = replace(sequences, times=None)  # only of histories anybody asks when
    starts = sequences.indptr[users]
    histories = _spans(sequences, starts + begins, starts + ends)
    if config.augment != "none":
        histories = augmented(histories, config.augment, config.augment_share, random)
    known, newest, after = _positions(histories, begins, ends, config.prefixes == "all")
    nexts = starts[known] + after
    stops = np.minimum(nexts + config.horizon, sequences.indptr[users + 1][known])
    lengths = sequences.lengths_of(users).astype(np.float32)
    return Batch(
        users=np.where(unknown, -1, users).astype(np.int32),
        people=users.astype(np.int32),
        histories=histories,
        rows=known,
        newest=newest,
        targets=_spans(untimed, nexts, stops),
        ratings=_NONE if ratings is None else ratings[_within(nexts, stops)],
        weights=_position_weights(lengths[known], config),
        positives=untimed.take(users),
    )


def _total(windows: _Windows, lengths: Whole, config: TrainingConfig) -> float:
    """What the positions of windows weigh together, without a look at what is in them."""
    if config.prefixes == "one":
        return float(len(windows.users))
    positions = windows.ends - windows.begins + (windows.begins == 0)
    weights = lengths[windows.users].astype(np.float64) ** -config.user_balance
    return float((positions * weights).sum())


def target_weights(targets: Ragged, decay: float) -> NDArray[np.float32]:
    """Weights ``(t,)`` that fall with the distance and sum to 1 for every row of targets."""
    rows = targets.row_numbers
    distance = np.arange(len(rows)) - targets.indptr[:-1][rows]
    weights = np.exp(-decay * distance)
    shares: NDArray[np.float32] = (weights / np.bincount(rows, weights)[rows]).astype(np.float32)
    return shares


def _position_weights(lengths: NDArray[np.float32], config: TrainingConfig) -> NDArray[np.float32]:
    """Weights of positions of users with sequences of these lengths, ``(p,)``."""
    if config.prefixes == "one":
        return np.ones_like(lengths)
    return lengths ** np.float32(-config.user_balance)


def _cuts(lengths: Whole, history: int, short: float, random: np.random.Generator) -> _Windows:
    """What is known of each user before a random cut, users in random order.

    A share ``short`` of them is known since a few items only, log-uniform from 1 to all: whoever
    has just come is then somebody the towers have learnt from.
    """
    users = random.permutation(np.flatnonzero(lengths))
    cuts = (random.random(len(users)) * lengths[users]).astype(np.int64)
    known = np.minimum(cuts, history)
    few = np.exp(random.random(len(users)) * np.log(known + 1)).astype(np.int64)  # 1..known
    known = np.where(random.random(len(users)) < short, np.minimum(few, known), known)
    return _Windows(users, cuts - known, cuts)


def _windows_of(lengths: Whole, history: int) -> Whole:
    """How many windows each user has: enough to read the whole sequence but its last item."""
    count: Whole = np.where(lengths > 0, np.maximum(1, -(-(lengths - 1) // history)), 0)
    return count


def _windows(lengths: Whole, history: int, random: np.random.Generator) -> _Windows:
    """Windows at random places, in random order; a short sequence is one window."""
    users = random.permutation(np.repeat(np.arange(len(lengths)), _windows_of(lengths, history)))
    readable = lengths[users] - 1  # the last item is only a target
    room = np.maximum(readable - history, 0)
    begins = (random.random(len(users)) * (room + 1)).astype(np.int64)
    return _Windows(users, begins, np.minimum(begins + history, readable))


def _in_order(windows: _Windows, batch_size: int) -> Iterator[Whole]:
    for start in range(0, len(windows.users), batch_size):
        yield np.arange(start, min(start + batch_size, len(windows.users)))


def _by_length(windows: _Windows, batch_size: int, random: np.random.Generator) -> Iterator[Whole]:
    """Batches of windows of similar length; the batches in random order."""
    order = np.arange(len(windows.users))
    lengths = windows.ends - windows.begins
    pool = POOL * batch_size
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    batches = [
        part[np.argsort(lengths[part], kind="stable")][start : start + batch_size]
        for part in pools
        for start in range(0, len(part), batch_size)
    ]
    for number in random.permutation(len(batches)):
        yield batches[number]


def _positions(
    histories: Ragged, begins: Whole, ends: Whole, every: bool
) -> tuple[Whole, Whole, Whole]:
    """History, newest known item and next item (a place in the sequence) of each position.

    Nothing at all is known before the first item of a sequence: a position like any other.
    """
    if not every:
        rows = np.arange(len(histories))
        return rows, np.where(histories.lengths > 0, histories.indptr[1:] - 1, -1), ends
    inside = histories.row_numbers
    after = begins[inside] + np.arange(len(inside)) - histories.indptr[inside] + 1
    first = np.flatnonzero(begins == 0)
    rows = np.concatenate([first, inside])
    order = np.argsort(rows, kind="stable")
    newest = np.concatenate([np.full(len(first), -1), np.arange(len(inside))])
    nexts = np.concatenate([np.zeros(len(first), dtype=np.int64), after])
    return rows[order], newest[order], nexts[order]


def _spans(sequences: Ragged, starts: Whole, stops: Whole) -> Ragged:
    """The values from each start up to its stop."""
    indptr = np.concatenate([[0], np.cumsum(stops - starts)])
    return sequences.at(indptr, _within(starts, stops))


def _within(starts: Whole, stops: Whole) -> Whole:
    """The places from each start up to its stop, one stretch after another."""
    lengths = stops - starts
    begins = np.cumsum(lengths) - lengths
    places: Whole = np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)
    return places
