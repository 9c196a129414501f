"""Matrix factorisation by the library ``implicit``: ALS and BPR.

``implicit`` wants users in rows and items in columns; with the matrix turned round it fits just as
willingly and recommends users as items. Ours comes from ``histories()``, so rows are users.
"""

from dataclasses import dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recsys.data.interactions import Interactions
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["AlsScorer", "fit_als", "fit_bpr"]


def fit_als(
    train: Interactions,
    seed: int,
    *,
    dim: int = 32,
    regularization: float = 0.1,
    alpha: float = 1.0,
    epochs: int = 15,
) -> DenseRanker:
    """Factorise the matrix of who took what by alternating least squares.

    Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets, ICDM 2008. A
    user's vector is solved from the history in the query, so that new users are like any other.

    Args:
        train: what to learn from; a row counts once, whatever its weight.
        seed: of the first vectors.
        dim: width of the vectors.
        regularization: of the squared lengths.
        alpha: weight of what was taken against what was not.
        epochs: of solving for users, then for items.
    """
    with threadpool_limits(1, "blas"):  # else OpenBLAS threads fight those of implicit
        model = AlternatingLeastSquares(
            factors=dim,
            regularization=regularization,
            alpha=alpha,
            iterations=epochs,
            random_state=seed,
        )
        model.fit(train.histories().matrix(train.n_items), show_progress=False)
    return DenseRanker("als", Abilities(True, False), AlsScorer(model), train.item_counts())


@dataclass(frozen=True, eq=False)
class AlsScorer:
    """Solves for the users' vectors and multiplies them with the items'."""

    model: AlternatingLeastSquares

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        """Return the inner products, shape ``(b, n_items)``."""
        items: NDArray[np.float32] = self.model.item_factors
        history = queries.histories.matrix(len(items))
        with threadpool_limits(1, "blas"):
            users = self.model.recalculate_user(np.arange(len(queries)), history)
        return _products(users, items)


def fit_bpr(
    train: Interactions,
    seed: int,
    *,
    dim: int = 64,
    epochs: int = 50,
    learning_rate: float = 0.01,
    regularization: float = 0.01,
) -> DenseRanker:
    """Learn vectors that put what a user took before what the user did not.

    Rendle et al., BPR: Bayesian personalized ranking from implicit feedback, UAI 2009. It knows
    only users it was fitted on; those of them who had no row then get the items' biases alone.

    Args:
        train: what to learn from; a row counts once, whatever its weight.
        seed: of the first vectors and of the pairs drawn.
        dim: width of the vectors.
        epochs: each draws as many pairs as there are rows.
        learning_rate: of the stochastic steps.
        regularization: of the squared lengths.
    """
    model = BayesianPersonalizedRanking(
        factors=dim,
        iterations=epochs,
        learning_rate=learning_rate,
        regularization=regularization,
        random_state=seed,
        num_threads=1,  # several threads write to the same vectors: each fit would differ
    )
    with threadpool_limits(1, "blas"):
        model.fit(train.histories().matrix(train.n_items), show_progress=False)
    scorer = _Bpr(model.user_factors, model.item_factors)
    return DenseRanker("bpr", Abilities(False, False), scorer, train.item_counts())


@dataclass(frozen=True, eq=False)
class _Bpr:
    users: NDArray[np.float32]  # (n_users, dim + 1): the last column is 1
    items: NDArray[np.float32]  # (n_items, dim + 1): the last column is the item's bias

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        return _products(self.users[queries.users], self.items)


def _products(users: NDArray[np.float32], items: NDArray[np.float32]) -> NDArray[np.float32]:
    """All inner products ``(b, n_items)``, in double, so that they do not depend on the block."""
    return (users.astype(np.float64) @ items.T.astype(np.float64)).astype(np.float32)
