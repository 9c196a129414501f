"""Intervals cover, draws are draws with replacement, the same seed gives the same interval."""

import numpy as np
import pytest

from recsys.probing.figures import (
    RESAMPLES,
    bootstrap,
    mean_figure,
    ratio,
    resamples,
    share_figure,
)


def test_each_resample_draws_as_many_units_as_there_are() -> None:
    counts = np.concatenate(list(resamples(7, seed=0)))
    assert counts.shape == (RESAMPLES, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.1)
    assert counts.var() == pytest.approx(6 / 7, abs=0.1)  # binomial, not a permutation


def test_large_samples_come_in_blocks_with_the_same_counts_per_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = np.concatenate(list(resamples(5, seed=3)))
    monkeypatch.setattr("recsys.probing.figures.BLOCK", 50)
    parts = list(resamples(5, seed=3))
    assert len(parts) == RESAMPLES / 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(size=2_000)
    figure = mean_figure(values, chance=0.0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert figure.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert figure.n == 2_000


def test_intervals_cover_the_truth_about_19_times_in_20() -> None:
    draw = np.random.default_rng(1)
    figures = [mean_figure(draw.exponential(size=80), seed=n) for n in range(200)]
    covered = np.mean([figure.low <= 1.0 <= figure.high for figure in figures])
    assert 0.88 <= covered <= 0.98


def test_the_interval_is_moved_by_the_bootstraps_bias_and_kept_in_bounds() -> None:
    values = np.array([0.0, 0.0, 0.0, 1.0])
    shifted = bootstrap(lambda counts: counts @ values / 4 + (counts.max(axis=1) > 1), 4)
    plain = mean_figure(values)
    assert shifted.value == plain.value == 0.25
    assert shifted.low < 0.25 < shifted.high < 1.0
    assert bootstrap(lambda counts: counts @ values / 4, 4, within=(0.2, 0.3))[1:3] == (0.2, 0.3)


def test_a_figure_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="3 units give no figure"):
        bootstrap(lambda counts: np.full(len(counts), np.nan), 3)


def test_ratio_gives_the_other_value_where_nothing_can_be_divided() -> None:
    np.testing.assert_array_equal(
        ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]), otherwise=7.0), [0.5, 7.0]
    )


@pytest.mark.parametrize("right", [0, 3, 40, 128])
def test_the_interval_of_a_share_is_wilsons(right: int) -> None:
    figure = share_figure((np.arange(128) < right).astype(np.float64), chance=0.1)
    assert (figure.value, figure.chance, figure.n) == (right / 128, 0.1, 128)
    for bound, side in ((figure.low, -1), (figure.high, 1)):
        if 0 < bound < 1:  # its definition: the value lies 1.96 deviations of the bound away
            away = 1.959964 * np.sqrt(bound * (1 - bound) / 128)
            assert bound - side * away == pytest.approx(figure.value)
    assert figure.low < figure.high  # also where all are right, or none
