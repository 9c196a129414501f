"""EASE: a linear model from history to items, in closed form.

Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019. With X (users x items, binary)
and lambda the regularisation, P = (X'X + lambda I)^-1 and B = I - P diag(P)^-1 (so B has a zero
diagonal: no item explains itself); a history h scores the items by h B.

P is as wide as the catalogue. Where there are fewer users than items the same P comes out of a
matrix as wide as the users (Woodbury): P = (I - X' K^-1 X) / lambda with K = X X' + lambda I, and
h B is computed without ever making P. Memory while fitting: 24 bytes x items^2 (4 afterwards), or
16 bytes x users^2.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, sparse

from recsys.data.interactions import Interactions
from recsys.errors import ConfigError, DataError
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

__all__ = ["EaseByItems", "EaseByUsers", "fit_ease"]

WIDEST = 30_000  # of the matrix that is inverted: by items 22 GB, by users 14 GB
COLUMNS = 1_024  # items at a time


def fit_ease(train: Interactions, *, regularization: float = 300.0) -> DenseRanker:
    """Solve EASE, by items or by users, whichever are fewer.

    Args:
        train: what to learn from; a row counts once, whatever its weight.
        regularization: lambda, above 0.

    Raises:
        ConfigError: lambda is not above 0.
        DataError: both users and items are too many to invert a matrix as wide.
    """
    if regularization <= 0:
        raise ConfigError(f"ease: regularization = {regularization}, expected above 0")
    matrix = train.histories().matrix(train.n_items).astype(np.float64)
    matrix = matrix[np.diff(matrix.indptr) > 0]  # users without a row change nothing
    users, items = matrix.shape
    if min(users, items) > WIDEST:
        raise DataError(
            f"ease: {users:,} users and {items:,} items, expected at most {WIDEST:,} of either; "
            "leave it out of evaluation.baselines"
        )
    kind = EaseByUsers if users < items else EaseByItems
    scorer = kind.solve(matrix, regularization)
    return DenseRanker("ease", Abilities(True, False), scorer, train.item_counts())


@dataclass(frozen=True, eq=False)
class EaseByItems:
    """Scores with the matrix B itself.

    Attributes:
        weights: B, float32 ``(n_items, n_items)``: row i is what having taken item i says.
    """

    weights: NDArray[np.float32]

    @classmethod
    def solve(cls, matrix: sparse.csr_matrix, regularization: float) -> Self:
        """Invert X'X + lambda I; ``matrix`` is X, float64 ``(n_users, n_items)``."""
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += regularization
        weights = torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(gram))).numpy()
        weights /= -np.diag(weights)  # column j by -P[j, j]
        np.fill_diagonal(weights, 0.0)
        return cls(weights.astype(np.float32))

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        """Return h B, shape ``(b, n_items)``."""
        history = queries.histories.matrix(len(self.weights))
        scores: NDArray[np.float32] = history @ self.weights
        return scores


@dataclass(frozen=True, eq=False)
class EaseByUsers:
    """Scores without the matrix B: h B = h - h P / diag(P), through the users of X.

    Attributes:
        matrix: X, float64 ``(n_users, n_items)``.
        kernel: the Cholesky factor of K = X X' + lambda I, ``(n_users, n_users)``.
        diagonal: of P, float64 ``(n_items,)``.
        regularization: lambda.
    """

    matrix: sparse.csr_matrix
    kernel: tuple[NDArray[np.float64], bool]
    diagonal: NDArray[np.float64]
    regularization: float

    @classmethod
    def solve(cls, matrix: sparse.csr_matrix, regularization: float) -> Self:
        """Factorise K; ``matrix`` is X, float64 ``(n_users, n_items)``."""
        gram = (matrix @ matrix.T).toarray()
        gram[np.diag_indices_from(gram)] += regularization
        kernel = linalg.cho_factor(gram, overwrite_a=True)
        by_item = matrix.tocsc()
        explained = np.empty(matrix.shape[1])  # of each item x: x' K^-1 x
        for start in range(0, matrix.shape[1], COLUMNS):
            columns = by_item[:, start : start + COLUMNS].toarray()
            solved = linalg.cho_solve(kernel, columns)
            explained[start : start + COLUMNS] = np.einsum("ui,ui->i", columns, solved)
        return cls(matrix, kernel, (1.0 - explained) / regularization, regularization)

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        """Return h B, shape ``(b, n_items)``."""
        history = queries.histories.matrix(self.matrix.shape[1]).astype(np.float64)
        shared = (history @ self.matrix.T).toarray()  # items in common with each user of X
        solved = linalg.cho_solve(self.kernel, shared.T)  # (n_users, b)
        dense = history.toarray()
        projected = (dense - (self.matrix.T @ solved).T) / self.regularization  # h P
        scores: NDArray[np.float32] = (dense - projected / self.diagonal).astype(np.float32)
        return scores
