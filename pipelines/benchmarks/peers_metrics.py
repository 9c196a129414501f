"""What RecTools' and Cornac's own metrics say of given lists; for `peers.py` and its test.

Where a definition is ours, the numbers are ours to 1e-9:

- ``ndcg``: RecTools' ``NDCG(divide_by_achievable=True)`` and Cornac's ``NDCG``. Cornac's gain
  ``2^h - 1`` is h for hits of 0 and 1, and its ideal list is the truth itself, so of min(k, n).
- ``recall``: RecTools' ``Recall`` and Cornac's ``Recall``, hits over all n relevant items.

Where it is not:

- RecTools' ``NDCG`` as it comes divides every user by the ideal of k hits, ``sum_i 1/log2(i+1)``,
  also one who has fewer relevant items and can never reach it. It is at most ours, and equal for
  users with n >= k; with one held-out item a user and k = 10 it is 4.54 times smaller. Base 2 in
  both.
- ``recall_capped`` (hits over min(k, n)) neither has, nor has RecTools' ``RPrecision``, which looks
  at the first n places only, where n is below k.
- Cornac's ``MRR`` reads the whole list and raises an error where nothing is found; Cornac's own
  experiments leave out of every mean the users without test items, as we do.

RecTools averages over the users of the truth: one without a list counts 0, as here.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ragged import Ragged

__all__ = ["by_cornac", "by_rectools"]


def by_rectools(items: NDArray[np.integer], truth: Ragged, k: int) -> dict[str, float]:
    """RecTools' means over users: ``ndcg``, ``ndcg as it comes`` and ``recall``, at k.

    Args:
        items: ranked item numbers, best first, shape ``(u, k_max)``; -1 is an empty place.
        truth: distinct relevant item numbers of each of the ``u`` users.
        k: places that count.
    """
    from rectools import Columns
    from rectools.metrics import NDCG, Recall, calc_metrics

    users, places = np.nonzero(items >= 0)
    lists = pd.DataFrame(
        {Columns.User: users, Columns.Item: items[users, places], Columns.Rank: places + 1}
    )
    held_out = pd.DataFrame({Columns.User: truth.row_numbers, Columns.Item: truth.values})
    metrics = {
        "ndcg": NDCG(k=k, divide_by_achievable=True),
        "ndcg as it comes": NDCG(k=k),
        "recall": Recall(k=k),
    }
    found = calc_metrics(metrics, reco=lists, interactions=held_out)
    return {name: float(value) for name, value in found.items()}


def by_cornac(items: NDArray[np.integer], truth: Ragged, k: int) -> dict[str, float]:
    """Cornac's means over users: ``ndcg`` and ``recall``, at k; see `by_rectools`.

    Its metrics take one user at a time.
    """
    from cornac.metrics import NDCG, Recall

    metrics = {"ndcg": NDCG(k=k), "recall": Recall(k=k)}
    return {
        name: float(
            np.mean(
                [
                    metric.compute(gt_pos=truth[row], pd_rank=ranked[ranked >= 0])
                    for row, ranked in enumerate(items)
                ]
            )
        )
        for name, metric in metrics.items()
    }
