"""Popularity, ever and lately: both pass the shared suite, and count."""

import numpy as np
import pytest
from suites.ranker_suite import RankerSuite, as_new, everybody, interactions, mixed

from recsys.data.interactions import Interactions
from recsys.errors import ConfigError
from recsys.recommenders.popularity import fit_decayed_popularity, fit_popularity
from recsys.recommenders.ranker import Abilities, Ranker


class TestPopularity(RankerSuite):
    personal = False

    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_popularity(train)


def test_counts_are_scores_and_ties_go_by_number() -> None:
    train = interactions([(0, 4), (1, 4), (2, 4), (0, 2), (1, 2), (2, 1), (3, 3)], 4, 6)
    ranker = fit_popularity(train)
    found = ranker.top_k(as_new(everybody(train)), 6)
    assert found.items.tolist() == [[4, 2, 1, 3, 0, 5]] * 4
    assert found.scores[0].tolist()[:4] == [3, 2, 1, 1]
    assert (ranker.name, ranker.abilities) == ("popularity", Abilities(True, False))


class TestDecayedPopularity(RankerSuite):
    personal = False

    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_decayed_popularity(train)


@pytest.mark.parametrize("own_clocks", [False, True])
@pytest.mark.parametrize("half_life", [0.01, 0.1, 1.0])
def test_decayed_counts_by_a_plain_loop(half_life: float, own_clocks: bool) -> None:
    train = mixed()
    newest = dict.fromkeys(range(train.n_users), int(train.times.max()))
    if own_clocks:
        newest |= {int(u): int(t) for u, t in zip(train.users, train.times, strict=True)}
    rows = list(zip(train.users.tolist(), train.items.tolist(), train.times.tolist(), strict=True))
    oldest = max(newest[user] - time for user, _, time in rows)
    expected = np.zeros(train.n_items)
    for user, item, time in rows:
        expected[item] += 0.5 ** ((newest[user] - time) / oldest / half_life)
    found = fit_decayed_popularity(train, half_life=half_life, own_clocks=own_clocks).counts
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (found > 0).tolist() == (train.item_counts() > 0).tolist()


def test_what_is_new_goes_before_what_was_popular() -> None:
    train = interactions([(0, 1), (0, 2), (1, 1), (2, 1), (3, 3), (4, 3)], 5, 5)
    assert fit_popularity(train).top_k(everybody(train), 1).items[:, 0].tolist() == [1] * 5
    found = fit_decayed_popularity(train, half_life=0.1).top_k(everybody(train), 2)
    assert found.items.tolist() == [[3, 1]] * 5
    nobody = interactions([], 5, 5)
    alike = fit_decayed_popularity(nobody).top_k(everybody(nobody), 2)
    assert alike.items.tolist() == [[0, 1]] * 5


def test_a_half_life_that_float32_cannot_hold() -> None:
    with pytest.raises(ConfigError, match=r"half_life = 0\.001, expected at least 0\.01"):
        fit_decayed_popularity(mixed(), half_life=0.001)
