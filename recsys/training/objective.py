"""What a step of training makes small: the loss of a batch, against all items or a few."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.data.interactions import Interactions
from recsys.device import autocast, to_device
from recsys.towers.full_softmax import Targets, full_softmax
from recsys.towers.histories import Histories, Places
from recsys.towers.nested import nested_parts
from recsys.towers.rating import RatingHead
from recsys.towers.some_items import SomeItems
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch, target_weights
from recsys.training.contrast import contrast_loss
from recsys.training.distill import Teacher
from recsys.training.drawn import OnDevice, drawn_loss, products_of
from recsys.training.negatives import (
    ItemSampler,
    Miner,
    Negatives,
    accidental_hits,
    against_all,
    in_batch,
    mined,
)
from recsys.training.workers import Workers

__all__ = ["MinerOf", "Objective"]

MinerOf = Callable[[NDArray[np.float32]], Miner]  # item vectors (n_items, d) -> finds the nearest


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch as the configuration has it; mean over members and widths.

    Of a batch that is a part of a step it is the part's share of the step's loss: over all parts,
    wherever they are, shares and their gradients add up to those of the whole.

    Attributes:
        config: which loss, which negatives.
        against_all: all items are negatives, and none are drawn.
        sampler: draws negatives.
        shares: log of each item's share of the training rows, float32 ``(n_items,)``.
        n_known: items with training rows.
        workers: who else works on a step.
        teacher: what is learnt from beside the log.
    """

    config: TrainingConfig
    against_all: bool
    sampler: ItemSampler
    shares: NDArray[np.float32]
    n_known: int
    workers: Workers = field(default_factory=Workers)
    teacher: Teacher | None = None

    @classmethod
    def of(cls, rows: Interactions, config: TrainingConfig, workers: Workers | None = None) -> Self:
        """Prepare for the rows that are learnt from."""
        counts = rows.item_counts()
        by_rows = ItemSampler.by_popularity(counts, 1.0)
        popular = config.negatives in ("auto", "popularity")
        sampler = ItemSampler.by_popularity(counts, config.negatives_power if popular else 0.0)
        everything, n_known = against_all(config, rows.n_items), int((counts > 0).sum())
        return cls(config, everything, sampler, by_rows.log_share, n_known, workers or Workers())

    @classmethod
    def again(
        cls, config: TrainingConfig, known: NDArray[np.bool_], drawn: Negatives | None
    ) -> Self:
        """Prepare for a step whose negatives have been drawn.

        Args:
            config: of the training.
            known: items with training rows, ``(n_items,)``.
            drawn: None: all items are negatives.
        """
        uniform = ItemSampler.by_popularity(known.astype(np.int64), 0.0)
        return cls(config, drawn is None, uniform, uniform.log_share, int(known.sum()))

    def draw(
        self, batch: Batch, random: np.random.Generator, device: torch.device
    ) -> Negatives | None:
        """Draw the negatives that a whole step shares; None: all items are.

        Args:
            batch: what this worker reads of the step.
            random: stands at the same place in all workers.
            device: by which workers reach each other.
        """
        config = self.config
        if self.against_all:
            return None
        if config.negatives == "in-batch":
            targets = batch.targets.values
            if self.workers.are_several:
                targets = self.workers.gather(to_device(targets, device)).cpu().numpy()
            targets = np.sort(targets)  # which ones are left out does not hang on who read them
            return in_batch(targets, self.shares, config.n_negatives, random)
        return self.sampler.draw(config.n_negatives, random)

    def __call__(
        self,
        towers: TwoTower,
        batch: Batch,
        drawn: Negatives | None,
        random: np.random.Generator,
        mine: Miner | None = None,
    ) -> Tensor:
        """Return the loss ``()`` of a batch: of retrieval, of ratings and of views if asked for.

        Args:
            towers: scored.
            batch: what is learnt from: a step, or a part of one.
            drawn: by `draw` for the whole step.
            random: draws hard negatives and views.
            mine: finds hard negatives, if some are wanted.
        """
        config = self.config
        negatives = None if drawn is None else self._negatives(towers, batch, drawn, random, mine)
        with autocast(towers.device, config.precision):
            items, shared = self._items(towers, batch, negatives)
            if not len(batch.users):  # the others' share of the work was done all the same
                return 0.0 * shared.sum()
            queries = _queries(towers, batch, items, every=config.prefixes == "all")
        targets = self._targets(batch, towers.device)
        if negatives is None:
            loss = self._against_all(towers, batch, queries, shared, targets)
        else:
            loss = self._against_drawn(towers, batch, queries, items, shared, targets, negatives)
        if towers.ratings is not None:
            loss = loss + config.rating_weight * _rating_loss(
                towers.ratings, batch, queries, items, targets
            )
        if self.teacher is not None:
            with torch.no_grad(), autocast(towers.device, config.precision):
                theirs = self.teacher.towers, batch, self.teacher.items
                asking = queries, _queries(*theirs, every=config.prefixes == "all")
            loss = loss + self.teacher.loss(towers, batch, asking, shared, targets, drawn)
        if config.contrast_weight:
            loss = loss + config.contrast_weight * contrast_loss(
                towers, batch.people, batch.histories, items, random, precision=config.precision
            )
        return loss

    def _items(
        self, towers: TwoTower, batch: Batch, negatives: OnDevice | None
    ) -> tuple[Tensor | SomeItems, Tensor]:
        """Vectors to look up the batch's own items in, and those of the shared negatives.

        Each worker makes some of the shared ones, and the rest comes from the others, with
        gradient. Of a large catalogue, only what the step needs is made.
        """
        workers, tower = self.workers, towers.items
        if negatives is None:
            share = workers.share(towers.n_items)
            numbers = torch.arange(share.start, share.stop, device=towers.device)
            mine = tower(numbers) if workers.are_several else tower()
            vectors = workers.gather_shares(mine, towers.n_items)
            return vectors, vectors
        if tower.tuned:  # they keep all contents at hand
            vectors = tower()
            return vectors, vectors[negatives.shared]
        own = [to_device(batch.targets.values.astype(np.int64), towers.device)]
        own += [negatives.hard.flatten()]
        if towers.config.history_items == "shared":
            own += [to_device(batch.histories.values.astype(np.int64), towers.device)]
        if not workers.are_several:
            own += [negatives.shared]
        numbers = torch.unique(torch.cat(own))
        items = SomeItems(numbers, tower(numbers))
        if not workers.are_several:
            return items, items[negatives.shared]
        share = workers.share(len(negatives.shared))
        made = tower(negatives.shared[share])
        return items, workers.gather_shares(made, len(negatives.shared))

    def _targets(self, batch: Batch, device: torch.device) -> Targets:
        rows = batch.targets.row_numbers
        weights = target_weights(batch.targets, self.config.target_decay) * batch.weights[rows]
        total = weights.sum() if batch.total is None else np.float32(batch.total)
        return Targets(
            to_device(rows, device),
            to_device(batch.targets.values.astype(np.int64), device),
            to_device(weights / total, device),
        )

    def _against_all(
        self, towers: TwoTower, batch: Batch, queries: Tensor, items: Tensor, targets: Targets
    ) -> Tensor:
        taken = Histories.of(batch.positives, towers.device)
        # An item that nobody could take yet is no negative: its content would be learnt to be bad.
        barred = (~towers.items.known).repeat(len(batch.users), 1)
        barred[taken.rows, taken.items] = True
        asking, asked = (nested_parts(of, towers.config) for of in (queries, items))
        losses = [
            full_softmax(
                of_queries,
                of_items,
                towers.log_scale.exp(),
                targets,
                barred,
                to_device(batch.rows, towers.device),
                smoothing=self.config.label_smoothing,
                able=towers.items.known,
                dtype=products_of(self.config),
            )
            for of_queries, of_items in zip(asking, asked, strict=True)
        ]
        return torch.stack(losses).mean()

    def _negatives(
        self,
        towers: TwoTower,
        batch: Batch,
        drawn: Negatives,
        random: np.random.Generator,
        mine: Miner | None,
    ) -> OnDevice:
        """Negatives that the whole step shares, and each user's own hard ones."""
        config, device, b = self.config, towers.device, len(batch.users)
        pool, hard = batch.positives, None
        if mine is not None and config.hard_negatives:
            known = towers.items.known.cpu().numpy()
            vectors = towers.user_vectors(batch.users, batch.histories)
            towers.train()
            hard = mined(mine, vectors, batch.positives, known, config.hard_negatives, random)
            pool = batch.positives.beside(hard.pool)
        shared = to_device(drawn.items.astype(np.int64), device)
        none = np.zeros((b, 0))
        own = (none, none, none) if hard is None else (hard.items, hard.log_q, hard.barred)
        return OnDevice(
            shared,
            to_device(drawn.log_q, device),
            accidental_hits(shared, pool),
            to_device(own[0].astype(np.int64), device),
            to_device(own[1].astype(np.float32), device),
            to_device(own[2].astype(np.bool_), device),
        )

    def _against_drawn(
        self,
        towers: TwoTower,
        batch: Batch,
        queries: Tensor,
        items: Tensor | SomeItems,
        shared: Tensor,
        targets: Targets,
        drawn: OnDevice,
    ) -> Tensor:
        """The loss against negatives; mean over members."""
        scale, groups = towers.log_scale.exp(), to_device(batch.rows, towers.device)
        members = zip(
            nested_parts(queries, towers.config),
            nested_parts(items[targets.items], towers.config),
            nested_parts(shared, towers.config),
            nested_parts(items[drawn.hard.flatten()], towers.config),
            strict=True,
        )
        losses = [
            drawn_loss(self.config, self.n_known, *one, scale, targets, groups, drawn)
            for one in members
        ]
        # The losses are means over this batch's targets, whose weights are its share of a step.
        share = 1.0 if batch.total is None else targets.weights.sum()
        return torch.stack(losses).mean() * share


def _rating_loss(
    head: RatingHead,
    batch: Batch,
    queries: Tensor,
    items: Tensor | SomeItems,
    targets: Targets,
) -> Tensor:
    """The squared error of the targets' ratings, weighted as the targets are."""
    users = to_device(batch.people.astype(np.int64)[batch.rows], queries.device)[targets.rows]
    ratings = to_device(batch.ratings, queries.device)
    predicted = head(users, queries[targets.rows], targets.items, items[targets.items])
    return head.loss(predicted, ratings, targets.weights)


def _queries(towers: TwoTower, batch: Batch, items: Tensor | SomeItems, *, every: bool) -> Tensor:
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
