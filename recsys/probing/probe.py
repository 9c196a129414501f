"""All tasks on one content."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.probing.auc import macro_auc_figure
from recsys.probing.clusters import Method, cluster_figure
from recsys.probing.figures import Figure
from recsys.probing.labels import Labels
from recsys.probing.lift import co_interaction_lift
from recsys.probing.neighbours import Distance
from recsys.probing.scores import linear_scores, neighbour_scores

__all__ = ["probe_content"]

MOST_LABELLED = 10_000  # items that the labels are learnt from and asked of, drawn by the seed
MOST_CLUSTERED = 5_000

CLUSTERINGS: tuple[tuple[str, Method, Distance], ...] = (
    ("kmeans_cosine", "k-means", "cosine"),
    ("dbscan_cosine", "dbscan", "cosine"),
    ("kmeans_euclidean", "k-means", "euclidean"),
    ("dbscan_euclidean", "dbscan", "euclidean"),
)


def probe_content(
    block: ContentBlock, rows: Interactions, labels: Labels | None = None, *, seed: int = 0
) -> dict[str, Figure]:
    """Measure one content by all tasks that its items allow.

    Args:
        block: the content's vectors, ``n_items`` rows.
        rows: the interactions that the lift is measured on.
        labels: of all items, for the probes and the clusters.
        seed: of folds, samples, clusters and intervals.

    Returns:
        Figures by name (`recsys.probing.table.TASKS`); a task that too few items allow is absent.
    """
    figures: dict[str, Figure] = {}
    lift = co_interaction_lift(block.vectors, block.present, rows, seed=seed)
    if lift is not None:
        figures |= {"lift": lift.lift, "near": lift.near}
    if labels is not None:
        # Fits and clusters are many small products: threads would mostly wait for each other.
        with threadpool_limits(1):
            figures |= _label_figures(block, labels, seed)
    return figures


def _label_figures(block: ContentBlock, labels: Labels, seed: int) -> dict[str, Figure]:
    """What a content's vectors tell of the labels."""
    items = _sample(np.flatnonzero(block.present & labels.known), MOST_LABELLED, seed)
    asked = labels.take(items)
    if not asked.names:
        return {}
    vectors = np.asarray(block.vectors[items])
    scores = {
        "linear": linear_scores(vectors, asked.carried, loss="logistic", seed=seed),
        "svm": linear_scores(vectors, asked.carried, loss="squared hinge", seed=seed),
        "knn": neighbour_scores(vectors, asked.carried, seed=seed),
    }
    figures = {name: macro_auc_figure(of, asked.carried, seed=seed) for name, of in scores.items()}
    classes = asked.rarest()
    classed = _sample(np.flatnonzero(classes >= 0), MOST_CLUSTERED, seed)
    _, numbers = np.unique(classes[classed], return_inverse=True)
    if numbers.max(initial=0) > 0:
        for name, method, distance in CLUSTERINGS:
            figures[name] = cluster_figure(
                vectors[classed], numbers, method=method, distance=distance, seed=seed
            )
    return figures


def _sample(items: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most so many items, in their order."""
    if len(items) <= most:
        return items
    return np.sort(np.random.default_rng(seed).choice(items, most, replace=False))
