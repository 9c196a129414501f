"""Newcomers: unit vectors, the known items' order untouched, places as a plain regression."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.towers.factors import Factors, item_factors
from recsys.towers.newcomers import Newcomers

N_ITEMS, DIM, WIDTH = 30, 4, 6
NEW = np.arange(20, 30)
SHAPE = {"n_anchors": 20, "dim": DIM, "tower_dim": WIDTH}


def random_blocks(seed: int = 0) -> list[ContentBlock]:
    random = np.random.default_rng(seed)
    blocks = []
    for name, width in (("text", 5), ("image", 3)):
        present = random.random(N_ITEMS) < 0.9
        vectors = random.normal(1.0, 1.0, (N_ITEMS, width)).astype(np.float32) * present[:, None]
        blocks.append(ContentBlock(name, vectors, present))
    return blocks


def random_log(seed: int = 1) -> sparse.csr_matrix:
    taken = (np.random.default_rng(seed).random((40, N_ITEMS)) < 0.3).astype(np.float32)
    taken[:, NEW] = 0.0
    return sparse.csr_matrix(taken)


def placed(blocks: list[ContentBlock], gain: float, offset: float) -> tuple[Newcomers, Factors]:
    taken = random_log()
    counts = np.bincount(taken.indices, minlength=N_ITEMS)
    factors = item_factors(taken, DIM, seed=0)
    newcomers = Newcomers(
        blocks, torch.from_numpy(counts > 0), n_anchors=20, dim=DIM, tower_dim=WIDTH
    )
    newcomers.place(factors, unit_rows(N_ITEMS, 2), np.flatnonzero(counts), counts)
    newcomers.gain.fill_(gain)
    newcomers.offset.fill_(offset)
    return newcomers, factors


def unit_rows(n: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)
    scaled: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


@pytest.mark.parametrize(
    ("gain", "offset", "profile"),
    [(1.0, 0.2, 0.25), (0.3, -0.5, 1.0), (4.0, 0.0, 0.1), (0.01, 2.0, 5.0)],
)
def test_all_vectors_have_length_one_and_scores_are_on_the_scale_of_the_towers(
    gain: float, offset: float, profile: float
) -> None:
    newcomers, _ = placed(random_blocks(), gain, offset)
    newcomers.profile.fill_(profile)
    histories = Ragged.of([[0, 3], [], [5], [1, 2, 7, 19]])
    items, users = unit_rows(N_ITEMS, 2), unit_rows(4, 3)
    wide_items = newcomers.beside_items(items)
    wide_users = newcomers.beside_users(users, histories)
    for wide in (wide_items, wide_users):
        np.testing.assert_allclose(np.linalg.norm(wide, axis=1), 1.0, atol=1e-5)
    found, cosines = wide_users @ wide_items.T, users @ items[:20].T
    scale = float((found[:, :20] * cosines).sum() / (cosines * cosines).sum())
    assert scale > 0
    factors, tower = (part.numpy() for part in newcomers.places(torch.from_numpy(NEW)))
    profiles = newcomers.profiles(histories).numpy()
    expected = gain * (users @ tower.T + profile * profiles @ factors.T) + offset
    np.testing.assert_allclose(found[:, :20], cosines * scale, atol=1e-6)
    np.testing.assert_allclose(found[:, 20:], expected * scale, atol=1e-6)


def test_places_are_the_ridge_regression_of_the_kernel_computed_in_loops() -> None:
    blocks = random_blocks()
    newcomers, factors = placed(blocks, 1.0, 0.0)

    def unit(block: ContentBlock, item: int) -> NDArray[np.float64]:
        if not block.present[item]:
            return np.zeros(block.dim)
        known = [i for i in range(20) if block.present[i]]
        centred = block.vectors[item] - block.vectors[known].astype(np.float64).mean(axis=0)
        result: NDArray[np.float64] = centred / np.linalg.norm(centred)
        return result

    def kernel(one: int, two: int) -> float:
        cosines = [float(unit(block, one) @ unit(block, two)) for block in blocks]
        apart = sum(0.2 * (2 - 2 * g) for g in cosines)
        return math.exp(-apart) + sum(0.2 * g for g in cosines)

    among = np.array([[kernel(i, j) for j in range(20)] for i in range(20)])
    targets = np.hstack([factors.items, unit_rows(N_ITEMS, 2)])[:20]
    centre = targets.mean(axis=0)
    solved = np.linalg.solve(among + 5.0 * np.eye(20), targets - centre)
    for item in NEW.tolist():
        expected = centre + np.array([kernel(item, j) for j in range(20)]) @ solved
        found = torch.cat(newcomers.places(torch.tensor([item])), dim=1)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_profiles_sum_the_steps_of_a_history_and_an_average_one() -> None:
    newcomers, factors = placed(random_blocks(), 1.0, 0.0)
    counts = np.bincount(random_log().indices, minlength=N_ITEMS)
    prior = sum(counts[i] * factors.steps[i] for i in range(N_ITEMS)) / counts.sum()
    profiles = newcomers.profiles(Ragged.of([[3, 3, 25], []])).numpy()  # 25 is new: says nothing
    for profile, total in zip(profiles, (2 * factors.steps[3] + prior, prior), strict=True):
        np.testing.assert_allclose(profile, total / np.linalg.norm(total), atol=1e-5)


def test_factors_tell_taste_from_chance() -> None:
    random = np.random.default_rng(0)
    chance = sparse.csr_matrix((random.random((400, 200)) < 0.1).astype(np.float32))
    tastes = np.arange(400)[:, None] % 2 == np.arange(200)[None] % 2
    taste = sparse.csr_matrix((random.random((400, 200)) < 0.2 * tastes).astype(np.float32))
    by_chance = item_factors(chance, 8, seed=0)
    assert by_chance.shrink[1:].max() < 0.55  # the first is how much everybody takes
    by_taste = item_factors(taste, 8, seed=0)
    assert by_taste.shrink[1] > 0.75
    assert by_taste.shrink[2:].max() < 0.55
    places = by_taste.items[:, :2] / np.linalg.norm(by_taste.items[:, :2], axis=1, keepdims=True)
    cosines = places @ places.T
    alike = np.arange(200)[:, None] % 2 == np.arange(200)[None] % 2
    assert cosines[alike].mean() > cosines[~alike].mean() + 0.8


def test_a_small_log_fills_fewer_dimensions_and_items_without_rows_are_nowhere() -> None:
    taken = sparse.csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 0, 1]], dtype=np.float32))
    factors = item_factors(taken, 5, seed=0)
    assert factors.items.shape == (4, 5)
    assert not factors.items[:, 2:].any()
    assert not factors.items[2].any()
    assert factors.shrink.shape == (5,)


def test_weights_read_into_blank_newcomers_give_the_same_vectors() -> None:
    blocks = random_blocks()
    newcomers, _ = placed(blocks, 0.7, -0.1)
    blank = Newcomers(
        blocks, torch.ones(N_ITEMS, dtype=torch.bool), n_anchors=20, dim=DIM, tower_dim=WIDTH
    )
    state = newcomers.state_dict()
    assert not any("content" in name.split(".")[-1] for name in state)
    blank.load_state_dict(state)
    vectors = unit_rows(N_ITEMS, 2)
    np.testing.assert_array_equal(blank.beside_items(vectors), newcomers.beside_items(vectors))
