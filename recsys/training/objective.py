"""What a step of training makes small: the loss of a batch, against all items or a few."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.interactions import Interactions
from recsys.device import autocast, to_device
from recsys.towers.full_softmax import Targets, full_softmax
from recsys.towers.histories import Histories, Places
from recsys.towers.item_tower import cut_members
from recsys.towers.losses import sampled_loss
from recsys.towers.rating import RatingHead
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch, target_weights
from recsys.training.contrast import contrast_loss
from recsys.training.negatives import (
    ItemSampler,
    Miner,
    accidental_hits,
    against_all,
    in_batch,
    mined,
)

__all__ = ["MinerOf", "Objective"]

MinerOf = Callable[[NDArray[np.float32]], Miner]  # item vectors (n_items, d) -> finds the nearest


class _Scored(NamedTuple):
    """The two sides of a step's scores, each of length 1 in every member."""

    queries: Tensor  # (p, members, w)
    items: Tensor  # (c, members, w)


class _Negatives(NamedTuple):
    """What a step's targets are told apart from, on the device."""

    shared: Tensor  # item numbers, (n,)
    log_q: Tensor  # (n,)
    barred: Tensor  # bool (b, n)
    hard: Tensor  # item numbers, (b, h); h may be 0
    hard_log_q: Tensor  # (b, h)
    hard_barred: Tensor  # bool (b, h)


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch as the configuration has it; mean over members.

    Attributes:
        config: which loss, which negatives.
        against_all: all items are negatives, and none are drawn.
        sampler: draws negatives.
        shares: log of each item's share of the training rows, float32 ``(n_items,)``.
        n_known: items with training rows.
    """

    config: TrainingConfig
    against_all: bool
    sampler: ItemSampler
    shares: NDArray[np.float32]
    n_known: int

    @classmethod
    def of(cls, rows: Interactions, config: TrainingConfig) -> Self:
        """Prepare for the rows that are learnt from."""
        counts = rows.item_counts()
        by_rows = ItemSampler.by_popularity(counts, 1.0)
        popular = config.negatives in ("auto", "popularity")
        sampler = ItemSampler.by_popularity(counts, config.negatives_power if popular else 0.0)
        everything = against_all(config, rows.n_items)
        return cls(config, everything, sampler, by_rows.log_share, int((counts > 0).sum()))

    def __call__(
        self,
        towers: TwoTower,
        batch: Batch,
        random: np.random.Generator,
        mine: Miner | None = None,
    ) -> Tensor:
        """Return the loss ``()`` of a batch: of retrieval, of ratings and of views if asked for.

        Args:
            towers: scored.
            batch: what is learnt from.
            random: draws negatives and views.
            mine: finds hard negatives, if some are wanted.
        """
        config = self.config
        with autocast(towers.device, config.precision):
            items = towers.items()  # (n_items, d)
            queries = _queries(towers, batch, items, every=config.prefixes == "all")
        targets = self._targets(batch, towers.device)
        scored = _Scored(_unit_parts(queries, towers), _unit_parts(items, towers))
        loss = self._retrieval(towers, batch, scored, targets, random, mine)
        if towers.ratings is not None:
            loss = loss + config.rating_weight * _rating_loss(
                towers.ratings, batch, queries, items, targets
            )
        if config.contrast_weight:
            loss = loss + config.contrast_weight * contrast_loss(
                towers, batch.people, batch.histories, items, random, precision=config.precision
            )
        return loss

    def _retrieval(
        self,
        towers: TwoTower,
        batch: Batch,
        scored: _Scored,
        targets: Targets,
        random: np.random.Generator,
        mine: Miner | None,
    ) -> Tensor:
        """The loss of finding the targets among other items; mean over members."""
        groups = to_device(batch.rows, towers.device)
        if self.against_all:
            return self._against_all(towers, batch, scored, targets, groups)
        negatives = self._draw(towers, batch, random, mine)
        scale = towers.log_scale.exp()
        members = zip(scored.queries.unbind(1), scored.items.unbind(1), strict=True)
        losses = [
            self._against(asking, asked, scale, targets, groups, negatives)
            for asking, asked in members
        ]
        return torch.stack(losses).mean()

    def _targets(self, batch: Batch, device: torch.device) -> Targets:
        rows = batch.targets.row_numbers
        weights = target_weights(batch.targets, self.config.target_decay) * batch.weights[rows]
        return Targets(
            to_device(rows, device),
            to_device(batch.targets.values.astype(np.int64), device),
            to_device(weights / weights.sum(), device),
        )

    def _against_all(
        self, towers: TwoTower, batch: Batch, scored: _Scored, targets: Targets, groups: Tensor
    ) -> Tensor:
        taken = Histories.of(batch.positives, towers.device)
        # An item that nobody could take yet is no negative: its content would be learnt to be bad.
        barred = (~towers.items.known).repeat(len(batch.users), 1)
        barred[taken.rows, taken.items] = True
        losses = [
            full_softmax(
                queries,
                items,
                towers.log_scale.exp(),
                targets,
                barred,
                groups,
                smoothing=self.config.label_smoothing,
                dtype=torch.bfloat16 if self.config.precision == "bfloat16" else torch.float32,
            )
            for queries, items in zip(scored.queries.unbind(1), scored.items.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()

    def _draw(
        self, towers: TwoTower, batch: Batch, random: np.random.Generator, mine: Miner | None
    ) -> _Negatives:
        """Negatives that the whole step shares, and each user's own hard ones."""
        config, device, b = self.config, towers.device, len(batch.users)
        if config.negatives == "in-batch":
            drawn = in_batch(batch.targets.values, self.shares, config.n_negatives, random)
        else:
            drawn = self.sampler.draw(config.n_negatives, random)
        pool, hard = batch.positives, None
        if mine is not None and config.hard_negatives:
            known = towers.items.known.cpu().numpy()
            vectors = towers.user_vectors(batch.users, batch.histories)
            towers.train()
            hard = mined(mine, vectors, batch.positives, known, config.hard_negatives, random)
            pool = batch.positives.beside(hard.pool)
        barred = np.zeros((b, len(drawn.items)), dtype=np.bool_)
        barred[accidental_hits(drawn.items, pool)] = True
        none = np.zeros((b, 0))
        own = (none, none, none) if hard is None else (hard.items, hard.log_q, hard.barred)
        return _Negatives(
            to_device(drawn.items.astype(np.int64), device),
            to_device(drawn.log_q, device),
            to_device(barred, device),
            to_device(own[0].astype(np.int64), device),
            to_device(own[1].astype(np.float32), device),
            to_device(own[2].astype(np.bool_), device),
        )

    def _against(
        self,
        queries: Tensor,
        items: Tensor,
        scale: Tensor,
        targets: Targets,
        groups: Tensor,
        drawn: _Negatives,
    ) -> Tensor:
        """The loss of one member against drawn negatives; queries ``(p, w)``, items ``(n, w)``."""
        config, softmax = self.config, self.config.loss == "softmax"
        positive = scale * (queries[targets.rows] * items[targets.items]).sum(dim=1)
        negative = scale * (queries @ items[drawn.shared].T)  # (p, n)
        barred, log_q = drawn.barred[groups], drawn.log_q.expand_as(negative)
        if drawn.hard.shape[1]:
            nearest = torch.einsum("pw,phw->ph", queries, items[drawn.hard][groups])
            negative = torch.cat([negative, scale * nearest], dim=1)
            barred = torch.cat([barred, drawn.hard_barred[groups]], dim=1)
            log_q = torch.cat([log_q, drawn.hard_log_q[groups]], dim=1)
        return sampled_loss(
            config.loss,
            positive,
            targets.rows,
            targets.weights,
            negative,
            barred,
            n_items=self.n_known,
            log_q=log_q if softmax else None,
            calibration=config.calibration,
            label_smoothing=config.label_smoothing,
        )


def _rating_loss(
    head: RatingHead, batch: Batch, queries: Tensor, items: Tensor, targets: Targets
) -> Tensor:
    """The squared error of the targets' ratings, weighted as the targets are."""
    users = to_device(batch.people.astype(np.int64)[batch.rows], queries.device)[targets.rows]
    ratings = to_device(batch.ratings, queries.device)
    predicted = head(users, queries[targets.rows], targets.items, items[targets.items])
    return head.loss(predicted, ratings, targets.weights)


def _queries(towers: TwoTower, batch: Batch, items: Tensor, *, every: bool) -> Tensor:
    """Vectors of the batch's positions, ``(p, d)``."""
    device, attributes = towers.device, towers.users.attributes
    people = to_device(batch.people.astype(np.int64), device)
    places = None  # each history as a whole, which an encoder may have a shorter way to
    if every:
        places = Places(to_device(batch.rows, device), to_device(batch.newest, device))
    return towers.queries(
        to_device(batch.users.astype(np.int64), device),
        Histories.of(batch.histories, device),
        items,
        places,
        None if attributes is None else attributes.on_record(people),
    )


def _unit_parts(vectors: Tensor, towers: TwoTower) -> Tensor:
    """Each member's part of unit vectors ``(b, d)``, scaled to length 1: ``(b, members, w)``."""
    members = towers.config.members
    return cut_members(vectors.float() * math.sqrt(members), members)
