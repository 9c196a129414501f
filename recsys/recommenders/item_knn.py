"""Items like those you took: cosine between the sets of users who took each item."""

import warnings
from dataclasses import dataclass

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from scipy import sparse

from recsys.data.interactions import Interactions
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["fit_item_knn"]


def fit_item_knn(train: Interactions, *, neighbours: int = 100) -> DenseRanker:
    """Keep for each item its nearest items; an item's score is the sum over the history.

    Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001, with
    binary weights; the cosines are computed by ``implicit``.

    Args:
        train: what to learn from.
        neighbours: how many items each item keeps, itself among them.
    """
    matrix = train.histories().matrix(train.n_items)
    model = CosineRecommender(K=neighbours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # of a conversion that implicit makes
        model.fit(matrix, show_progress=False)
    similarity = model.similarity.tocsr().astype(np.float64)
    return DenseRanker(
        "item-knn", Abilities(True, False), _Neighbours(similarity), train.item_counts()
    )


@dataclass(frozen=True, eq=False)
class _Neighbours:
    similarity: sparse.csr_matrix  # (n_items, n_items): row i holds the neighbours of item i

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        history = queries.histories.matrix(self.similarity.shape[0])
        scores: NDArray[np.float32] = (history @ self.similarity).toarray().astype(np.float32)
        return scores
