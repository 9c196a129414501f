"""item-kNN passes the shared suite, and equals plain cosine."""

import numpy as np
import pytest
from suites.ranker_suite import RankerSuite, everybody, mixed

from recsys.data.interactions import Interactions
from recsys.recommenders.item_knn import fit_item_knn
from recsys.recommenders.ranker import Ranker


class TestItemKnn(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_item_knn(train)


@pytest.mark.parametrize("neighbours", [1, 5, 50])
def test_against_plain_cosine(neighbours: int) -> None:
    train = mixed()
    taken = train.histories().matrix(train.n_items).toarray().astype(float)
    lengths = np.maximum(np.linalg.norm(taken, axis=0), 1e-9)
    cosine = taken.T @ taken / lengths / lengths[:, None]
    for row in cosine:  # equal cosines at the border may fall either way, so few are compared
        row[row < np.sort(row)[-neighbours]] = 0
    found = fit_item_knn(train, neighbours=neighbours).top_k(everybody(train), 3)
    best = np.sort(taken @ cosine, axis=1)[:, ::-1][:, :3]
    certain = taken.sum(axis=1) > 0
    if neighbours == 5:  # ties at the border add to the oracle, never to the model
        assert np.all(found.scores[certain] <= best[certain] + 1e-5)
        assert np.mean(found.scores[certain] > best[certain] - 1e-5) > 0.5
    else:
        np.testing.assert_allclose(found.scores[certain], best[certain], rtol=1e-5)
