"""Fit the two towers to a split: early stopping on validation, then once more on all but the test.

``training`` knows how to learn, ``evaluation`` how to judge; this is where they meet.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recsys.config import (
    AttributeConfig,
    ContentConfig,
    IndexConfig,
    NewcomersConfig,
    TowersConfig,
    TrainingConfig,
)
from recsys.content.assemble import Catalogue, content_blocks
from recsys.content.encoder import ContentBlock
from recsys.content.store import VectorStore
from recsys.content.tune import tunable_blocks
from recsys.content.user_attributes import UserAttributes
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.splits import Split
from recsys.data.times import TimeKind
from recsys.device import pick_device
from recsys.epochs import Checkpoints, Epochs, OnEpoch, Shape
from recsys.errors import ConfigError
from recsys.index.index import build_index, check_recall
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.narrowed import narrowed
from recsys.towers.two_tower import TwoTower
from recsys.training.distill import Teachers
from recsys.training.newcomers import fit_newcomers
from recsys.training.workers import Workers
from recsys.updating import WarmStart

__all__ = ["Fitted", "check_times", "fit", "fit_towers"]

ASKED = 500  # users with whom the index is measured
LEAST_USERS = 20  # with two items and more, to learn from how newcomers are placed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Trained towers and how they came about.

    Attributes:
        towers: as they are to be served.
        epochs: how many were chosen on validation.
        scores: epoch -> validation NDCG@10, of every scoring.
        history: one record an epoch: phase, epoch, loss, learning_rate, temperature, score.
    """

    towers: TwoTower
    epochs: int
    scores: dict[int, float]
    history: list[dict[str, Any]]


def fit(
    dataset: Dataset,
    split: Split,
    *,
    content: Mapping[str, ContentConfig] | None = None,
    users: Mapping[str, AttributeConfig] | None = None,
    towers: TowersConfig | None = None,
    training: TrainingConfig | None = None,
    newcomers: NewcomersConfig | None = None,
    index: IndexConfig | None = None,
    vectors: str | Path = "runs/vectors",
    seed: int = 0,
    refit: bool = True,
) -> Recommender:
    """Encode, train and index in one call: what notebooks use.

    Args:
        dataset: the log, and the catalogue if there is one.
        split: of this data set; its test part is not looked at.
        content: as ``[content.NAME]`` in a config: name -> columns and encoder, or vectors.
        users: as ``[users.NAME]`` in a config: name -> columns of ``dataset.users`` and encoder.
        towers: their shape.
        training: how they learn.
        newcomers: how items without interactions are placed.
        index: what recommendations are served from.
        vectors: folder that keeps encoded vectors, so that they are made once.
        seed: of weights and batches.
        refit: see `fit_towers`.

    Returns:
        A recommender whose histories are the whole log.
    """
    training = training or TrainingConfig()
    catalogue = Catalogue(
        dataset.items,
        dataset.item_ids,
        dataset.catalogue_rows,
        training=split.trained_items,
        folder=dataset.items_folder or Path(),
    )
    store, device = VectorStore(Path(vectors)), str(pick_device(training.device))
    made = content_blocks(catalogue, content or {}, store, device=device).blocks
    blocks = tunable_blocks(made, content or {}, catalogue, store, device)
    attributes = UserAttributes.fit(users or {}, dataset.users, split.trained_users)
    fitted = fit_towers(
        split,
        blocks,
        towers or TowersConfig(),
        training,
        seed=seed,
        refit=refit,
        user_blocks=attributes.blocks(dataset.users),
        newcomers=newcomers or NewcomersConfig(),
    )
    learnt, index = split.learnable(refit=refit), index or IndexConfig()
    served = narrowed(fitted.towers, index.dim)
    asked = np.random.default_rng(seed).permutation(np.unique(learnt.users))[:ASKED]
    histories = learnt.histories().take(asked)
    built = build_index(
        served.item_vectors(),
        index,
        ids_digest=dataset.item_ids.digest,
        askers=served.user_vectors(asked, histories),
        exclude=histories,
    )
    check_recall(built, index)
    return Recommender.of(TwoTowerRanker(served, built), dataset, attributes=attributes)


def fit_towers(
    split: Split,
    blocks: Sequence[ContentBlock],
    towers: TowersConfig,
    training: TrainingConfig,
    *,
    seed: int,
    refit: bool = True,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 10.0,
    on_epoch: OnEpoch | None = None,
    user_blocks: Sequence[ContentBlock] = (),
    start: WarmStart | None = None,
    newcomers: NewcomersConfig | None = None,
    workers: Workers | None = None,
    teachers: Teachers | None = None,
) -> Fitted:
    """Choose the number of epochs on validation, then (``refit``) train on train + validation.

    Args:
        split: what to learn from and what chooses.
        blocks: content of the items.
        towers: their shape.
        training: how they learn.
        seed: of weights and batches.
        refit: train again from the start on train + validation for the chosen number of epochs;
            otherwise the best epoch's weights are kept.
        checkpoint: a folder that is read at the start, if it is there, and written on the way; a
            fit that was killed then ends with the very weights that it would have had.
        checkpoint_seconds: between two writings.
        on_epoch: told of every epoch: phase, report, validation score if there was one.
        user_blocks: attributes of the users.
        start: what was learnt before; None: start afresh.
        newcomers: how items without interactions are placed, once the towers are trained; None:
            where the item tower puts their content.
        workers: who shares the work; only what the first of them returns is finished.
        teachers: trained towers that are learnt from as well; see `recsys.training.distill`.

    Raises:
        TrainingDiverged: a loss is not finite.
        DataError: there is nothing to learn from.
        ConfigError: the towers look at times, but the log has an order only.
    """
    check_times(towers, split.time_kind)
    fit = Epochs(
        split,
        Shape(towers, tuple(blocks), tuple(user_blocks)),
        training,
        seed,
        checkpoints=Checkpoints(checkpoint, checkpoint_seconds),
        on_epoch=on_epoch,
        start=start,
        workers=workers,
        teachers=teachers,
    )
    again = refit and len(split.validation) > 0
    if again and start is not None and not start.can_choose(split):
        epochs, best = training.epochs, dict[str, Tensor]()
    else:
        epochs, best = fit.search()
    if again:
        learner = fit.refit(epochs)
    else:
        learner = fit.learner(split.train)
        learner.towers.load_state_dict(best)
    learner.towers.eval()
    if not fit.workers.is_first:
        return Fitted(learner.towers, epochs, fit.history.scores, fit.history.history)
    rows = split.learnable(refit=again)
    learner.towers.learn_average(rows.histories())
    if newcomers is not None and _has_newcomers(learner.towers, newcomers, rows):
        learner.towers.newcomers = fit_newcomers(
            learner.towers, rows, learner.towers.items.as_tuned(blocks), newcomers, seed=seed
        )
    return Fitted(learner.towers, epochs, fit.history.scores, fit.history.history)


def _has_newcomers(towers: TwoTower, config: NewcomersConfig, rows: Interactions) -> bool:
    """Whether there are or will be items with content, but no interactions, and who shows how."""
    known = towers.items.known
    expected = config.later and bool(towers.content_widths)
    new = expected or bool((towers.items.scorable & ~known).any())
    if config.dim == 0 or not (new and known.any()):
        return False
    if (rows.user_counts() > 1).sum() < LEAST_USERS:
        logger.warning(
            "newcomers: fewer than %d users took two items; new items stay where the item tower "
            "puts them",
            LEAST_USERS,
        )
        return False
    return True


def check_times(towers: TowersConfig, time_kind: TimeKind) -> None:
    """Refuse towers that look at times where the log has none.

    Raises:
        ConfigError: the towers look at times, but the log has an order only.
    """
    if towers.time_gaps and time_kind != "timestamp":
        raise ConfigError(
            "towers.time_gaps = true needs moments, but the log's times are only an order; name a "
            "column of moments in data.time, or leave time_gaps out"
        )
