"""Fused lists by a plain loop; a blend keeps the contract of rankers; weights find who knows."""

import numpy as np
import pytest
from suites.ranker_suite import N_ITEMS, RankerSuite, everybody, mixed

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.blending import learn_weights, some_users
from recsys.recommenders.blend import BlendRanker, fuse
from recsys.recommenders.ease import fit_ease
from recsys.recommenders.item_knn import fit_item_knn
from recsys.recommenders.ranker import Abilities, Ranker


class TestBlend(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        parts = (fit_ease(train, regularization=5.0), fit_item_knn(train))
        return BlendRanker("blend", parts, (0.7, 0.3))

    def test_excluded_items_are_left_out(self, ranker: Ranker) -> None:
        """And take no rank from the others, so that their order may be another."""
        queries = everybody(mixed())
        found = ranker.top_k(queries, N_ITEMS, exclude=queries.histories)
        for row in range(len(queries)):
            barred = set(queries.histories[row].tolist())
            kept = set(found.items[row].tolist()) - {-1}
            assert kept == set(range(N_ITEMS)) - barred

    @pytest.mark.parametrize("allowed", [0, 1, 7, 40])
    def test_only_candidates_are_returned(self, ranker: Ranker, allowed: int) -> None:
        candidates = np.arange(50) < allowed
        found = ranker.top_k(everybody(mixed()), 10, candidates=candidates).items
        assert ((found < allowed) | (found == -1)).all()
        assert ((found >= 0).sum(axis=1) == min(10, allowed)).all()


def lists(b: int, d: int, n_items: int, seed: int) -> list[np.ndarray]:
    """Three rankings of ``b`` users, some with empty places at the end."""
    random = np.random.default_rng(seed)
    found = [np.array([random.permutation(n_items)[:d] for _ in range(b)]) for _ in range(3)]
    found[1][::2, d - 2 :] = -1
    return found


def test_fusion_by_a_plain_loop() -> None:
    found, weights = lists(20, 8, 15, 0), (0.5, 1.0, 0.0)
    fused = fuse(found, weights, 12)
    for user in range(20):
        votes: dict[int, float] = {}
        for ranked, weight in zip(found, weights, strict=True):
            for rank, item in enumerate(ranked[user].tolist(), 1):
                if item >= 0:
                    votes[item] = votes.get(item, 0.0) + weight / (60 + rank)
        order = sorted(votes, key=lambda item: (-np.float32(votes[item]), item))[:12]
        assert fused.items[user].tolist() == order + [-1] * (12 - len(order))
        expected = [votes[item] for item in order] + [-np.inf] * (12 - len(order))
        np.testing.assert_allclose(fused.scores[user], expected, rtol=1e-6)


def test_one_list_alone_stays_as_it_is() -> None:
    (ranked, *_) = lists(5, 8, 15, 1)
    assert np.array_equal(fuse([ranked], (1.0,), 8).items, ranked)


def test_nobody_and_nothing() -> None:
    assert fuse([np.empty((0, 4), dtype=np.int32)], (1.0,), 3).items.shape == (0, 3)
    assert (fuse([np.full((2, 4), -1)], (1.0,), 3).items == -1).all()


def test_weights_go_to_who_knows() -> None:
    known, *others = lists(200, 10, 40, 2)
    truth = Ragged.of([row[:3].tolist() for row in known])
    weights = learn_weights([others[0], known, others[1]], truth)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] > 0.6
    assert min(weights) >= 0


def test_abilities_are_those_of_all_or_of_one() -> None:
    train = mixed()
    blend = BlendRanker("both", (fit_ease(train), fit_item_knn(train)), (1.0, 1.0))
    assert blend.abilities == Abilities(True, False)


def test_weights_are_learnt_from_some_users_with_all_their_truth() -> None:
    log = mixed()
    task = Task.of(log.take(log.items % 2 == 0), log, np.ones(log.n_items, dtype=np.bool_))
    assert some_users(task, len(task.users)) is task
    few = some_users(task, 5)
    assert len(few.users) == 5
    assert len(few.truth) == np.isin(task.truth.users, few.users).sum()
    assert few.history is task.history
