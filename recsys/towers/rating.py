"""The rating head: how much a user will like an item, beside whether it is the next one taken."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.data.interactions import Interactions

__all__ = ["RatingBaseline", "RatingHead"]

ITEM_PRIOR, USER_PRIOR = 25.0, 10.0  # ratings at the mean that each is given beside its own
WIDTH = 16  # of the space in which both towers' vectors meet
INITIAL_STD = 0.05  # of the maps into it: at first the head adds little to the baseline


@dataclass(frozen=True, eq=False)
class RatingBaseline:
    """``mean + item's standing + user's habit``, each shrunk towards 0 where there are few ratings.

    Koren, Factorization meets the neighborhood, KDD 2008, with the priors of its section 2.1.

    Attributes:
        mean: of all ratings.
        deviation: their standard deviation; 1 where all are equal.
        users: what each user adds, float32 ``(n_users,)``; 0 for those without ratings.
        items: what each item adds, float32 ``(n_items,)``.
    """

    mean: float
    deviation: float
    users: NDArray[np.float32]
    items: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Interactions) -> Self:
        """Measure the ratings (weights) of a log."""
        mean, deviation = float(rows.weights.mean()), float(rows.weights.std())
        rest = rows.weights.astype(np.float64) - mean
        items = _shrunk(rows.items, rest, rows.n_items, ITEM_PRIOR)
        users = _shrunk(rows.users, rest - items[rows.items], rows.n_users, USER_PRIOR)
        return cls(
            mean,
            deviation if deviation > 0 else 1.0,
            users.astype(np.float32),
            items.astype(np.float32),
        )

    @classmethod
    def blank(cls, n_users: int, n_items: int) -> Self:
        """A place for what is read from a file."""
        return cls(0.0, 1.0, np.zeros(n_users, np.float32), np.zeros(n_items, np.float32))

    def __call__(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Predict the rating of each pair of numbers, ``(n,)``."""
        ratings: NDArray[np.float32] = (self.mean + self.users[users] + self.items[items]).astype(
            np.float32
        )
        return ratings


def _shrunk(
    numbers: NDArray[np.int32], rest: NDArray[np.float64], n: int, prior: float
) -> NDArray[np.float64]:
    """Sum over each number's rows divided by their count and the prior's, ``(n,)``."""
    sums = np.bincount(numbers, rest, minlength=n)
    shrunk: NDArray[np.float64] = sums / (np.bincount(numbers, minlength=n) + prior)
    return shrunk


class RatingHead(nn.Module):
    """``rating = baseline(user, item) + deviation * (map_u u) . (map_i i)``.

    The baseline stays as it was measured; the head learns what it leaves, in units of the ratings'
    standard deviation, so that a weight in the loss means the same for stars and for play counts.
    """

    mean: Tensor  # ()
    deviation: Tensor  # ()
    user_offsets: Tensor  # (n_users + 1,), the last of somebody unknown: 0
    item_offsets: Tensor  # (n_items,)

    def __init__(self, baseline: RatingBaseline, dim: int) -> None:
        """Prepare a head for vectors of width ``dim``."""
        super().__init__()
        users = torch.from_numpy(np.append(baseline.users, np.float32(0)))
        self.register_buffer("mean", torch.tensor(baseline.mean))
        self.register_buffer("deviation", torch.tensor(baseline.deviation))
        self.register_buffer("user_offsets", users)
        self.register_buffer("item_offsets", torch.from_numpy(baseline.items))
        self.user_map = nn.Parameter(torch.randn(dim, WIDTH) * INITIAL_STD)
        self.item_map = nn.Parameter(torch.randn(dim, WIDTH) * INITIAL_STD)

    def forward(self, users: Tensor, queries: Tensor, items: Tensor, vectors: Tensor) -> Tensor:
        """Predict ratings of pairs, ``(n,)``.

        Args:
            users: numbers ``(n,)``; -1 is unknown.
            queries: vectors of the users after their histories, ``(n, d)``.
            items: numbers ``(n,)``.
            vectors: of the items, ``(n, d)``.
        """
        baseline = self.mean + self.user_offsets[users] + self.item_offsets[items]
        # Unit vectors have entries of about 1 / sqrt(d): the maps see entries of about 1.
        taste = (queries.float() @ self.user_map) * (vectors.float() @ self.item_map)
        return baseline + self.deviation * queries.shape[1] * taste.mean(dim=1)

    def loss(self, predicted: Tensor, ratings: Tensor, weights: Tensor) -> Tensor:
        """Weighted squared error ``()`` in units of the ratings' variance; weights sum to 1."""
        return (weights * ((predicted - ratings) / self.deviation).square()).sum()
