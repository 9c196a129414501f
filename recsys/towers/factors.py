"""Item factors: what the log says about items, without any content."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

__all__ = ["Factors", "item_factors"]


class Factors(NamedTuple):
    """What the log says about items, without any content.

    Attributes:
        items: float32 ``(n_items, r)``; zeros for items without rows and for unused dimensions.
        shrink: of each dimension, in [0, 1), float32 ``(r,)``.
    """

    items: NDArray[np.float32]
    shrink: NDArray[np.float32]

    @property
    def steps(self) -> NDArray[np.float32]:
        """What each item adds to the profile of who took it, ``(n_items, r)``."""
        return self.items * self.shrink


def item_factors(taken: sparse.csr_matrix, dim: int, *, seed: int) -> Factors:
    """Factor who took what: right singular vectors, and how far each is above chance.

    With singular values s, ``shrink = s^2 / (s^2 + noise)``, which makes ``taken V shrink V'`` a
    ridge regression of the log on itself. ``noise = p (1 - p) (sqrt(users) + sqrt(items))^2`` is
    where the largest s^2 of independent draws with the same density p lies (Marchenko and Pastur,
    1967): what chance alone would show counts half or less.

    Args:
        taken: binary ``(n_users, n_items)``; rows and columns without an entry count nothing.
        dim: width ``r``; a smaller log fills fewer.
        seed: of the randomised decomposition (Halko et al., 2011).
    """
    users = np.flatnonzero(np.diff(taken.indptr))
    items = np.flatnonzero(np.bincount(taken.indices, minlength=taken.shape[1]))
    seen = taken[users][:, items].astype(np.float32)
    rank = min(dim, *seen.shape)
    _, values, right = randomized_svd(seen, rank, random_state=seed)
    density = seen.nnz / (len(users) * len(items))
    noise = density * (1 - density) * (math.sqrt(len(users)) + math.sqrt(len(items))) ** 2
    factors = np.zeros((taken.shape[1], dim), dtype=np.float32)
    factors[items, :rank] = right.T * math.sqrt(len(items))  # of a size that no catalogue's is
    shrink = np.zeros(dim, dtype=np.float32)
    shrink[:rank] = values**2 / (values**2 + max(noise, 1e-9))
    return Factors(factors, shrink)
