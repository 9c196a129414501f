"""Chance and the logistic regression pass the shared suite, and are what they say."""

import numpy as np
from suites.contents import by_colour
from suites.ranker_suite import N_ITEMS, N_USERS, RankerSuite, checkerboard, everybody, mixed

from recsys.data.interactions import Interactions
from recsys.recommenders.baselines import BASELINES
from recsys.recommenders.floors import _examples, fit_logistic, fit_random
from recsys.recommenders.popularity import fit_decayed_popularity
from recsys.recommenders.ranker import Abilities, Ranker

BLOCKS = by_colour(N_ITEMS)


class TestRandom(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_random(train, seed)

    def test_checkerboard(self) -> None:
        """Chance knows nothing: any item may come first, and users get different ones."""
        train = checkerboard()
        first = fit_random(train, 0).top_k(everybody(train), 1).items[:, 0]
        assert len(set(first.tolist())) > N_USERS // 3


class TestLogistic(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_logistic(train, seed, blocks=BLOCKS)


class TestLogisticWithoutContent(RankerSuite):
    personal = False

    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        return fit_logistic(train, seed)


def test_chance_is_even() -> None:
    """Of 20,000 users every item is first about as often; another seed is another order."""
    train = mixed()
    scorer = fit_random(train, 0).scorer
    queries = everybody(train)
    many = type(queries)(
        np.arange(20_000, dtype=np.int32), queries.histories.take(np.zeros(20_000, dtype=np.int64))
    )
    scores = scorer.scores(many)
    first = np.bincount(scores.argmax(axis=1), minlength=N_ITEMS)
    assert abs(first - 400).max() < 5 * 20  # a binomial of mean 400 has deviation 20
    assert abs(np.corrcoef(scores[0], scores[1])[0, 1]) < 0.6
    assert abs(np.corrcoef(scores[:, 0], scores[:, 1])[0, 1]) < 0.03
    assert not np.array_equal(fit_random(train, 1).scorer.scores(many), scores)


def test_the_regression_weighs_what_decides() -> None:
    """Likeness of colour decides in a checkerboard, popularity in a log without any colours."""
    for seed in range(4):
        coloured = fit_logistic(checkerboard(), seed, blocks=BLOCKS)
        _, _, colour, noise = coloured.scorer.weights  # type: ignore[attr-defined]
        assert colour > abs(noise)
    assert coloured.abilities == Abilities(True, True)
    plain = fit_logistic(mixed(), 0)
    assert plain.scorer.weights[:2].sum() > 0  # type: ignore[attr-defined]
    assert plain.abilities == Abilities(True, False)


def test_features_by_a_plain_loop() -> None:
    """A row counts neither for its own item's popularity nor for its own likeness."""
    train = mixed()
    part = np.random.default_rng(5).standard_normal((N_ITEMS, 3))
    worth = np.stack([np.ones(len(train)), np.random.default_rng(6).random(len(train))], axis=1)
    features, taken = _examples(train, worth, [part], 2, np.random.default_rng(0))
    random = np.random.default_rng(0)
    rows = np.sort(random.permutation(len(train))[: -(-len(train) // 5)])
    drawn = random.choice(np.unique(train.items), (len(rows), 2))
    others = np.delete(np.arange(len(train)), rows)
    expected = []
    for row, negatives in zip(rows, drawn, strict=True):
        history = train.histories()[int(train.users[row])].tolist()
        for item in (int(train.items[row]), *(n for n in negatives.tolist() if n not in history)):
            popular = worth[[r for r in others if train.items[r] == item]].sum(axis=0)
            near = [part[item] @ part[other] for other in history if other != item]
            likeness = sum(near) / max(len(near), 1)
            expected.append([*np.log1p(popular), likeness, item in history])
    np.testing.assert_allclose(np.column_stack([features, taken]), expected, atol=1e-12)


def test_a_row_does_not_give_itself_away() -> None:
    """Where all items are as popular, popularity says nothing, however few rows each has."""
    train = checkerboard()
    first = fit_logistic(train, 0).scorer.plain[:, 0]  # type: ignore[attr-defined]
    assert np.ptp(first) < 1  # a log without popularity
    for seed in range(3):
        features, taken = _examples(
            train, np.ones((len(train), 2)), [], 4, np.random.default_rng(seed)
        )
        means = [features[taken == kind, 0].mean() for kind in (False, True)]
        assert abs(means[0] - means[1]) < 0.2


def test_users_with_clocks_of_their_own_are_not_compared_by_time() -> None:
    """A baseline that is told of an order within each user counts ages from the user's last row."""
    train = mixed()
    given = BASELINES["logistic"].given((), "order").fit(train, 0)
    lately = fit_decayed_popularity(train, own_clocks=True).counts
    found = given.scorer.plain[:, 1]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found, np.log1p(lately))
    assert not np.array_equal(found, fit_logistic(train, 0).scorer.plain[:, 1])  # type: ignore[attr-defined]
