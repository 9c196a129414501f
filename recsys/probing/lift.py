"""Co-interaction lift: are items of near content taken by the same people?

The task that counts for a recommender. With each item as the set of its users, the cosine of two
items is (users of both) / sqrt(users of one x users of the other); the lift is the mean of it over
each item's nearest content neighbours, divided by the mean over all pairs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.data.interactions import Interactions
from recsys.probing.figures import Figure, bootstrap, mean_figure, ratio
from recsys.probing.neighbours import blocks, centred_directions, nearest

__all__ = ["Lift", "co_interaction_lift"]

NEIGHBOURS = 10
MOST_QUERIES = 20_000  # items whose neighbours are looked up; neighbours come from all


class Lift(NamedTuple):
    """How near co-taken items are."""

    near: Figure  # mean co-interaction cosine of the nearest content neighbours; chance: of random
    lift: Figure  # the former over the latter


def co_interaction_lift(
    vectors: NDArray[np.float32],
    present: NDArray[np.bool_],
    rows: Interactions,
    *,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> Lift | None:
    """Measure the lift among the items that have the content and at least one row.

    Neighbours are by cosine of the vectors less their mean. The mean over random pairs is exact:
    over all pairs of these items. Popular items have greater cosines, so a content that only
    tells popular items from others has some lift too. The intervals are over items and hold each
    item's neighbours fixed: they do not say how the neighbours would change with another catalogue.

    Args:
        vectors: ``(n_items, d)``.
        present: which items have the content, ``(n_items,)``.
        rows: who took what.
        k: neighbours an item.
        seed: of ties, of the sample of a large catalogue, and of the interval.

    Returns:
        Both figures, None where fewer than two items can be compared.
    """
    users = _unit_rows(rows)
    pool = np.flatnonzero(present & (rows.item_counts() > 0))
    if len(pool) < 2:
        return None
    users, directions = users[pool], centred_directions(vectors[pool])
    queries = np.arange(len(pool))
    if len(pool) > MOST_QUERIES:
        draw = np.random.default_rng(seed)
        queries = np.sort(draw.choice(len(pool), MOST_QUERIES, replace=False))
    found = nearest(
        directions[queries], directions, min(k, len(pool) - 1), itself=queries, seed=seed
    )
    near = _mean_cosine(users, queries, found)
    total = np.asarray(users.sum(axis=0)).ravel()
    anybody = (users[queries] @ total - 1.0) / (len(pool) - 1)  # its mean over all other items
    if not anybody.any():
        return None  # no two items share a user
    return Lift(
        mean_figure(near, chance=float(anybody.mean()), seed=seed),
        bootstrap(
            lambda counts: ratio(counts @ near, counts @ anybody), len(near), chance=1.0, seed=seed
        ),
    )


def _unit_rows(rows: Interactions) -> sparse.csr_array:
    """Items by users, 1 where taken however often, rows of unit length: ``(n_items, n_users)``."""
    taken = sparse.csr_array(
        (np.ones(len(rows)), (rows.items, rows.users)), shape=(rows.n_items, rows.n_users)
    )
    taken.sum_duplicates()
    taken.data[:] = 1.0
    lengths = np.sqrt(np.diff(taken.indptr))
    taken.data /= np.repeat(lengths, np.diff(taken.indptr))
    return taken


def _mean_cosine(
    users: sparse.csr_array, queries: NDArray[np.int64], found: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The mean cosine of each query with the items found for it ``(q, k)``, shape ``(q,)``."""
    k = found.shape[1]
    width = k * int(np.diff(users.indptr).mean() + 1)
    means = np.empty(len(queries))
    for block in blocks(len(queries), width):
        ours = users[np.repeat(queries[block], k)]
        theirs = users[found[block].ravel()]
        cosines = np.asarray(ours.multiply(theirs).sum(axis=1)).reshape(-1, k)
        means[block] = cosines.mean(axis=1)
    return means
