"""The two towers pass the shared suite of rankers, through either index."""

import numpy as np
import pytest
import torch
from suites.ranker_suite import RankerSuite, everybody, mixed

from recsys.config import IndexConfig, TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.index.index import build_index
from recsys.recommenders.ranker import Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train

CONFIG = TrainingConfig(epochs=80, batch_size=8, learning_rate=0.02, horizon=50, device="cpu")
TOWERS = TowersConfig(dim=32, history_dropout=0.0)


def fit_two_tower(rows: Interactions, seed: int, index: IndexConfig) -> TwoTowerRanker:
    torch.set_num_threads(1)  # tensors this small only wait for each other
    known = rows.item_counts() > 0
    towers = TwoTower(TOWERS, rows.n_users, [], known, seed=seed)
    list(train(Learner(towers, CONFIG), rows, CONFIG, seed=seed, until=CONFIG.epochs))
    towers.eval()
    return TwoTowerRanker(towers, build_index(towers.item_vectors(), index, ids_digest="ids"))


class TestTwoTowerExact(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_two_tower(train, seed, IndexConfig(kind="exact"))


class TestTwoTowerAnnoy(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_two_tower(train, seed, IndexConfig(kind="annoy"))


@pytest.fixture(scope="module")
def ranker() -> TwoTowerRanker:
    return fit_two_tower(mixed(), 0, IndexConfig(kind="exact"))


def test_scores_are_the_cosines_of_the_vectors(ranker: TwoTowerRanker) -> None:
    queries = everybody(mixed())
    users = ranker.towers.user_vectors(queries.users, queries.histories)
    cosines = users @ ranker.towers.item_vectors().T
    found = ranker.top_k(queries, 10)
    expected = np.take_along_axis(cosines, found.items.astype(np.int64), axis=1)
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    np.testing.assert_allclose(found.scores[:, 0], cosines.max(axis=1), atol=1e-6)


def test_similar_items_leave_out_the_item_itself(ranker: TwoTowerRanker) -> None:
    items = np.array([4, 7], dtype=np.int32)
    found = ranker.similar(items, 5)
    vectors = ranker.towers.item_vectors()
    untrained = mixed().item_counts() == 0
    for row, item in enumerate(items):
        cosines = vectors @ vectors[item]
        cosines[untrained] = -2  # what was not learnt from is like nothing
        cosines[item] = -2
        assert found.items[row].tolist() == np.argsort(-cosines, kind="stable")[:5].tolist()
