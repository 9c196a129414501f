"""What both towers promise: unit vectors, honest gaps, order, and no padding."""

import numpy as np
import pytest
import torch

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.two_tower import TwoTower

N_USERS, N_ITEMS, WIDTH = 5, 9, 6


def make_block(seed: int = 0) -> ContentBlock:
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(N_ITEMS, WIDTH)) + 3).astype(np.float32)
    present = np.ones(N_ITEMS, dtype=np.bool_)
    present[[2, 5]] = False
    vectors[~present] = 0
    return ContentBlock("text", vectors, present)


def make_towers(**settings: object) -> TwoTower:
    config = TowersConfig.model_validate({"dim": 8, "history": 4, **settings})
    return TwoTower(config, N_USERS, [make_block()], np.ones(N_ITEMS, dtype=np.bool_), seed=3)


HISTORIES = Ragged.of([[1, 2, 3], [], [4], [0, 1, 2, 3, 4, 5, 6]])
USERS = np.array([0, -1, 2, 4], dtype=np.int32)


@pytest.mark.parametrize("user_id", [False, True])
def test_all_vectors_have_length_one(user_id: bool) -> None:
    towers = make_towers(user_id=user_id)
    for vectors in (towers.item_vectors(), towers.user_vectors(USERS, HISTORIES)):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("user_id", [False, True])
def test_a_block_of_users_is_as_users_one_by_one(user_id: bool) -> None:
    towers = make_towers(user_id=user_id)
    together = towers.user_vectors(USERS, HISTORIES)
    for row in range(len(USERS)):
        alone = towers.user_vectors(USERS[row : row + 1], HISTORIES.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_the_mean_of_a_history_is_the_plain_loop() -> None:
    towers = make_towers(history=3, speeds=2)
    user = towers.users
    got = towers.user_vectors(USERS, HISTORIES)
    for row in range(len(USERS)):
        total = user.base.detach().clone()
        items = HISTORIES[row].tolist()[-3:]
        for speed, linear in enumerate(user.maps):
            rate = float(user.log_rates.detach()[speed].exp())
            weights = [np.exp(-rate * age) for age in range(len(items))][::-1]
            mean = torch.zeros(8)
            for item, weight in zip(items, weights, strict=True):
                mean += user.history.weight[item].detach() * (weight / sum(weights))
            total = total + linear(mean).detach()
        expected = (total / total.norm()).numpy()
        np.testing.assert_allclose(got[row], expected, atol=1e-5)


def test_the_order_of_a_history_counts_and_what_is_too_old_does_not() -> None:
    towers = make_towers(history=3)
    one = np.array([0], dtype=np.int32)
    straight = towers.user_vectors(one, Ragged.of([[1, 2, 3]]))
    turned = towers.user_vectors(one, Ragged.of([[3, 2, 1]]))
    longer = towers.user_vectors(one, Ragged.of([[7, 8, 1, 2, 3]]))
    assert np.abs(straight - turned).max() > 1e-3
    np.testing.assert_allclose(straight, longer, atol=1e-6)


def test_users_without_a_number_share_one_vector_and_differ_by_history() -> None:
    towers = make_towers(user_id=True)
    unknown = np.array([-1, -1], dtype=np.int32)
    same = towers.user_vectors(unknown, Ragged.of([[1], [1]]))
    other = towers.user_vectors(unknown, Ragged.of([[1], [2]]))
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(other[0] - other[1]).max() > 1e-3


def test_missing_content_is_learnt_not_taken_for_zeros() -> None:
    """What stands in the vector of an absent item does not matter; the missing token does."""
    towers = make_towers()
    before = towers.item_vectors()
    content = towers.items.contents[0]
    content.content[2] = 77.0  # type: ignore[index, operator]
    np.testing.assert_array_equal(towers.item_vectors(), before)
    with torch.no_grad():
        content.missing += 1.0  # type: ignore[operator]
    changed = np.abs(towers.item_vectors() - before).max(axis=1) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(changed), [2, 5])


def test_statistics_come_from_the_items_that_are_learnt_from() -> None:
    known = np.array([True] * 6 + [False] * 3)
    block = make_block()
    towers = TwoTower(TowersConfig(dim=8), N_USERS, [block], known, seed=0)
    mean = block.vectors[known & block.present].mean(axis=0)
    np.testing.assert_allclose(towers.items.contents[0].mean, mean, rtol=1e-5)


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = make_towers(), make_towers()
    assert torch.rand(1) == expected
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(weight, second.state_dict()[name], rtol=0, atol=0)


def test_saved_towers_give_the_same_vectors(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("towers")
    towers = make_towers(user_id=True)
    save_towers(towers, folder)
    loaded = load_towers(folder, [make_block()])
    np.testing.assert_array_equal(loaded.item_vectors(), towers.item_vectors())
    np.testing.assert_array_equal(
        loaded.user_vectors(USERS, HISTORIES), towers.user_vectors(USERS, HISTORIES)
    )
    with pytest.raises(ArtifactError, match="content of widths"):
        load_towers(folder, [])
    (folder / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        load_towers(folder, [make_block()])
