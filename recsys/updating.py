"""Updating: towers of a smaller log learn on from what has come since, and from some of the old.

An epoch reads the whole sequences of all users with something new, and those of some others, drawn
anew each time: rehearsal keeps towers from forgetting (Robins, Connection Science 7, 1995).
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TrainingConfig, UpdateConfig
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import DataError
from recsys.evaluation.metrics import contains
from recsys.index.exact import ExactIndex
from recsys.recommenders.ranker import Queries
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.grow import Blocks, Growth, grow
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import EpochReport, Learner, OnStep, train
from recsys.training.objective import MinerOf
from recsys.training.workers import Workers

__all__ = ["Drift", "Learnt", "WarmStart", "schedule"]

logger = logging.getLogger(__name__)

REPLAYED = 104_729  # keeps the draws of the replayed users apart from those of the batches
ASKED, LENGTH = 1_000, 20  # users whose lists are compared, and how long these are


@dataclass(frozen=True, eq=False)
class Learnt:
    """What an earlier training left.

    Attributes:
        towers: trained ones.
        blocks: what they read beside the log.
        rows: what they learnt from, in their numbers.
        user_ids: of these numbers.
        item_ids: of these numbers.
        tails: what encoders that learnt with the towers have learnt, by the weights' names.
    """

    towers: TwoTower
    blocks: Blocks
    rows: Interactions
    user_ids: UserIds
    item_ids: ItemIds
    tails: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """What an update changed for those who had nothing new.

    Attributes:
        items: old items that were learnt from before and now.
        mean: cosine distance of their vectors before and after, mean over items, in [0, 2].
        p99: its 99th percentile.
        turned_mean: the same after the rotation of the space that brings them closest together
            (orthogonal Procrustes problem, Schoenemann, Psychometrika 31, 1966): what is left is
            not seen by replacing all vectors at once.
        turned_p99: its 99th percentile.
        users: users without new rows who were asked, at most 1,000.
        changed: share of their 20 best that was not there before; NaN without such users.
    """

    items: int
    mean: float
    p99: float
    turned_mean: float
    turned_p99: float
    users: int
    changed: float


@dataclass(frozen=True, eq=False)
class WarmStart:
    """Where an update begins, and what it reads.

    Attributes:
        learnt: what the earlier training left.
        blocks: what the new towers read beside the log.
        growth: who is who.
        pairs: users and items that were learnt from, in new numbers, ``user * n_items + item``, in
            order, int64 ``(p,)``.
        replay: users without new rows in an epoch for each user with some.
    """

    learnt: Learnt
    blocks: Blocks
    growth: Growth
    pairs: NDArray[np.int64]
    replay: float

    @classmethod
    def of(
        cls,
        learnt: Learnt,
        user_ids: UserIds,
        item_ids: ItemIds,
        blocks: Blocks,
        replay: float,
    ) -> Self:
        """Find old users and items among the new by their ids; those that are gone are left out.

        Raises:
            DataError: no item of the earlier training is left.
        """
        users = user_ids.find(learnt.user_ids.values)  # the new number of each old one
        items = item_ids.find(learnt.item_ids.values)
        if not (items >= 0).any():
            raise DataError(
                f"update: none of the {len(items):,} items that the towers to start from know is "
                "in the log; expected the run of an earlier state of this log"
            )
        growth = Growth(_inverse(users, len(user_ids)), _inverse(items, len(item_ids)))
        mine, theirs = users[learnt.rows.users], items[learnt.rows.items]
        there = (mine >= 0) & (theirs >= 0)
        pairs = np.sort(mine[there].astype(np.int64) * len(item_ids) + theirs[there])
        return cls(learnt, blocks, growth, pairs, replay)

    def enter(self, towers: TwoTower) -> None:
        """Put what was learnt into fresh towers, in place; see `recsys.towers.grow.grow`."""
        learnt = self.learnt
        kept = grow(learnt.towers, towers, self.growth, learnt.blocks, self.blocks, learnt.tails)
        for name, share in kept.items():
            logger.info("update: %s is encoded otherwise; %.1f %% of it kept", name, 100 * share)
        if self.learnt.towers.ratings is not None and towers.ratings is None:
            logger.warning(
                "update: the towers to start from predict ratings, the new ones will not; set "
                "training.rating_weight as it was"
            )

    def is_new(self, rows: Interactions) -> NDArray[np.bool_]:
        """Which rows have not been learnt from, bool ``(n,)``."""
        if not len(self.pairs):
            return np.ones(len(rows), dtype=np.bool_)
        keys = rows.users.astype(np.int64) * rows.n_items + rows.items
        places = np.searchsorted(self.pairs, keys).clip(max=len(self.pairs) - 1)
        new: NDArray[np.bool_] = self.pairs[places] != keys
        return new

    def lesson(self, rows: Interactions, *, seed: int, epoch: int) -> Interactions:
        """What an epoch reads of the rows that may be learnt from.

        Raises:
            DataError: none of them is new.
        """
        read = np.bincount(rows.users[self.is_new(rows)], minlength=rows.n_users) > 0
        if not read.any():
            raise DataError(
                f"update: all {len(rows):,} rows to learn from have been learnt from already; "
                "expected a log that has grown"
            )
        others = np.setdiff1d(rows.users, np.flatnonzero(read))
        drawn = np.random.default_rng([seed, epoch, REPLAYED]).permutation(others)
        read[drawn[: round(self.replay * int(read.sum()))]] = True
        return rows.take(read[rows.users])

    def train(
        self,
        learner: Learner,
        rows: Interactions,
        config: TrainingConfig,
        *,
        seed: int,
        until: int,
        miner: MinerOf | None = None,
        workers: Workers | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[EpochReport]:
        """Train as `recsys.training.loop.train` does, on a lesson of the rows every epoch."""
        for epoch in range(learner.epoch + 1, until + 1):
            lesson = self.lesson(rows, seed=seed, epoch=epoch)
            yield from train(
                learner,
                lesson,
                config,
                seed=seed,
                until=epoch,
                miner=miner,
                workers=workers,
                on_step=on_step,
            )

    def task(self, split: Split, most_users: int | None = None) -> Task:
        """The validation task, without the rows that the old towers have learnt from."""
        task = split.task("validation", most_users=most_users)
        return replace(task, truth=task.truth.take(self.is_new(task.truth)))

    def can_choose(self, split: Split) -> bool:
        """Whether training and validation both hold something new: else nothing shows when to stop.

        With ``"leave-last-out"`` a user's only new row tests, and the training rows are old.
        """
        return bool(self.is_new(split.train).any()) and len(self.task(split).truth) > 0

    def drift(self, towers: TwoTower, rows: Interactions) -> Drift:
        """Compare with the old towers what was learnt since from ``rows``."""
        before, numbers = self.learnt.towers, self.growth.items
        then_known = np.append(before.items.known.cpu().numpy(), False)
        both = np.flatnonzero(then_known[numbers] & towers.items.known.cpu().numpy())
        now, then = _own_places(towers, both), _own_places(before, numbers[both])
        left, _, right = np.linalg.svd(now.T @ then)
        distances, turned = (
            _cosine_distances(now, then),
            _cosine_distances(now @ left @ right, then),
        )
        users, changed = self._changed(towers, rows)
        return Drift(
            items=len(both),
            mean=float(distances.mean()),
            p99=float(np.quantile(distances, 0.99)),
            turned_mean=float(turned.mean()),
            turned_p99=float(np.quantile(turned, 0.99)),
            users=users,
            changed=changed,
        )

    def _changed(self, towers: TwoTower, rows: Interactions) -> tuple[int, float]:
        """How many users without new rows were asked, and how much of their best is others now."""
        touched = np.bincount(rows.users[self.is_new(rows)], minlength=rows.n_users) > 0
        same = np.setdiff1d(rows.users[self.growth.users[rows.users] >= 0], np.flatnonzero(touched))
        users = np.random.default_rng(0).permutation(same)[:ASKED]
        if not len(users):
            return 0, float("nan")
        now = rows.histories().take(users)
        then = replace(now, values=self.growth.items[now.values])
        after = _best(towers, users, now)
        before = _best(self.learnt.towers, self.growth.users[users], then)
        kept = contains(_rows(before), np.append(self.growth.items, -1)[after])  # -1 pads
        return len(users), float(1 - kept[after >= 0].mean())


def _own_places(towers: TwoTower, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Unit vectors ``(n, d)`` of items that were learnt from, without what newcomers add."""
    own = towers.item_vectors()[items, : towers.config.dim]
    places: NDArray[np.float32] = own / np.linalg.norm(own, axis=1, keepdims=True)
    return places


def _best(towers: TwoTower, users: NDArray[np.int32], histories: Ragged) -> NDArray[np.int32]:
    """The best items that users have not taken and the towers learnt from, ``(b, LENGTH)``."""
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    known = towers.items.known.cpu().numpy()
    queries = Queries(users, histories)
    return ranker.top_k(queries, LENGTH, exclude=histories, candidates=known).items


def _rows(table: NDArray[np.int32]) -> Ragged:
    """The rows of a table ``(b, k)`` without the -1 that pad them."""
    there = table >= 0
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1), dtype=np.int64)])
    return Ragged(indptr, table[there])


def _inverse(numbers: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """For ``0..n-1`` the place where each stands in ``numbers``; -1 where it does not."""
    places = np.full(n, -1, dtype=np.int32)
    there = numbers >= 0
    places[numbers[there]] = np.flatnonzero(there)
    return places


def _cosine_distances(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Distances ``(n,)`` of unit rows ``(n, d)``."""
    distances: NDArray[np.float32] = 1 - (first * second).sum(axis=1)
    return distances


def schedule(training: TrainingConfig, update: UpdateConfig) -> TrainingConfig:
    """How an update learns: as the training, but shorter, slower, and judged every epoch."""
    changes = {
        "epochs": update.epochs,
        "learning_rate": update.learning_rate,
        "score_every": 1,
    }
    return training.model_copy(update=changes)
