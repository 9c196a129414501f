"""Episodes: known items are hidden and ranked as if they were new, until that works.

The towers stay as they are. Learnt are the weights of the content kernel, by the softmax of hidden
items among themselves; then two numbers, how sharp and how high newcomers stand beside the rest
(`recsys.training.mixture`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recsys.config import NewcomersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.device import to_device
from recsys.errors import DataError, TrainingDiverged
from recsys.towers.factors import Factors, item_factors
from recsys.towers.losses import multi_positive_softmax
from recsys.towers.newcomers import Newcomers
from recsys.towers.two_tower import TwoTower
from recsys.training.mixture import Mixture, best_of_others, fair_offset, teacher_gain

__all__ = ["Fold", "fit_newcomers", "hide_in_turn", "learn_kernel"]

ITEMS, HIDDEN, USERS = 1_500, 500, 1_024  # of an episode at most: its cost is that of no catalogue
CELLS = 20_000_000  # users x items of a mixture at most, one user at least
FIRST_SCALE = 3.0  # of p . c in the softmax; it is learnt
BETAS = (0.8, 0.98)  # few steps: momentum must not outlive them


@dataclass(frozen=True, eq=False)
class Fold:
    """A draw of hidden items, and what the log says without them.

    Attributes:
        hidden: item numbers.
        others: numbers of the other items with rows.
        factors: of the others.
        profiles: of all users by the others, not scaled, float32 ``(n_users, r)``.
    """

    hidden: NDArray[np.int64]
    others: NDArray[np.int64]
    factors: Factors
    profiles: NDArray[np.float32]


def fit_newcomers(
    towers: TwoTower,
    rows: Interactions,
    blocks: Sequence[ContentBlock],
    config: NewcomersConfig,
    *,
    seed: int,
) -> Newcomers:
    """Learn how newcomers are placed beside trained towers, which stay as they are.

    Args:
        towers: trained on ``rows``, without newcomers.
        rows: interactions to learn from.
        blocks: content of all items, at least one.
        config: how.
        seed: of hidden items, samples and decompositions.

    Raises:
        DataError: there are too few items to hide some.
        TrainingDiverged: the loss of an episode is not finite.
    """
    counts = rows.item_counts()
    numbers = np.flatnonzero(counts)
    if len(numbers) < 2 or not blocks:
        raise DataError(
            f"newcomers: {len(numbers)} items with interactions and {len(blocks)} content blocks; "
            "expected at least 2 and 1; set newcomers.dim = 0 to do without"
        )
    anchors = np.sort(np.argsort(-counts, kind="stable")[: min(config.anchors, len(numbers))])
    newcomers = Newcomers(
        blocks,
        torch.from_numpy(counts > 0),
        n_anchors=len(anchors),
        dim=config.dim,
        tower_dim=towers.config.dim,
    ).to(towers.device)
    newcomers.profile.fill_(config.profile)
    taken = rows.histories().matrix(rows.n_items)
    folds = hide_in_turn(taken, config, seed=seed)
    for loss in learn_kernel(newcomers, taken, folds, config, seed=seed):
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"newcomers: the loss of an episode is {loss}; try newcomers.learning_rate below "
                f"{config.learning_rate}"
            )
    vectors = towers.item_vectors()
    mixtures = [_mixture(newcomers, towers, vectors, rows, fold, seed) for fold in folds]
    gain = teacher_gain(mixtures)
    newcomers.gain.fill_(gain)
    newcomers.offset.fill_(fair_offset(mixtures, gain))
    newcomers.place(item_factors(taken, config.dim, seed=seed), vectors, anchors, counts)
    return newcomers.eval()


def hide_in_turn(taken: sparse.csr_matrix, config: NewcomersConfig, *, seed: int) -> list[Fold]:
    """Cut the known items into parts, and hide each part in turn.

    Args:
        taken: binary ``(n_users, n_items)``.
        config: which share of the items each part has.
        seed: of the parts and the decompositions.
    """
    known = np.flatnonzero(np.bincount(taken.indices, minlength=taken.shape[1]))
    mixed = np.random.default_rng(seed).permutation(known)
    parts = np.array_split(mixed, max(2, round(1 / config.hidden)))
    return [_fold(taken, np.sort(part), config.dim, seed=seed) for part in parts]


def learn_kernel(
    newcomers: Newcomers,
    taken: sparse.csr_matrix,
    folds: Sequence[Fold],
    config: NewcomersConfig,
    *,
    seed: int,
) -> Iterator[float]:
    """Learn the weights of the kernel in episodes; yield the loss of each, in nats.

    In an episode the kernel predicts the factors of hidden items from those of the others, and the
    hidden ones are ranked among themselves by the profiles of users that lack them.

    Args:
        newcomers: changed in place.
        taken: binary ``(n_users, n_items)``.
        folds: what is hidden, in turn.
        config: how many episodes, and how fast.
        seed: of the samples of items and users.
    """
    random = np.random.default_rng([seed, 1])
    log_scale = torch.tensor(FIRST_SCALE, device=newcomers.known.device).log().requires_grad_()
    weights = [*newcomers.kernel.parameters(), log_scale]
    optimizer = torch.optim.Adam(weights, lr=config.learning_rate, betas=BETAS)
    for episode in range(config.episodes):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - 0.9 * episode / config.episodes)
        loss = _episode(newcomers, taken, folds[episode % len(folds)], log_scale, random)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield float(loss.detach())


def _fold(taken: sparse.csr_matrix, hidden: NDArray[np.int64], dim: int, *, seed: int) -> Fold:
    kept = np.ones(taken.shape[1], dtype=np.float32)
    kept[hidden] = 0.0
    left = (taken @ sparse.diags_array(kept)).tocsr()
    left.eliminate_zeros()
    factors = item_factors(left, dim, seed=seed)
    counted = np.bincount(left.indices, minlength=taken.shape[1]) > 0
    return Fold(hidden, np.flatnonzero(counted), factors, left @ factors.steps)


def _episode(
    newcomers: Newcomers,
    taken: sparse.csr_matrix,
    fold: Fold,
    log_scale: Tensor,
    random: np.random.Generator,
) -> Tensor:
    """The loss of one episode, over a sample of its items and users."""
    device = newcomers.known.device
    others = _at_most(fold.others, ITEMS, random)
    hidden = _at_most(fold.hidden, HIDDEN, random)
    truth = taken[:, hidden]
    usable = (np.diff(truth.indptr) > 0) & fold.profiles.any(axis=1)
    users = _at_most(np.flatnonzero(usable), USERS, random)
    if not len(users):
        return 0.0 * log_scale  # nobody took hidden and other items: nothing to learn
    truth = truth[users]
    places = _predicted(newcomers, fold.factors.items[others], others, to_device(hidden, device))
    profiles = F.normalize(to_device(fold.profiles[users], device), dim=1)
    rows, columns = (to_device(part.astype(np.int64), device) for part in truth.nonzero())
    barred = torch.zeros(truth.shape, dtype=torch.bool, device=device)
    barred[rows, columns] = True
    weights = to_device((1.0 / np.diff(truth.indptr)).astype(np.float32), device)[rows]
    scores = log_scale.exp() * profiles @ places.T
    return multi_positive_softmax(scores, barred, rows, columns, weights)


def _predicted(
    newcomers: Newcomers,
    targets: NDArray[np.float32],
    anchors: NDArray[np.int64],
    items: Tensor,
) -> Tensor:
    """What items ``(b,)`` have in place of the targets ``(m, w)`` of anchors, ``(b, w)``."""
    wanted = to_device(targets, items.device)
    contents = newcomers.standard(to_device(anchors, items.device))
    centre = wanted.mean(dim=0)
    coefficients = newcomers.kernel.coefficients(contents, wanted - centre)
    near: Tensor = newcomers.kernel(newcomers.standard(items), contents)
    return centre + near @ coefficients


def _at_most(numbers: NDArray[np.int64], n: int, random: np.random.Generator) -> NDArray[np.int64]:
    if len(numbers) <= n:
        return numbers
    return np.sort(random.choice(numbers, n, replace=False))


@torch.no_grad()
def _mixture(
    newcomers: Newcomers,
    towers: TwoTower,
    vectors: NDArray[np.float32],
    rows: Interactions,
    fold: Fold,
    seed: int,
) -> Mixture:
    """Ask for a sample of users whose histories lack the fold's hidden items."""
    device, random = newcomers.known.device, np.random.default_rng([seed, 2])
    new = np.isin(np.arange(rows.n_items), fold.hidden)
    hidden = _at_most(fold.hidden, HIDDEN, random)
    left = rows.take(~new[rows.items]).histories()
    limit = max(1, min(USERS, CELLS // rows.n_items))
    users = _at_most(np.flatnonzero(left.lengths), limit, random)
    whole = rows.histories().take(users)
    taken = torch.from_numpy(whole.matrix(rows.n_items).toarray() > 0).to(device)
    queries = to_device(towers.user_vectors(users.astype(np.int32), left.take(users)), device)
    cosines, numbers = queries @ to_device(vectors, device).T, to_device(hidden, device)
    anchors = _at_most(fold.others, ITEMS, random)
    targets = np.hstack([fold.factors.items[anchors], vectors[anchors]])
    placed = _predicted(newcomers, targets, anchors, numbers)
    factors, tower = torch.split(placed, [newcomers.dim, newcomers.tower_dim], dim=1)
    profiles = F.normalize(to_device(fold.profiles[users], device), dim=1)
    return Mixture(
        others=best_of_others(cosines, newcomers.known & ~to_device(new, device) & ~taken),
        predicted=queries @ tower.T + newcomers.profile * profiles @ factors.T,
        taught=cosines[:, numbers],
        asked=~taken[:, numbers],
        share=float(np.isin(whole.values, hidden).mean()),
    )
