"""Intervals and tests: against plain loops, enumeration and simulated data of known truth."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.evaluation.certainty import (
    Certainty,
    Measured,
    certainty,
    draws_for,
    holm,
    user_weights,
)

Values = NDArray[np.float64]


def of(models: Mapping[str, list[Values]]) -> Measured:
    """Measured values of one metric ``"m"``: model -> values ``(u,)`` of each seed."""
    return {
        model: {seed: {"m": v} for seed, v in enumerate(values)} for model, values in models.items()
    }


def judged(models: Mapping[str, list[Values]], draws: int = 2_000, seed: int = 0) -> Certainty:
    return certainty(of(models), ["m"], draws=draws, seed=seed)["m"]


def test_weights_count_how_often_each_user_was_drawn_whatever_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = np.random.default_rng(5).integers(7, size=(40, 7))
    plain = [[sum(int(user == who) for user in row) for who in range(7)] for row in drawn]
    assert np.concatenate(list(user_weights(7, 40, 5))).tolist() == plain
    monkeypatch.setattr("recsys.evaluation.certainty.BLOCK", 7 * 6)
    assert len(list(user_weights(7, 40, 5))) == 7
    assert np.concatenate(list(user_weights(7, 40, 5))).tolist() == plain


def test_interval_of_one_seed_is_the_percentile_bootstrap_in_plain_loops() -> None:
    values = np.random.default_rng(0).random(30)
    random = np.random.default_rng(9)
    means = sorted(
        float(np.mean([values[u] for u in random.integers(30, size=30)])) for _ in range(400)
    )
    found = judged({"a": [values]}, draws=400, seed=9).intervals["a"]
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(np.quantile(means, 0.025))
    assert found.high == pytest.approx(np.quantile(means, 0.975))


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for number in range(300):
        users = random.beta(0.5, 2.0, 150)  # skewed, as NDCG is; its mean is .2
        found = judged({"a": [users]}, draws=400, seed=number).intervals["a"]
        covered += found.low <= 0.2 <= found.high
    assert 0.92 <= covered / 300 <= 0.97


def test_interval_with_seeds_covers_the_truth_where_users_alone_would_not() -> None:
    random = np.random.default_rng(4)
    with_seeds = one_seed = 0
    for number in range(300):
        users, seeds = random.normal(0, 1, 100), random.normal(0, 0.1, 8)
        values = [users + shift + random.normal(0, 0.3, 100) for shift in seeds]
        both = judged({"a": values}, draws=400, seed=number).intervals["a"]
        alone = judged({"a": [np.mean(values, axis=0)]}, draws=400, seed=number).intervals["a"]
        with_seeds += both.low <= 0 <= both.high
        one_seed += alone.high - alone.low < both.high - both.low
    assert 0.92 <= with_seeds / 300 <= 0.97
    assert one_seed > 270


def test_spread_of_seeds_is_the_unbiased_one() -> None:
    """Users are all alike: what is left is the standard error of the seeds' mean."""
    shifts = np.random.default_rng(6).normal(0.5, 0.1, 40)
    found = judged({"a": [np.full(20, shift) for shift in shifts]}, draws=20_000).intervals["a"]
    error = shifts.std(ddof=1) / np.sqrt(40)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.04)
    two = judged({"a": [np.full(20, 0.4), np.full(20, 0.6)]}).intervals["a"]
    assert (two.low, two.high) == pytest.approx((0.5 - 0.2 / np.sqrt(2), 0.5 + 0.2 / np.sqrt(2)))


def test_pairs_see_what_means_alone_do_not() -> None:
    random = np.random.default_rng(1)
    hard = random.random(400)
    found = judged({"a": [hard + 0.01 + 0.01 * random.standard_normal(400)], "b": [hard]})
    assert found.verdicts("b") == {"a": "better"}
    assert found.verdicts("a") == {"b": "worse"}
    assert judged({"a": [hard + 0.01], "b": [random.permutation(hard)]}).verdicts("b") == {
        "a": "cannot tell"
    }
    (constant,) = judged({"a": [hard + 0.01], "b": [hard]}).pairs
    assert constant.difference == pytest.approx((0.01, 0.01, 0.01))
    (turned,) = judged({"b": [hard], "a": [hard + 0.01]}).against("b").values()
    assert turned.difference == pytest.approx((0.01, 0.01, 0.01))
    assert (turned.ours, turned.theirs) == ("a", "b")


def test_what_seeds_have_in_common_cancels_out_of_a_difference() -> None:
    """Served and exact lists of the same towers: a lucky seed is lucky for both."""
    random = np.random.default_rng(2)
    shifts, users = random.normal(0, 0.5, 5), random.random(200)
    a = [users + shift for shift in shifts]
    (pair,) = judged({"a": a, "b": [values - 0.001 for values in a]}).pairs
    assert pair.difference == pytest.approx((0.001, 0.001, 0.001))


def test_the_same_lists_are_called_the_same() -> None:
    values = np.random.default_rng(0).random(50)
    (pair,) = judged({"a": [values], "b": [values.copy()]}).pairs
    assert (pair.p, pair.holm, pair.wilcoxon, pair.verdict()) == (1.0, 1.0, 1.0, "same")
    values[:2] = values[:2][::-1]  # the same mean, but not of the same users
    (pair,) = judged({"a": [values], "b": [np.roll(values, 1)]}).pairs
    assert pair.verdict() == "cannot tell"


def test_p_is_small_just_where_the_interval_leaves_out_zero() -> None:
    random = np.random.default_rng(7)
    told = set()
    for number in range(80):
        values = random.normal(0.2, 1.0, 80)
        (pair,) = judged({"a": [values], "b": [np.zeros(80)]}, draws=999, seed=number).pairs
        outside = not pair.difference.low <= 0 <= pair.difference.high
        if abs(pair.p - 0.05) > 0.005:  # quantiles of 999 draws fall between two of them
            assert (pair.p <= 0.05) == outside
        told.add(outside)
    assert told == {True, False}


def test_equal_models_are_seldom_called_different() -> None:
    random = np.random.default_rng(8)
    wrong = 0
    for number in range(100):
        models = {name: [random.random(60)] for name in "abcd"}
        found = judged(models, draws=400, seed=number)
        wrong += any(pair.verdict() != "cannot tell" for pair in found.pairs)
    assert wrong / 100 <= 0.08  # of six pairs each; without Holm it would be some .2
    assert len(found.pairs) == 6


def test_one_reference_is_corrected_for_its_own_pairs_only() -> None:
    random = np.random.default_rng(10)
    models = {name: [random.normal(0.1 * n, 1.0, 200)] for n, name in enumerate("abcde")}
    found = judged(models)
    everything = {frozenset(pair[:2]): pair for pair in found.pairs}
    assert [pair.holm for pair in found.pairs] == holm([pair.p for pair in found.pairs])
    for reference in "ac":
        against = found.against(reference)
        p = {m: everything[frozenset((m, reference))] for m in set("abcde") - {reference}}
        assert set(against) == set(p)
        alone = holm([p[model].p for model in against])
        assert [pair.holm for pair in against.values()] == alone
        ranks = holm([p[model].wilcoxon for model in against])
        assert [pair.wilcoxon_holm for pair in against.values()] == ranks
        assert all(pair.holm <= p[model].holm for model, pair in against.items())


def test_fewer_draws_of_many_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval stays where it was, within what the fewer draws allow."""
    sizes = (1, 20_000, 100_000, 200_000, 10_000_000)
    assert [draws_for(n) for n in sizes] == [10_000, 10_000, 2_000, 1_000, 1_000]
    values = np.random.default_rng(1).random(400)
    (many,) = certainty(of({"a": [values]}), ["m"])["m"].intervals.values()
    monkeypatch.setattr("recsys.evaluation.certainty.MOST_DRAWN", 400_000)
    few = certainty(of({"a": [values]}), ["m"])["m"]
    assert few.draws == 1_000
    assert few.intervals["a"].low - many.mean == pytest.approx(many.low - many.mean, rel=0.15)
    assert few.intervals["a"].high - many.mean == pytest.approx(many.high - many.mean, rel=0.15)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_signed_rank_is_that_of_all_signs() -> None:
    values = np.array([0.3, -0.1, 0.5, 0.7, -0.2, 0.9, 1.1])
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    centre = ranks.sum() / 2
    off = abs(ranks[values > 0].sum() - centre)
    sums = [np.dot(ranks, signs) for signs in product((0, 1), repeat=7)]
    exact = np.mean([abs(total - centre) >= off for total in sums])
    (pair,) = judged({"a": [values], "b": [np.zeros(7)]}).pairs
    assert pair.wilcoxon == pytest.approx(exact)


def test_refuses_other_users() -> None:
    with pytest.raises(ValueError, match="users"):
        judged({"a": [np.zeros(3)], "b": [np.zeros(4)]})
    with pytest.raises(ValueError, match="users"):
        judged({"a": [np.zeros(0)]})
    with pytest.raises(ValueError, match="level"):
        certainty(of({"a": [np.zeros(3)]}), ["m"], level=1.0)


def test_models_with_equal_values_take_no_place_in_the_correction() -> None:
    random = np.random.default_rng(3)
    ours, theirs = random.random(200), random.random(200)
    measured = {
        name: {0: {"ndcg@10": values}}
        for name, values in (("a", ours), ("b", theirs), ("a again", ours), ("and again", ours))
    }
    of_all = certainty(measured, ["ndcg@10"])["ndcg@10"].against("a")
    of_two = certainty({m: measured[m] for m in ("a", "b")}, ["ndcg@10"])["ndcg@10"].against("a")
    assert of_all["b"].holm == of_two["b"].holm == of_two["b"].p
    assert of_all["a again"].verdict() == "same"
