"""EASE passes the shared suite; by items, by users and by its formula the scores are the same."""

import numpy as np
import pytest
from numpy.typing import NDArray
from suites.ranker_suite import RankerSuite, everybody, interactions, mixed

from recsys.data.interactions import Interactions
from recsys.errors import ConfigError, DataError
from recsys.recommenders import ease
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ease import EaseByItems, EaseByUsers, fit_ease
from recsys.recommenders.ranker import Ranker


class TestEase(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_ease(train, regularization=5.0)


def random_log(n_users: int, n_items: int) -> Interactions:
    random = np.random.default_rng(n_users)
    rows = np.argwhere(random.random((n_users, n_items)) < 0.2 / np.sqrt(np.arange(1, n_items + 1)))
    return interactions([(int(u), int(i)) for u, i in rows], n_users, n_items)


def by_formula(train: Interactions, regularization: float) -> NDArray[np.float64]:
    """Every user's scores, straight from the paper."""
    x = np.zeros((train.n_users, train.n_items))
    x[train.users, train.items] = 1
    p = np.linalg.inv(x.T @ x + regularization * np.eye(train.n_items))
    b = np.eye(train.n_items) - p @ np.diag(1 / np.diag(p))
    assert np.allclose(np.diag(b), 0)
    return x @ b


@pytest.mark.parametrize("regularization", [0.5, 5.0, 300.0])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (60, 60)])
@pytest.mark.parametrize("kind", [EaseByItems, EaseByUsers])
def test_both_ways_equal_the_formula(
    kind: type[EaseByItems] | type[EaseByUsers],
    shape: tuple[int, int],
    regularization: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ease, "COLUMNS", 7)
    train = random_log(*shape)
    matrix = train.histories().matrix(train.n_items).astype(np.float64)
    scores = kind.solve(matrix, regularization).scores(everybody(train))
    right = by_formula(train, regularization)
    assert np.abs(scores - right).max() <= 1e-5 * np.abs(right).max()


def test_a_history_unlike_any_user(monkeypatch: pytest.MonkeyPatch) -> None:
    train, strangers = random_log(40, 90), random_log(70, 90)
    matrix = train.histories().matrix(90).astype(np.float64)
    one, other = (
        kind.solve(matrix, 5.0).scores(everybody(strangers)) for kind in (EaseByItems, EaseByUsers)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_smaller_matrix_is_inverted() -> None:
    by_users, by_items = fit_ease(random_log(40, 90)), fit_ease(random_log(90, 40))
    assert isinstance(by_users.scorer, EaseByUsers)
    assert isinstance(by_items.scorer, EaseByItems)


def test_users_without_a_row_change_nothing() -> None:
    train = random_log(40, 41)
    more = interactions(
        list(zip(train.users.tolist(), train.items.tolist(), strict=True)), n_users=80, n_items=41
    )
    queries = everybody(train)
    assert isinstance(fit_ease(more).scorer, EaseByUsers)
    one, other = fit_ease(train).top_k(queries, 9), fit_ease(more).top_k(queries, 9)
    assert np.array_equal(one.items, other.items)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (0.0, -1.0):
        with pytest.raises(ConfigError, match="expected above 0"):
            fit_ease(mixed(), regularization=bad)
    monkeypatch.setattr(ease, "WIDEST", 20)
    with pytest.raises(DataError, match="29 users and 50 items, expected at most 20 of either"):
        fit_ease(mixed())


def test_it_is_a_dense_ranker() -> None:
    ranker: DenseRanker = fit_ease(mixed())
    assert ranker.name == "ease"
