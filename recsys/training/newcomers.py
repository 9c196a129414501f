"""Episodes: known items are hidden and ranked as if they were new, until that works.

The towers stay as they are. Learnt are the weights of the content kernel, by the softmax of hidden
items among themselves; then two numbers, how sharp and how high newcomers stand beside the rest.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from recsys.config import NewcomersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.device import to_device
from recsys.errors import DataError, TrainingDiverged
from recsys.towers.losses import multi_positive_softmax
from recsys.towers.newcomers import Factors, Newcomers, item_factors
from recsys.towers.two_tower import TwoTower
from recsys.training.mixture import Mixture, lift

__all__ = ["fit_newcomers", "last_rows", "learn_kernel"]

ITEMS, HIDDEN, USERS = 1_500, 500, 1_024  # of an episode at most: its cost is that of no catalogue
CELLS = 20_000_000  # users x items of a mixture at most, one user at least
FIRST_SCALE = 3.0  # of p . c in the softmax; it is learnt
BETAS = (0.8, 0.98)  # few steps: momentum must not outlive them
LATE = 0.2  # of each user's rows: what stands beside hidden items when both are to be ranked


@dataclass(frozen=True, eq=False)
class _Fold:
    """A draw of hidden items, and what the log says without them."""

    hidden: NDArray[np.int64]  # item numbers
    others: NDArray[np.int64]
    factors: Factors  # of the others
    profiles: NDArray[np.float32]  # of all users, (n_users, r)


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
        towers: trained on ``rows``.
        rows: interactions to learn from.
        blocks: content of all items, at least one.
        config: how.
        seed: of hidden items, samples and decompositions.

    Raises:
        DataError: there are too few items to hide some.
        TrainingDiverged: the loss of an episode is not finite.
    """
    known = rows.item_counts() > 0
    numbers = np.flatnonzero(known)
    if len(numbers) < 2 or not blocks:
        raise DataError(
            f"newcomers: {len(numbers)} items with interactions and {len(blocks)} content blocks; "
            "expected at least 2 and 1; set newcomers.dim = 0 to do without"
        )
    counts = rows.item_counts()
    anchors = np.sort(np.argsort(-counts, kind="stable")[: min(config.anchors, len(numbers))])
    newcomers = Newcomers(
        blocks, torch.from_numpy(known), n_anchors=len(anchors), dim=config.dim
    ).to(towers.device)
    taken = rows.histories().matrix(rows.n_items)
    for loss in learn_kernel(newcomers, taken, config, seed=seed):
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"newcomers: the loss of an episode is {loss}; try newcomers.learning_rate below "
                f"{config.learning_rate}"
            )
    mixture = _mixture(newcomers, towers, rows, config, seed=seed)
    lift(newcomers, mixture)
    newcomers.place(item_factors(taken, config.dim, seed=seed), anchors, counts)
    newcomers.gain.mul_(newcomers.longest)  # learnt for p . c, used for p . c / longest
    return newcomers.eval()


def learn_kernel(
    newcomers: Newcomers, taken: sparse.csr_matrix, config: NewcomersConfig, *, seed: int
) -> Iterator[float]:
    """Learn the weights of the kernel in episodes; yield the loss of each, in nats.

    An episode hides some items. What is left of the log makes factors and profiles, the kernel
    predicts the factors of the hidden ones, and they are ranked among themselves.

    Args:
        newcomers: changed in place.
        taken: binary ``(n_users, n_items)``.
        config: how many episodes, of how many items.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    folds = [
        _fold(taken, hidden, config.dim, seed=seed)
        for hidden in _hidden_items(newcomers, config, random)
    ]
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


def _hidden_items(
    newcomers: Newcomers, config: NewcomersConfig, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Cut the known items into parts, each hidden in turn."""
    known = np.flatnonzero(newcomers.known.cpu().numpy())
    parts = np.array_split(random.permutation(known), max(2, round(1 / config.hidden)))
    return [np.sort(part) for part in parts]


def _fold(taken: sparse.csr_matrix, hidden: NDArray[np.int64], dim: int, *, seed: int) -> _Fold:
    kept = np.ones(taken.shape[1], dtype=np.float32)
    kept[hidden] = 0.0
    left = (taken @ sparse.diags_array(kept)).tocsr()
    left.eliminate_zeros()
    factors = item_factors(left, dim, seed=seed)
    counted = np.bincount(left.indices, minlength=taken.shape[1]) > 0
    return _Fold(hidden, np.flatnonzero(counted), factors, left @ factors.steps)


def _episode(
    newcomers: Newcomers,
    taken: sparse.csr_matrix,
    fold: _Fold,
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
    truth = truth[users]
    places = _predicted(newcomers, fold.factors, others, to_device(hidden, device))
    profiles = torch.nn.functional.normalize(to_device(fold.profiles[users], device), dim=1)
    rows, columns = (to_device(part.astype(np.int64), device) for part in truth.nonzero())
    barred = torch.zeros(truth.shape, dtype=torch.bool, device=device)
    barred[rows, columns] = True
    weights = to_device((1.0 / np.diff(truth.indptr)).astype(np.float32), device)[rows]
    scores = log_scale.exp() * profiles @ places.T
    return multi_positive_softmax(scores, barred, rows, columns, weights)


def _predicted(
    newcomers: Newcomers, factors: Factors, anchors: NDArray[np.int64], items: Tensor
) -> Tensor:
    """Factors ``(b, r)`` of items ``(b,)`` as predicted from those of anchors."""
    device = items.device
    contents = newcomers.standard(to_device(anchors, device))
    targets = to_device(factors.items[anchors], device)
    centre = targets.mean(dim=0)
    coefficients = newcomers.kernel.coefficients(contents, targets - centre)
    near: Tensor = newcomers.kernel(newcomers.standard(items), contents)
    return centre + near @ coefficients


def _at_most(numbers: NDArray[np.int64], n: int, random: np.random.Generator) -> NDArray[np.int64]:
    if len(numbers) <= n:
        return numbers
    return np.sort(random.choice(numbers, n, replace=False))


def last_rows(rows: Interactions, share: float = LATE) -> NDArray[np.bool_]:
    """Mark each user's last ``ceil(share n)`` rows of n, but never all: bool ``(n_rows,)``."""
    counts = rows.user_counts()
    marked = np.minimum(np.ceil(share * counts), counts - 1)
    from_end = np.cumsum(counts)[rows.users] - np.arange(len(rows))
    chosen: NDArray[np.bool_] = from_end <= marked[rows.users]
    return chosen


@torch.no_grad()
def _mixture(
    newcomers: Newcomers,
    towers: TwoTower,
    rows: Interactions,
    config: NewcomersConfig,
    *,
    seed: int,
) -> Mixture:
    """Hide items and everybody's last rows: the first part of the others is the history."""
    random = np.random.default_rng([seed, 1])
    new = np.zeros(rows.n_items, dtype=np.bool_)
    new[_hidden_items(newcomers, config, random)[0]] = True
    late = last_rows(rows)
    before = rows.take(~late & ~new[rows.items])
    factors = item_factors(before.histories().matrix(rows.n_items), config.dim, seed=seed)
    histories, truth = before.histories(), rows.take(late).histories()
    able = np.flatnonzero((histories.lengths > 0) & (truth.lengths > 0))
    users = _at_most(able, max(1, min(USERS, CELLS // rows.n_items)), random)
    histories, truth = histories.take(users), truth.take(users)
    profiles = _predicted_scores(newcomers, factors, before.item_counts(), histories, new)
    device = newcomers.known.device
    cosines = to_device(towers.user_vectors(users.astype(np.int32), histories), device)
    past, following = (
        torch.from_numpy(part.matrix(rows.n_items).toarray() > 0).to(device)
        for part in (histories, truth)
    )
    return Mixture(
        towers=cosines @ to_device(towers.item_vectors(), device).T,
        profiles=profiles,
        hidden=to_device(new, device),
        asked=newcomers.known & (~past | following),
        truth=following,
        temperature=towers.temperature,
    )


def _predicted_scores(
    newcomers: Newcomers,
    factors: Factors,
    counts: NDArray[np.int64],
    histories: Ragged,
    new: NDArray[np.bool_],
) -> Tensor:
    """``p . c`` of histories and hidden items, ``(b, n_items)``; 0 for all others."""
    device = newcomers.known.device
    anchors = np.sort(np.argsort(-counts, kind="stable")[: min(ITEMS, int((counts > 0).sum()))])
    hidden = to_device(np.flatnonzero(new), device)
    places = _predicted(newcomers, factors, anchors, hidden)
    sums = to_device(histories.matrix(len(counts)) @ factors.steps, device)
    scores = torch.zeros(len(histories), len(counts), device=device)
    scores[:, hidden] = torch.nn.functional.normalize(sums, dim=1) @ places.T
    return scores
