"""A fit ends with the average of the users that it has learnt from, and of no others."""

from pathlib import Path

import numpy as np
import pytest

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.fitting import fit_towers
from recsys.towers.item_tower import unit_vectors
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.two_tower import TwoTower

N_USERS, N_ITEMS, LENGTH = 20, 30, 6
TRAINING = TrainingConfig(epochs=2, score_every=1, batch_size=8, device="cpu")


def make_split() -> Split:
    """Of each user four rows train, one validates, one tests."""
    random, n = np.random.default_rng(0), N_USERS * LENGTH
    users = np.repeat(np.arange(N_USERS), LENGTH).astype(np.int32)
    items = np.concatenate([random.permutation(N_ITEMS)[:LENGTH] for _ in range(N_USERS)])
    ones, places = np.ones(n, dtype=np.float32), np.arange(n)
    rows = Interactions(users, items.astype(np.int32), places, ones, places, N_USERS, N_ITEMS)
    parts = np.tile([Part.TRAIN] * 4 + [Part.VALIDATION, Part.TEST], N_USERS).astype(np.int8)
    return Split("user-time", rows, parts, np.full(N_ITEMS, Part.TRAIN, dtype=np.int8))


def average_of(towers: TwoTower, rows: Interactions) -> np.ndarray:
    vectors = towers.user_vectors(np.full(N_USERS, -1, dtype=np.int32), rows.histories())
    mean = towers.average.new_tensor(vectors.mean(axis=0))
    average: np.ndarray = unit_vectors(mean[None], towers.config.members)[0].numpy()
    return average


@pytest.mark.parametrize("refit", [True, False])
def test_the_average_is_of_the_rows_that_are_learnt_from(refit: bool, tmp_path: Path) -> None:
    split = make_split()
    towers = fit_towers(split, (), TowersConfig(dim=8), TRAINING, seed=0, refit=refit).towers
    nobody, nothing = np.array([-1], dtype=np.int32), split.log.histories().take(np.array([-1]))
    (served,) = towers.user_vectors(nobody, nothing)
    np.testing.assert_allclose(served, average_of(towers, split.learnable(refit=refit)), atol=1e-6)
    for others in (split.learnable(refit=not refit), split.log):
        assert np.abs(served - average_of(towers, others)).max() > 1e-5
    save_towers(towers, tmp_path)
    (again,) = load_towers(tmp_path, ()).user_vectors(nobody, nothing)
    np.testing.assert_array_equal(again, served)
