"""What needs no idea: chance, and a logistic regression on a handful of plain features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.recommenders.content_features import block_features
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.popularity import fit_decayed_popularity
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_logistic", "fit_random"]

MOST = 20_000  # rows of the log that the regression sees

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
        train: what to learn from; at most 20,000 of its rows are drawn.
        seed: of the rows and the negatives drawn.
        blocks: content of all items; without any it is a blend of two popularities.
        negatives: items drawn for each row.
        own_clocks: times are an order within each user; see `fit_decayed_popularity`.
    """
    known = train.item_counts() > 0
    lately = fit_decayed_popularity(train, own_clocks=own_clocks).counts
    plain = np.log1p(np.stack([train.item_counts(), lately], axis=1))
    parts = tuple(block_features(block, known).astype(np.float64) for block in blocks)
    features, taken = _examples(train, plain, parts, negatives, np.random.default_rng(seed))
    scaler = StandardScaler().fit(features)
    model = LogisticRegression().fit(scaler.transform(features), taken)
    scorer = _Logistic(plain, parts, model.coef_[0] / scaler.scale_)
    scorable = np.any([known, *(block.present for block in blocks)], axis=0)
    abilities = Abilities(True, bool(blocks))
    return DenseRanker("logistic", abilities, scorer, train.item_counts(), scorable)


def _examples(
    train: Interactions,
    plain: NDArray[np.float64],
    parts: Sequence[NDArray[np.float64]],
    negatives: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features ``(n, 2 + n_blocks)`` of rows and of negatives, and which were taken ``(n,)``."""
    rows = np.sort(random.permutation(len(train))[:MOST])
    users = np.repeat(train.users[rows], 1 + negatives)
    drawn = random.choice(np.flatnonzero(plain[:, 0] > 0), (len(rows), negatives))
    items = np.concatenate([train.items[rows, None], drawn], axis=1)
    keys = train.users.astype(np.int64) * train.n_items + train.items
    taken = np.isin(users.astype(np.int64) * train.n_items + items.ravel(), keys)
    history = train.histories().matrix(train.n_items)
    others = np.maximum(train.user_counts()[users] - taken, 1)
    columns = []
    for part in parts:
        sums = history @ part  # (n_users, dim)
        itself = taken * np.square(part[items.ravel()]).sum(axis=1)  # is no evidence for itself
        columns.append((_dots(sums, part, users, items.ravel()) - itself) / others)
    return np.column_stack([plain[items.ravel()], *columns]), taken


def _dots(
    users: NDArray[np.float64],
    items: NDArray[np.float64],
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    at_once: int = 1_024,
) -> NDArray[np.float64]:
    """``users[rows] . items[columns]``, ``(n,)``."""
    starts = range(0, len(rows), at_once)
    blocks = [
        np.einsum("nd,nd->n", users[rows[s : s + at_once]], items[columns[s : s + at_once]])
        for s in starts
    ]
    return np.concatenate(blocks)


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
        lengths = np.maximum(queries.histories.lengths, 1)[:, None]
        scores = np.tile(self.plain @ self.weights[:2], (len(queries), 1))
        for part, weight in zip(self.parts, self.weights[2:], strict=True):
            scores += weight * ((history @ part) / lengths) @ part.T
        return scores.astype(np.float32)
