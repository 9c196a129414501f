import numpy as np
import pytest

from recsys.content.numeric import BUMPS, CLIP, NumberEncoder
from recsys.errors import DataError

WIDTH = 1 + BUMPS


def test_standard_score_of_what_is_there() -> None:
    rows = [(1990.0,), (2000.0,), (np.nan,), (2010.0,)]
    vectors, present, *_ = NumberEncoder.fit(rows).encode(rows)
    expected = np.array([-10, 0, 0, 10]) / np.std([1990, 2000, 2010])
    np.testing.assert_allclose(vectors[:, 0], expected, rtol=1e-6)
    assert present.tolist() == [True, True, False, True]
    assert not vectors[2].any()


def test_bumps_follow_quantiles() -> None:
    rng = np.random.default_rng(3)
    column = np.exp(3 * rng.standard_normal(8_000))  # skewed: quantiles, not equal widths
    vectors, *_ = NumberEncoder.fit([(x,) for x in column]).encode([(x,) for x in column])
    nearest = vectors[:, 1:].argmax(axis=1)
    assert np.bincount(nearest, minlength=BUMPS).tolist() == [1_000] * BUMPS
    assert (np.diff(nearest[np.argsort(column)]) >= 0).all()


def test_bumps_are_the_same_from_either_end() -> None:
    column = np.array([1.0, 1, 1, 2, 5, 5, 9])
    up, *_ = NumberEncoder.fit([(x,) for x in column]).encode([(x,) for x in column])
    down, *_ = NumberEncoder.fit([(-x,) for x in column]).encode([(-x,) for x in column])
    np.testing.assert_allclose(up[:, 1:], down[:, :0:-1], atol=1e-6)


def test_a_tower_can_like_the_middle_only() -> None:
    rows = [(float(year),) for year in range(1900, 2000)]
    vectors, *_ = NumberEncoder.fit(rows).encode(rows)
    liked = np.array([1940 <= year < 1960 for (year,) in rows], dtype=float)

    def residual(features: np.ndarray) -> float:
        features = np.column_stack([features, np.ones(len(rows))])
        weights = np.linalg.lstsq(features, liked, rcond=None)[0]
        return float(np.square(features @ weights - liked).mean() / liked.var())

    assert residual(vectors[:, :1]) > 0.95  # the year alone cannot say it
    assert residual(vectors) < 0.2


def test_values_outside_and_outliers_stay_small() -> None:
    rows = [(float(x),) for x in range(1_000)] + [(1e12,)]
    vectors, *_ = NumberEncoder.fit(rows).encode([(-1e12,), (1e12,)])
    assert np.isfinite(vectors).all() and np.abs(vectors).max() <= CLIP


def test_columns_stand_side_by_side() -> None:
    rows = [(1.0, 5.0), (np.nan, 7.0), (3.0, np.nan), (np.nan, np.nan)]
    encoder = NumberEncoder.fit(rows)
    vectors, present, *_ = encoder.encode(rows)
    assert encoder.dim == 2 * WIDTH == vectors.shape[1]
    assert present.tolist() == [True, True, True, False]
    assert not vectors[1, :WIDTH].any() and vectors[1, WIDTH:].any()
    assert vectors[2, :WIDTH].any() and not vectors[2, WIDTH:].any()


def test_a_constant_column_is_finite() -> None:
    vectors, *_ = NumberEncoder.fit([(4.0,), (4.0,)]).encode([(4.0,)])
    assert np.isfinite(vectors).all() and vectors[0, 0] == 0


def test_an_empty_column_is_refused() -> None:
    with pytest.raises(DataError, match="column 2 of 2 is empty"):
        NumberEncoder.fit([(1.0, np.nan), (2.0, np.nan)])


def test_the_name_tells_fits_apart() -> None:
    names = {NumberEncoder.fit([(1.0,), (x,)]).name for x in (2.0, 2.0, 3.0)}
    assert len(names) == 2
