"""Negatives: who is drawn, how often, and that the corrected sum is that over all items."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import ConfigError, DataError
from recsys.training.negatives import ItemSampler, accidental_hits, in_batch, mined

COUNTS = np.array([40, 0, 8, 1, 0, 21, 3, 0])
POWERS = [0.0, 0.75, 1.0]


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("n", [1, 3, 64])
def test_items_come_as_often_as_log_q_says_and_unknown_ones_never(power: float, n: int) -> None:
    sampler = ItemSampler.by_popularity(COUNTS, power)
    share = np.where(COUNTS > 0, COUNTS.astype(float) ** power, 0)
    share /= share.sum()
    random, repeats = np.random.default_rng(0), 2000
    totals = np.zeros(8)
    for _ in range(repeats):
        drawn = sampler.draw(n, random)
        times = np.bincount(drawn.items, minlength=8)
        assert drawn.items.shape == drawn.log_q.shape == (n,)
        assert (np.abs(times - n * share) < 2).all()  # one from each n-th: never far off
        np.testing.assert_allclose(np.exp(drawn.log_q), n * share[drawn.items], rtol=1e-5)
        totals += times
    assert (totals[COUNTS == 0] == 0).all()
    np.testing.assert_allclose(totals / repeats, n * share, atol=4 * np.sqrt(n / repeats / 4))


def test_a_draw_is_the_same_for_the_same_generator() -> None:
    sampler = ItemSampler.by_popularity(COUNTS, 0.5)
    one, two, other = (sampler.draw(20, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.items, two.items)
    assert one.items.dtype == np.int32
    assert (one.items != other.items).any()


def test_uniform_draws_of_part_of_a_large_catalogue_hardly_repeat_themselves() -> None:
    sampler = ItemSampler.by_popularity(np.ones(100_000, dtype=np.int64), 0.0)
    drawn = sampler.draw(10_000, np.random.default_rng(0))
    assert len(np.unique(drawn.items)) == 10_000


def test_the_last_place_stays_an_item_that_is_known() -> None:
    class AlmostOne(np.random.Generator):
        def random(self, size: int) -> NDArray[np.float64]:  # type: ignore[override]
            return np.full(size, np.nextafter(1, 0))

    sampler = ItemSampler.by_popularity(COUNTS, 0.0)
    assert sampler.draw(1000, AlmostOne(np.random.PCG64(0))).items[-1] == 6


@pytest.mark.parametrize("n", [10, 60])
def test_in_batch_sums_are_right_on_average(n: int) -> None:
    """Over many steps, sum exp(score - log_q) over a step's targets is the sum over all items."""
    sampler = ItemSampler.by_popularity(COUNTS, 1.0)
    random, sums = np.random.default_rng(1), []
    weight = np.exp(np.random.default_rng(0).normal(size=8))
    for _ in range(3000):
        targets = random.choice(8, size=40, p=COUNTS / COUNTS.sum()).astype(np.int32)
        drawn = in_batch(targets, sampler.log_share, n, random)
        assert len(np.unique(drawn.items)) == len(drawn.items)
        assert set(drawn.items.tolist()) <= set(targets.tolist())
        if n > 40:
            assert set(drawn.items.tolist()) == set(targets.tolist())
        sums.append((weight[drawn.items] * np.exp(-drawn.log_q)).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(weight[COUNTS > 0].sum(), abs=4 * error)


def test_a_target_without_training_rows_is_no_in_batch_negative() -> None:
    sampler = ItemSampler.by_popularity(COUNTS, 1.0)
    with pytest.raises(DataError, match="target 4"):
        in_batch(np.array([0, 4], dtype=np.int32), sampler.log_share, 9, np.random.default_rng(0))


def test_accidental_hits_are_those_of_the_plain_loop() -> None:
    random = np.random.default_rng(2)
    items = np.sort(random.integers(0, 30, size=40))
    rows = [random.choice(30, size=size, replace=False).tolist() for size in (0, 5, 12, 1, 0)]
    barred = accidental_hits(torch.from_numpy(items), Ragged.of(rows)).numpy()
    expected = [[int(item) in row for item in items] for row in rows]
    np.testing.assert_array_equal(barred, expected)
    assert barred.any()
    assert not barred.all(axis=0).any()


VECTORS = np.random.default_rng(5).normal(size=(12, 3)).astype(np.float32)
KNOWN = np.arange(12) != 7


class Nearest:
    """The index of these tests: the k best inner products, -1 where fewer are allowed."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, user_vectors: NDArray[np.float32], exclude: Ragged) -> NDArray[np.int64]:
        scores = user_vectors @ VECTORS.T
        scores[exclude.row_numbers, exclude.values] = -np.inf
        best = np.argsort(-scores, axis=1)[:, : self.k]
        return np.where(np.isinf(np.take_along_axis(scores, best, axis=1)), -1, best)


def test_mined_negatives_are_drawn_from_the_nearest_that_are_known_and_not_taken() -> None:
    random = np.random.default_rng(0)
    users = random.normal(size=(3, 3)).astype(np.float32)
    taken = Ragged.of([[0, 3], [], list(range(9))])  # the last user leaves 9, 10, 11
    seen: list[set[int]] = [set(), set(), set()]
    for _ in range(200):
        hard = mined(Nearest(6), users, taken, KNOWN, 4, random)
        assert hard.items.shape == hard.log_q.shape == hard.barred.shape == (3, 4)
        for row in range(3):
            own = hard.items[row][~hard.barred[row]].tolist()
            assert len(set(own)) == len(own) == min(4, len(hard.pool[row]))
            log_q = hard.log_q[row][~hard.barred[row]]
            np.testing.assert_allclose(np.exp(log_q), len(own) / len(hard.pool[row]), rtol=1e-6)
            seen[row] |= set(own)
    found = Nearest(6)(users, taken)
    for row in range(3):
        assert seen[row] == set(found[row].tolist()) - {-1, 7} == set(hard.pool[row].tolist())
    assert (hard.items[hard.barred] == 0).all()
    assert hard.barred.sum() == 1  # of the last user alone


def test_shared_and_mined_negatives_together_sum_to_all_that_was_not_taken() -> None:
    """With the pool barred among the shared ones, nothing is counted twice and nothing lost."""
    random = np.random.default_rng(3)
    users = random.normal(size=(2, 3)).astype(np.float32)
    taken = Ragged.of([[1, 2], [4]])
    counts = np.where(KNOWN, np.arange(12) + 1, 0)
    sampler = ItemSampler.by_popularity(counts, 0.75)
    exponentials = np.exp(users @ VECTORS.T)
    sums = np.zeros((3000, 2))
    for step in range(len(sums)):
        shared = sampler.draw(5, random)
        hard = mined(Nearest(4), users, taken, KNOWN, 2, random)
        items = torch.from_numpy(shared.items.astype(np.int64))
        barred = accidental_hits(items, taken.beside(hard.pool)).numpy()
        each = np.where(barred, 0, exponentials[:, shared.items] / np.exp(shared.log_q))
        own = np.take_along_axis(exponentials, hard.items, axis=1) / np.exp(hard.log_q)
        sums[step] = each.sum(axis=1) + np.where(hard.barred, 0, own).sum(axis=1)
    allowed = np.tile(KNOWN, (2, 1))
    allowed[taken.row_numbers, taken.values] = False
    error = sums.std(axis=0) / np.sqrt(len(sums))
    assert (np.abs(sums.mean(axis=0) - (exponentials * allowed).sum(axis=1)) < 4 * error).all()


def test_what_cannot_be_drawn_is_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="power = -1"):
        ItemSampler.by_popularity(COUNTS, -1)
    with pytest.raises(DataError, match="no item has training rows"):
        ItemSampler.by_popularity(np.zeros(3, dtype=np.int64), 1)
    with pytest.raises(ConfigError, match="n = 0"):
        ItemSampler.by_popularity(COUNTS, 1).draw(0, random)
    users = np.ones((1, 3), dtype=np.float32)
    with pytest.raises(ConfigError, match=r"miner found \(1, 2\)"):
        mined(Nearest(2), users, Ragged.of([[]]), KNOWN, 3, random)
