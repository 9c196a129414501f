"""What the content baselines compute with: the blocks of content as one matrix of features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import ConfigError

__all__ = ["Features", "block_features", "block_weights", "content_features"]

EDGE = 1e-9  # of the largest eigenvalue: below it a direction is rounding


class Features(NamedTuple):
    """The content of all items as one matrix.

    Attributes:
        vectors: unit rows, float32 ``(n_items, dim)``; zeros for an item without any content.
        scorable: items with some content, bool ``(n_items,)``.
    """

    vectors: NDArray[np.float32]
    scorable: NDArray[np.bool_]


def content_features(
    train: Interactions, blocks: Sequence[ContentBlock], *, weighted: bool
) -> Features:
    """Put the blocks side by side, each centred, of unit rows and weighted; then unit rows again.

    The inner product of two rows is the weighted mean of the blocks' centred cosines. An item that
    lacks a block is compared by the others.

    Args:
        train: its items are those that a block is centred on.
        blocks: at least one, each of ``train.n_items`` items.
        weighted: by `block_weights`; else all count alike.

    Raises:
        ConfigError: there are no blocks.
    """
    if not blocks:
        raise ConfigError(
            "a baseline of content needs some: add a [content.NAME] table, or leave it out of "
            "evaluation.baselines"
        )
    known = train.item_counts() > 0
    parts = [block_features(block, known) for block in blocks]
    weights = block_weights(train, parts) if weighted else np.ones(len(parts))
    scaled = [
        part * np.float32(np.sqrt(weight)) for part, weight in zip(parts, weights, strict=True)
    ]
    return Features(
        _unit(np.concatenate(scaled, axis=1)), np.any([block.present for block in blocks], axis=0)
    )


def block_features(block: ContentBlock, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A block less the mean of the known items, rows of length 1; zeros where it is absent.

    Without centring all texts look alike: what they share outweighs what they differ in.

    Args:
        block: of ``n_items`` items.
        known: items whose mean is taken, bool ``(n_items,)``.

    Returns:
        float32 ``(n_items, dim)``.
    """
    centre = block.vectors[known & block.present].astype(np.float64)
    mean = centre.mean(axis=0) if len(centre) else np.zeros(block.dim)
    centred = block.vectors - mean.astype(np.float32)
    centred[~block.present] = 0
    return _unit(centred)


def block_weights(train: Interactions, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """How much each block says of what is taken together: non-negative least squares.

    Over all pairs of different known items i, j the cosine of their sets of users is regressed on
    the blocks' cosines: ``min_w sum_ij (S_ij - sum_b w_b G_b,ij)^2, w >= 0``. Neither matrix is
    made: with ``G_b = F_b F_b'`` and ``S = X'X`` (columns of X of length 1) the normal equations
    are ``A_bc = |F_b' F_c|^2`` and ``r_b = |X F_b|^2``, less what the diagonals add.

    Args:
        train: who took what.
        parts: features of each block, ``(n_items, dim)``, rows of length 1 or 0.

    Returns:
        Weights ``(n_blocks,)`` that add up to 1; all alike where no block says anything.
    """
    known = train.item_counts() > 0
    matrix = train.histories().matrix(train.n_items)[:, known].astype(np.float64)
    taken = matrix @ sparse.diags_array(1 / np.sqrt(train.item_counts()[known]))
    features = [part[known].astype(np.float64) for part in parts]
    lengths = np.array([np.square(part).sum(axis=1) for part in features])  # 1 or 0
    products = np.array([[np.square(a.T @ b).sum() for b in features] for a in features])
    products -= lengths @ lengths.T
    target = np.array([np.square(taken @ part).sum() for part in features]) - lengths.sum(axis=1)
    values, vectors = np.linalg.eigh(products)
    roots = np.sqrt(np.maximum(values, EDGE * max(values.max(), EDGE)))
    weights, _ = optimize.nnls((vectors * roots).T, (vectors.T @ target) / roots)
    if not weights.sum() > 0:
        return np.full(len(parts), 1 / len(parts))
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float32] = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return units
