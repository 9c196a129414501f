"""Do clusters of vectors meet classes? k-means and DBSCAN, by normalised mutual information."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import pairwise_distances_chunked

from recsys.probing.figures import Figure, bootstrap, ratio
from recsys.probing.neighbours import Distance, centred_directions

__all__ = ["Method", "cluster", "cluster_figure", "mutual_information"]

Method = Literal["k-means", "dbscan"]

STARTS = 4  # of k-means; the tightest clusters are kept
CORE = 5  # items within eps, itself included, that make an item core
SHUFFLES = 20  # of the classes, for the figure of chance

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def cluster_figure(
    vectors: NDArray[np.float32],
    classes: Numbers,
    *,
    method: Method,
    distance: Distance,
    seed: int = 0,
) -> Figure:
    """Measure how much clusters and classes tell of each other.

    Args:
        vectors: ``(n, d)``.
        classes: one class an item, from 0, ``(n,)``.
        method: ``"k-means"``, with as many clusters as classes, or ``"dbscan"``.
        distance: ``"cosine"``: of the vectors less their mean; or ``"euclidean"``.
        seed: of k-means, of the shuffles and of the interval.

    Returns:
        Normalised mutual information (0: independent, 1: the same) with its interval over items;
        chance is its mean when the classes are shuffled, which for few items is above 0.
    """
    n_clusters = len(np.unique(classes))
    found = cluster(vectors, n_clusters, method=method, distance=distance, seed=seed)
    draw, once = np.random.default_rng(seed), np.ones((1, len(classes)))
    shuffled = [mutual_information(found, draw.permutation(classes), once) for _ in range(SHUFFLES)]
    return bootstrap(
        lambda counts: mutual_information(found, classes, counts),
        len(classes),
        chance=float(np.mean(shuffled)),
        seed=seed,
        within=(0.0, 1.0),
    )


def cluster(
    vectors: NDArray[np.float32],
    n_clusters: int,
    *,
    method: Method,
    distance: Distance,
    seed: int = 0,
) -> Numbers:
    """Cluster without looking at any label.

    DBSCAN (Ester and others, 1996) joins items that lie within eps of a core item; eps is the
    median distance from an item to the fourth other, so that half of the items are core. Items
    in no cluster together are one more.

    Args:
        vectors: ``(n, d)``.
        n_clusters: for k-means; DBSCAN finds its own number.
        method: ``"k-means"`` or ``"dbscan"``.
        distance: for ``"cosine"``, vectors less their mean are brought to unit length: there
            Euclidean distance orders pairs as cosine does.
        seed: of k-means.

    Returns:
        The cluster of each item, ``(n,)``, from 0.
    """
    points = centred_directions(vectors) if distance == "cosine" else vectors
    if method == "k-means":
        k = min(n_clusters, len(np.unique(points, axis=0)))
        means = KMeans(n_clusters=k, n_init=STARTS, random_state=seed)
        return np.asarray(means.fit_predict(points), dtype=np.int64)
    place = min(CORE, len(points)) - 1
    chunks = pairwise_distances_chunked(
        points, reduce_func=lambda block, _: np.partition(block, place, axis=1)[:, place]
    )
    eps = max(float(np.median(np.concatenate(list(chunks)))), np.finfo(np.float32).tiny)
    found = DBSCAN(eps=eps, min_samples=CORE, algorithm="brute").fit_predict(points)
    return np.asarray(found + 1, dtype=np.int64)


def mutual_information(ours: Numbers, theirs: Numbers, counts: Floats) -> Floats:
    """Mutual information of two partitions over the mean of their entropies.

    Strehl and Ghosh, Cluster ensembles, 2002; the arithmetic mean, as in scikit-learn.

    Args:
        ours: the part of each item, from 0, ``(n,)``.
        theirs: its part in the other partition, ``(n,)``.
        counts: how often each item counts, ``(resamples, n)``.

    Returns:
        ``(resamples,)``, 0 to 1; 1 where neither tells items apart.
    """
    shape = (int(ours.max()) + 1, int(theirs.max()) + 1)
    cells = ours * shape[1] + theirs
    which, cells = np.unique(cells, return_inverse=True)
    order = np.argsort(cells, kind="stable")
    starts = np.searchsorted(cells[order], np.arange(len(which)))
    shares = np.add.reduceat(counts[:, order], starts, axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    table = np.zeros((len(counts), *shape))
    table.reshape(len(counts), -1)[:, which] = shares
    both, one, other = (_entropy(of) for of in (shares, table.sum(axis=2), table.sum(axis=1)))
    means = (one + other) / 2
    return np.clip(ratio(one + other - both, means, otherwise=1.0), 0.0, 1.0)


def _entropy(shares: Floats) -> Floats:
    """The entropy of each row ``(rows, parts)``, in nats."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1))
