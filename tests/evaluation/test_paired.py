import numpy as np
import pytest

from recsys.evaluation.paired import paired_difference


def test_pairs_see_what_means_alone_do_not() -> None:
    random = np.random.default_rng(1)
    hardness = random.random(400)
    ours, theirs = hardness + 0.01 + 0.01 * random.standard_normal(400), hardness
    paired = paired_difference(ours, theirs)
    assert paired.mean == pytest.approx((ours - theirs).mean())
    assert 0 < paired.low < paired.mean < paired.high < 0.02
    unpaired = paired_difference(ours, random.permutation(theirs))
    assert unpaired.low < 0 < unpaired.high


def test_interval_is_the_normal_one_for_many_users() -> None:
    differences = np.random.default_rng(2).normal(0.1, 1.0, 2_000)
    found = paired_difference(differences, np.zeros(2_000), level=0.9)
    error = differences.std() / np.sqrt(2_000)
    assert found.low == pytest.approx(differences.mean() - 1.645 * error, abs=0.15 * error)
    assert found.high == pytest.approx(differences.mean() + 1.645 * error, abs=0.15 * error)


def test_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    found = [
        paired_difference(random.exponential(1.0, 150), np.ones(150), level=0.8) for _ in range(60)
    ]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.65 < covered < 0.95


def test_refuses_other_users() -> None:
    with pytest.raises(ValueError, match="users"):
        paired_difference(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="users"):
        paired_difference(np.zeros(0), np.zeros(0))
