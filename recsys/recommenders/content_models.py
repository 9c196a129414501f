"""Items of a content like that of what you took: by cosine, and by kernel ridge.

Both know an item by its content alone, so that one without interactions is like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import ConfigError, DataError
from recsys.recommenders.content_features import content_features
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_content_cosine", "fit_content_ridge"]

LEARNT_FROM = 5_000  # items that the kernel is inverted over: 200 MB in double
MOST = 2_000_000_000  # numbers in the matrix that scores: 8 GB
ITEMS = 1_024  # of the catalogue at a time


def fit_content_cosine(
    train: Interactions, *, blocks: Sequence[ContentBlock], weighted: bool = True
) -> DenseRanker:
    """Score an item by the sum of its cosines with the history's items.

    Args:
        train: its items are those that the blocks are centred on.
        blocks: content of all items, at least one.
        weighted: by how much each block says of what is taken together; else all count alike.

    Raises:
        ConfigError: there are no blocks.
    """
    vectors, scorable = content_features(train, blocks, weighted=weighted)
    scorer = _Cosine(vectors.astype(np.float64))
    return _ranker("content-cosine", scorer, train, scorable)


def fit_content_ridge(
    train: Interactions,
    *,
    blocks: Sequence[ContentBlock],
    regularization: float = 3.0,
    gamma: float = 1.0,
) -> DenseRanker:
    """Learn from the content of the known items who takes what: kernel ridge regression.

    With h the history (1 or 0 of each known item), K the kernel ``exp(-gamma |x_i - x_j|^2)`` of
    the weighted content x of unit length and k_j that of item j and the known ones, item j scores
    ``h (K + lambda I)^-1 k_j`` (Saunders, Gammerman and Vovk, Ridge regression learning algorithm
    in dual variables, ICML 1998, one regression for each user). It is made for new items; known
    ones it scores as if nothing were known of who took them. Of more than 5,000 known items those
    with the most rows are learnt from.

    Args:
        train: who took what.
        blocks: content of all items, at least one.
        regularization: lambda, above 0.
        gamma: how fast likeness fades with the distance, above 0.

    Raises:
        ConfigError: there are no blocks, or a setting is not above 0.
        DataError: the catalogue is too large.
    """
    if regularization <= 0 or gamma <= 0:
        raise ConfigError(
            f"content-ridge: regularization = {regularization} and gamma = {gamma}, "
            "expected above 0"
        )
    vectors, scorable = content_features(train, blocks, weighted=True)
    counts = np.where(scorable, train.item_counts(), 0)
    learnt = np.sort(np.argsort(-counts, kind="stable")[: min(LEARNT_FROM, (counts > 0).sum())])
    if len(learnt) * train.n_items > MOST:
        raise DataError(
            f"content-ridge: {train.n_items:,} items, expected at most {MOST // len(learnt):,}; "
            "leave it out of evaluation.baselines"
        )
    known = vectors[learnt].astype(np.float64)
    kernel = _kernel(known, known, gamma)
    kernel[np.diag_indices_from(kernel)] += regularization
    factor = linalg.cho_factor(kernel, overwrite_a=True)
    weights = np.empty((len(learnt), train.n_items), dtype=np.float32)
    for start in range(0, train.n_items, ITEMS):
        block = _kernel(known, vectors[start : start + ITEMS].astype(np.float64), gamma)
        weights[:, start : start + ITEMS] = linalg.cho_solve(factor, block)
    return _ranker("content-ridge", _Ridge(learnt, weights), train, scorable)


def _kernel(
    one: NDArray[np.float64], other: NDArray[np.float64], gamma: float
) -> NDArray[np.float64]:
    """``exp(-gamma |x - y|^2)`` of rows of length 1 (or 0), ``(len(one), len(other))``."""
    squares = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    distances = np.maximum(squares - 2 * one @ other.T, 0.0)
    kernel: NDArray[np.float64] = np.exp(-gamma * distances)
    return kernel


def _ranker(
    name: str, scorer: "_Cosine | _Ridge", train: Interactions, scorable: NDArray[np.bool_]
) -> DenseRanker:
    return DenseRanker(name, Abilities(True, True), scorer, train.item_counts(), scorable)


@dataclass(frozen=True, eq=False)
class _Cosine:
    vectors: NDArray[np.float64]  # (n_items, dim)

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        history = queries.histories.matrix(len(self.vectors))
        scores: NDArray[np.float32] = ((history @ self.vectors) @ self.vectors.T).astype(np.float32)
        return scores


@dataclass(frozen=True, eq=False)
class _Ridge:
    learnt: NDArray[np.int64]  # (m,): item numbers
    weights: NDArray[np.float32]  # (m, n_items): row i is what having taken item learnt[i] says

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        history = queries.histories.matrix(self.weights.shape[1])[:, self.learnt]
        scores: NDArray[np.float32] = history @ self.weights
        return scores
