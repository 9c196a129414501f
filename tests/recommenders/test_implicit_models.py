"""ALS and BPR pass the shared suite; users are rows, new users are solved, threads do not show."""

from collections.abc import Callable

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from suites.ranker_suite import N_ITEMS, RankerSuite, as_new, everybody, interactions, mixed, only
from threadpoolctl import threadpool_limits

from recsys.data.interactions import Interactions
from recsys.recommenders.implicit_models import AlsScorer, fit_als, fit_bpr
from recsys.recommenders.ranker import Abilities, Queries, Ranker


class TestAls(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_als(train, seed, dim=8)


class TestBpr(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_bpr(train, seed, dim=8, epochs=300, learning_rate=0.1, regularization=0.001)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_als_solves_for_the_history_that_is_asked_about(alpha: float) -> None:
    """x = (Y'CY + reg I)^-1 Y'C p, with confidence alpha for what was taken and 1 for the rest."""
    train = mixed()
    queries = as_new(only(everybody(train), np.unique(train.users)))
    scorer = fit_als(train, 0, dim=4, regularization=0.5, alpha=alpha).scorer
    assert isinstance(scorer, AlsScorer)
    items = scorer.model.item_factors.astype(float)
    for row, scores in enumerate(scorer.scores(queries)):
        taken = np.zeros(N_ITEMS)
        taken[queries.histories[row]] = 1
        confidence = 1 + (alpha - 1) * taken
        normal = items.T * confidence @ items + 0.5 * np.eye(4)
        right = items @ np.linalg.solve(normal, items.T @ (alpha * taken))
        np.testing.assert_allclose(scores, right, atol=1e-4)


def test_als_does_not_depend_on_threads() -> None:
    train = mixed()
    ours = fit_als(train, 0, dim=8).scorer
    assert isinstance(ours, AlsScorer)
    for threads in (1, 2, 3):
        model = AlternatingLeastSquares(8, 0.1, random_state=0, num_threads=threads)
        with threadpool_limits(1, "blas"):
            model.fit(train.histories().matrix(N_ITEMS), show_progress=False)
        assert np.array_equal(model.item_factors, ours.model.item_factors)


@pytest.mark.parametrize("fit", [fit_als, fit_bpr])
def test_a_row_counts_once_and_the_seed_matters(fit: Callable[..., Ranker]) -> None:
    rows = list(zip(mixed().users.tolist(), mixed().items.tolist(), strict=True))
    once, twice = interactions(rows), interactions(rows + rows[:40])
    queries = only(everybody(once), np.unique(once.users))
    scores = [
        fit(train, seed, dim=8, epochs=10).top_k(queries, 10).scores
        for train, seed in ((once, 0), (twice, 0), (once, 1))
    ]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_bpr_gives_users_without_a_row_one_common_list() -> None:
    rows = [(user, item) for user in range(8) for item in range(5) if (user + item) % 3]
    ranker = fit_bpr(interactions(rows, n_users=11, n_items=6), 0, dim=4)
    late = Queries(
        np.array([8, 9, 10], dtype=np.int32), everybody(mixed()).histories.take(np.full(3, -1))
    )
    assert len(set(map(tuple, ranker.top_k(late, 6).items.tolist()))) == 1


def test_abilities() -> None:
    assert fit_als(mixed(), 0, dim=4, epochs=1).abilities == Abilities(True, False)
    assert fit_bpr(mixed(), 0, dim=4, epochs=1).abilities == Abilities(False, False)
