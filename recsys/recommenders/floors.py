"""What needs no idea: chance, and a logistic regression on a handful of plain features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.recommenders.content_features import block_features
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.popularity import row_worths
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_logistic", "fit_random"]

MOST = 20_000  # rows of the log that the regression sees,
EXAMPLES = 5  # and at most one in so many: the others say what is popular

# Of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014).
STEP, FIRST, SECOND = (
    np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def fit_random(train: Interactions, seed: int) -> DenseRanker:
    """Rank items by chance: each user has a fixed order of all items, by a hash of both numbers.

    All who are new to it get the same order.
    """
    n_items = train.n_items
    everything = np.ones(n_items, dtype=np.bool_)
    scorer, counts = _Chance(seed, n_items), train.item_counts()
    return DenseRanker(
        "random", Abilities(True, True), scorer, counts, scorable=everything, anybody=True
    )


def fit_logistic(
    train: Interactions,
    seed: int,
    *,
    blocks: Sequence[ContentBlock] = (),
    negatives: int = 4,
    own_clocks: bool = False,
) -> DenseRanker:
    """Logistic regression of "took it" on popularity, ever and lately, and likeness of content.

    The features of a user and an item are ``log(1 + rows)``, the logarithm of the decayed
    popularity, and for each content the mean cosine with the other items of the history; all of
    unit variance. Rows of the log stand against items drawn at random.

    Args:
        train: what to learn from; a fifth of its rows, at most 20,000, are drawn; the others say
            what is popular.
        seed: of the rows and the negatives drawn.
        blocks: content of all items; without any it is a blend of two popularities.
        negatives: items drawn for each row.
        own_clocks: times are an order within each user; see `fit_decayed_popularity`.
    """
    known = train.item_counts() > 0
    worth = np.stack([np.ones(len(train)), row_worths(train, own_clocks=own_clocks)], axis=1)
    parts = tuple(block_features(block, known).astype(np.float64) for block in blocks)
    features, taken = _examples(train, worth, parts, negatives, np.random.default_rng(seed))
    scaler = StandardScaler().fit(features)
    model = LogisticRegression().fit(scaler.transform(features), taken)
    plain = np.log1p(_sums(train.items, worth, train.n_items))
    scorer = _Logistic(plain, parts, model.coef_[0] / scaler.scale_)
    scorable = np.any([known, *(block.present for block in blocks)], axis=0)
    abilities = Abilities(True, bool(blocks))
    return DenseRanker("logistic", abilities, scorer, train.item_counts(), scorable)


def _examples(
    train: Interactions,
    worth: NDArray[np.float64],
    parts: Sequence[NDArray[np.float64]],
    negatives: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features ``(n, 2 + n_blocks)`` of rows and of negatives, and which were taken ``(n,)``.

    Popularity is that of the rows that are no examples: a row counted in its own item's popularity
    would give itself away, and so would a row left out of its own item's alone.
    """
    chosen = np.zeros(len(train), dtype=np.bool_)
    chosen[random.permutation(len(train))[: min(MOST, -(-len(train) // EXAMPLES))]] = True
    plain = np.log1p(_sums(train.items[~chosen], worth[~chosen], train.n_items))
    users = train.users[chosen]
    drawn = random.choice(np.unique(train.items), (len(users), negatives))
    items = np.concatenate([train.items[chosen, None], drawn], axis=1)
    took = np.isin(_keys(users[:, None], items, train), _keys(train.users, train.items, train))
    likeness = _likeness(train.histories(), users, items, took, parts)
    features = np.concatenate([plain[items], likeness], axis=2)
    taken = np.zeros(items.shape, dtype=np.bool_)
    taken[:, 0] = True
    kept = taken | ~took  # what was drawn and had been taken is no negative
    return features[kept], taken[kept]


def _likeness(
    histories: Ragged,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    taken: NDArray[np.bool_],
    parts: Sequence[NDArray[np.float64]],
    at_once: int = 1_024,
) -> NDArray[np.float64]:
    """Mean cosines of items ``(n, m)`` with the others that their users took, in blocks of users.

    Returns:
        ``(n, m, n_blocks)``.
    """
    found = np.zeros((*items.shape, len(parts)))
    for start in range(0, len(users) if parts else 0, at_once):
        rows = slice(start, start + at_once)
        history = histories.take(users[rows]).matrix(len(parts[0]))
        lengths = np.diff(history.indptr)[:, None]
        for number, part in enumerate(parts):
            vectors = part[items[rows]]
            cosines = np.einsum("nd,nmd->nm", history @ part, vectors)
            cosines -= taken[rows] * np.square(vectors).sum(axis=2)
            found[rows, :, number] = cosines / np.maximum(lengths - taken[rows], 1)
    return found


def _keys(
    users: NDArray[np.int32], items: NDArray[np.int32], train: Interactions
) -> NDArray[np.int64]:
    """One number for each user and item."""
    keys: NDArray[np.int64] = users.astype(np.int64) * train.n_items + items
    return keys


def _sums(of: NDArray[Any], worth: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The columns of ``worth`` summed over the rows of each of ``n``, ``(n, columns)``."""
    return np.stack([np.bincount(of, column, minlength=n) for column in worth.T], axis=1)


@dataclass(frozen=True, eq=False)
class _Chance:
    seed: int
    n_items: int

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):  # the arithmetic is modulo 2**64
            start = _mixed(np.full(1, self.seed, dtype=np.uint64))
            users = _mixed(start + (queries.users.astype(np.int64) + 1).astype(np.uint64) * STEP)
            items = np.arange(1, self.n_items + 1, dtype=np.uint64) * STEP
            hashed = _mixed(users[:, None] + items)
        return (hashed >> np.uint64(40)).astype(np.float32)  # 24 bits: exact in float32


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * SECOND
    mixed: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(31))
    return mixed


@dataclass(frozen=True, eq=False)
class _Logistic:
    plain: NDArray[np.float64]  # (n_items, 2)
    parts: tuple[NDArray[np.float64], ...]  # (n_items, dim) each
    weights: NDArray[np.float64]  # (2 + n_blocks,), of the features as they are

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        history = queries.histories.matrix(len(self.plain))
        lengths = np.maximum(np.diff(history.indptr), 1)[:, None]
        scores = np.tile(self.plain @ self.weights[:2], (len(queries), 1))
        for part, weight in zip(self.parts, self.weights[2:], strict=True):
            scores += weight * ((history @ part) / lengths) @ part.T
        return scores.astype(np.float32)
