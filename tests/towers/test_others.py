"""Towers for other items say of them what the trained ones would; nothing is learnt or changed."""

import numpy as np
import pytest
import torch

from recsys.config import NewcomersConfig, TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.towers.others import towers_for
from recsys.towers.two_tower import TwoTower
from recsys.training.newcomers import fit_newcomers

N_USERS, N_ITEMS, N_KNOWN = 30, 24, 20
CONFIG = TowersConfig(dim=8, members=2)
TRAINING = TrainingConfig(device="cpu")


def content(n: int, seed: int = 0) -> list[ContentBlock]:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, 5)).astype(np.float32)
    present = random.random(n) < 0.9
    return [ContentBlock("text", vectors * present[:, None], present)]


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(N_USERS, dtype=np.int32), 6)
    items = np.concatenate([random.choice(N_KNOWN, 6, replace=False) for _ in range(N_USERS)])
    items[:N_KNOWN] = np.arange(N_KNOWN)
    numbers, ones = np.arange(len(users)), np.ones(len(users), dtype=np.float32)
    rows = Interactions(users, items.astype(np.int32), numbers, ones, numbers, N_USERS, N_ITEMS)
    towers = TwoTower(CONFIG, N_USERS, content(N_ITEMS), np.arange(N_ITEMS) < N_KNOWN, seed=0)
    config = NewcomersConfig(dim=3, episodes=2, anchors=12)
    towers.newcomers = fit_newcomers(towers, rows, content(N_ITEMS), config, seed=0)
    return towers.eval()


def rows_of(blocks: list[ContentBlock], which: np.ndarray) -> list[ContentBlock]:
    return [ContentBlock(b.name, b.vectors[which], b.present[which]) for b in blocks]


def test_the_same_items_in_another_order(towers: TwoTower) -> None:
    order = np.random.default_rng(2).permutation(N_ITEMS)
    others = towers_for(towers, order, rows_of(content(N_ITEMS), order))
    assert np.allclose(others.item_vectors(), towers.item_vectors()[order], atol=1e-5)
    assert np.allclose(others.items_alone(), towers.items_alone()[order], atol=1e-5)
    places = np.argsort(order)
    users = np.arange(4, dtype=np.int32)
    past = [[0, 3], [5], [], [7, 8, 9]]
    theirs = Ragged.of([[int(places[item]) for item in one] for one in past])
    mine, right = others.user_vectors(users, theirs), towers.user_vectors(users, Ragged.of(past))
    assert np.allclose(mine, right, atol=1e-5)


def test_new_items_lie_where_cold_ones_with_their_content_do(towers: TwoTower) -> None:
    before = {name: value.clone() for name, value in towers.state_dict().items()}
    vectors, cold = towers.item_vectors(), np.arange(N_KNOWN, N_ITEMS)
    assert towers.newcomers is not None
    anchors = towers.newcomers.anchors.numpy()
    numbers = np.concatenate([np.full(len(cold), -1), anchors])
    blocks = rows_of(content(N_ITEMS), np.concatenate([cold, anchors]))
    others = towers_for(towers, numbers, blocks)
    assert np.allclose(others.item_vectors()[: len(cold)], vectors[cold], atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in towers.state_dict().items())
    assert others.users.base is towers.users.base  # shared, not copied


def test_anchors_with_other_content_are_fitted_again(towers: TwoTower) -> None:
    assert towers.newcomers is not None
    new = content(N_ITEMS, seed=9)
    others = towers_for(towers, np.arange(N_ITEMS), new)
    assert others.newcomers is not None
    kernel, identity = towers.newcomers.kernel, torch.eye(len(towers.newcomers.anchors))
    targets = []
    for one in (towers.newcomers, others.newcomers):
        anchors = one.standard(one.anchors)
        gram = kernel(anchors, anchors) + kernel.log_noise.exp() * identity
        targets.append((gram @ one.coefficients).detach().numpy())
    assert np.allclose(targets[0], targets[1], atol=1e-4)
    assert not torch.allclose(others.newcomers.coefficients, towers.newcomers.coefficients)


def test_an_item_that_newcomers_are_compared_with_cannot_be_left_out(towers: TwoTower) -> None:
    with pytest.raises(ArtifactError, match="is left out"):
        towers_for(towers, np.array([-1]), content(1))
