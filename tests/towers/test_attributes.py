"""Attributes in the user tower: they move vectors, absence is learnt, newcomers are like users."""

import numpy as np
import pytest
import torch

from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.towers.attributes import Attributes
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train

N_USERS, N_ITEMS = 30, 40
NOBODY = np.array([-1], dtype=np.int32)
NOTHING = Ragged.of([[]])


def make_block(seed: int = 0, absent: int = 3) -> ContentBlock:
    """Five numbers of each user, far from 0 as real ones are; the last ``absent`` lack them."""
    vectors = np.random.default_rng(seed).normal(7.0, 3.0, (N_USERS, 5)).astype(np.float32)
    present = np.arange(N_USERS) < N_USERS - absent
    vectors[~present] = 0
    return ContentBlock("person", vectors, present)


def make_towers(block: ContentBlock, **changes: object) -> TwoTower:
    config = TowersConfig.model_validate({"dim": 16, **changes})
    known = np.ones(N_ITEMS, dtype=np.bool_)
    return TwoTower(config, N_USERS, [], known, seed=0, user_blocks=[block]).eval()


def rows_of(block: ContentBlock, users: list[int]) -> list[ContentBlock]:
    return [ContentBlock(block.name, block.vectors[users], block.present[users])]


def test_inputs_are_centred_and_scaled_by_the_users_that_are_learnt_from() -> None:
    block = make_block()
    known = np.arange(N_USERS) % 2 == 0
    inputs = Attributes([block], 4, torch.from_numpy(known), dropout=0.0).eval()
    with torch.no_grad():
        inputs.get_parameter("inputs.0.missing").fill_(5.0)
        got = inputs(inputs.on_record(torch.arange(-1, N_USERS))).numpy()[1:]
    weight = inputs.get_parameter("inputs.0.project.weight").detach().numpy()
    learnt = block.vectors[known & block.present]
    centred = learnt - learnt.mean(axis=0)
    scale = np.sqrt((centred**2).sum() / len(learnt))
    for user in range(N_USERS):
        expected = weight @ ((block.vectors[user] - learnt.mean(axis=0)) / scale)
        if not block.present[user]:
            expected = np.full(4, 5.0)
        np.testing.assert_allclose(got[user], expected, atol=1e-5)


@pytest.mark.parametrize("history", [[], [4, 5]])
def test_somebody_new_with_a_user_s_attributes_gets_that_user_s_vector(history: list[int]) -> None:
    block = make_block()
    towers = make_towers(block)
    for user in (0, 11, N_USERS - 1):
        mine, asked = Ragged.of([history]), np.array([user], dtype=np.int32)
        on_record = towers.user_vectors(asked, mine)
        told = towers.user_vectors(NOBODY, mine, rows_of(block, [user]))
        np.testing.assert_array_equal(told, on_record)
    unknown = towers.user_vectors(NOBODY, mine)
    lacking = towers.user_vectors(np.array([N_USERS - 1], dtype=np.int32), mine)
    np.testing.assert_array_equal(unknown, lacking)  # both are "missing"


@pytest.mark.parametrize("user_id", [False, True])
def test_attributes_tell_something_and_their_absence_does_not(user_id: bool) -> None:
    block = make_block()
    towers = make_towers(block, user_id=user_id)
    asked = np.array([4, N_USERS - 1], dtype=np.int32)  # the second lacks them
    silent, nobody = Ragged.of([[], []]), np.full(2, -1, dtype=np.int32)
    before = towers.user_vectors(asked, silent)
    told_before = towers.user_vectors(nobody, silent, rows_of(block, asked.tolist()))
    towers.learn_average(Ragged.of([[1, 2], [3], []]))
    average = towers.average.numpy()
    after = towers.user_vectors(asked, silent)
    np.testing.assert_array_equal(after, before if user_id else [before[0], average])
    told = towers.user_vectors(nobody, silent, rows_of(block, asked.tolist()))
    np.testing.assert_array_equal(told, [told_before[0], average])
    assert np.abs(told_before[1] - average).max() > 1e-3


def test_users_told_together_are_as_told_alone() -> None:
    block = make_block()
    towers = make_towers(block)
    histories = Ragged.of([[1], [], [2, 3]])
    nobody = np.full(3, -1, dtype=np.int32)
    together = towers.user_vectors(nobody, histories, rows_of(block, [4, 29, 7]))
    for row, user in enumerate((4, 29, 7)):
        alone = towers.user_vectors(NOBODY, histories.take(np.array([row])), rows_of(block, [user]))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_in_training_a_share_is_played_as_absent_and_never_when_served() -> None:
    block = make_block(absent=0)
    inputs = Attributes([block], 4, torch.ones(N_USERS, dtype=torch.bool), dropout=0.5)
    with torch.no_grad():
        inputs.get_parameter("inputs.0.missing").fill_(100.0)
        torch.manual_seed(0)
        everybody = inputs.on_record(torch.arange(N_USERS).repeat(100))
        absent = (inputs.train()(everybody) > 50).all(dim=1).float().mean()
        assert 0.45 < float(absent) < 0.55
        assert not (inputs.eval()(everybody) > 50).any()


@pytest.mark.parametrize("prefixes", ["one", "all"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_towers_learn_what_people_of_a_kind_take(prefixes: str, shuffled: bool) -> None:
    """Users of kind 0 take even items, of kind 1 odd ones; asked about somebody without history."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 4).astype(np.int32)
    draws = [random.choice(N_ITEMS // 2, size=4, replace=False) for _ in range(N_USERS)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    rows = Interactions(users, items, np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS)
    kinds = np.arange(N_USERS) % 2
    if shuffled:
        kinds = random.permutation(kinds)
    block = ContentBlock("kind", np.eye(2, dtype=np.float32)[kinds], np.ones(N_USERS, np.bool_))
    config = TrainingConfig.model_validate(
        {"epochs": 12, "batch_size": 10, "learning_rate": 0.03, "device": "cpu"}
        | {"prefixes": prefixes, "user_dropout": 1.0}  # attributes are no part of the number
    )
    learner = Learner(make_towers(block), config)
    list(train(learner, rows, config, seed=0, until=12))
    told = ContentBlock("kind", np.eye(2, dtype=np.float32), np.ones(2, dtype=np.bool_))
    nobody = np.full(2, -1, dtype=np.int32)
    vectors = learner.towers.user_vectors(nobody, Ragged.of([[], []]), [told])
    cosines = vectors @ learner.towers.item_vectors().T
    even = np.arange(N_ITEMS) % 2 == 0
    gap = cosines[0, even].mean() - cosines[0, ~even].mean()
    gap += cosines[1, ~even].mean() - cosines[1, even].mean()
    assert (gap > 0.6) != shuffled
