"""Grown towers: who was known is as before whatever the numbers are now, newcomers begin humbly."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys.config import HistoryEncoder, TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.towers.grow import ITEM_TABLES, OF_THE_LOG, USER_TABLES, Blocks, Growth, grow
from recsys.towers.two_tower import TwoTower

N_USERS, N_ITEMS, WIDTH = 5, 9, 3
NOTHING = Blocks()
GROWTH = Growth(
    users=np.array([4, -1, 2, 0, 1, 3, -1], dtype=np.int32),
    items=np.array([-1, 8, 0, 3, -1, 2, 1, 4, 7, 6, 5, -1], dtype=np.int32),
)
ENCODERS = get_args(HistoryEncoder)
HISTORIES = Ragged.of([[1, 2, 3], [], [6, 10, 8, 9, 2, 7], [5]])  # of old items, in new numbers
USERS = np.array([3, 0, 2, -1], dtype=np.int32)


def make_towers(
    n_users: int,
    known: NDArray[np.bool_],
    blocks: Blocks = NOTHING,
    seed: int = 0,
    **settings: object,
) -> TwoTower:
    config = TowersConfig.model_validate({"dim": 8, "history": 4, **settings})
    towers = TwoTower(config, n_users, blocks.items, known, seed=seed, user_blocks=blocks.users)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in towers.parameters():  # as if learnt: nothing is at its first value
            weight.add_(0.3 * torch.randn(weight.shape, generator=random))
    return towers.eval()


def pair(
    old_blocks: Blocks = NOTHING, blocks: Blocks = NOTHING, **settings: object
) -> tuple[TwoTower, TwoTower]:
    old = make_towers(N_USERS, np.ones(N_ITEMS, dtype=np.bool_), old_blocks, seed=1, **settings)
    known = np.ones(len(GROWTH.items), dtype=np.bool_)
    return old, make_towers(len(GROWTH.users), known, blocks, seed=2, **settings)


def in_old_numbers(histories: Ragged) -> Ragged:
    return Ragged(histories.indptr, GROWTH.items[histories.values])


def assert_as_before(old: TwoTower, new: TwoTower, atol: float = 1e-5) -> None:
    was = GROWTH.items >= 0
    np.testing.assert_allclose(
        new.item_vectors()[was], old.item_vectors()[GROWTH.items[was]], atol=atol
    )
    old_users = np.where(USERS < 0, -1, GROWTH.users[USERS]).astype(np.int32)
    np.testing.assert_allclose(
        new.user_vectors(USERS, HISTORIES),
        old.user_vectors(old_users, in_old_numbers(HISTORIES)),
        atol=atol,
    )
    assert new.temperature == old.temperature


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("history_items", ["own", "shared"])
def test_who_was_known_is_as_before(encoder: str, history_items: str) -> None:
    old, new = pair(encoder=encoder, history_items=history_items, user_id=True)
    before = new.items.id.weight.detach().clone()
    assert grow(old, new, GROWTH, NOTHING, NOTHING) == {}
    assert_as_before(old, new)
    fresh = GROWTH.items < 0
    torch.testing.assert_close(new.items.id.weight[fresh], before[fresh])


def test_the_average_user_is_learnt_anew() -> None:
    old, new = pair()
    old.learn_average(in_old_numbers(HISTORIES))
    assert old.average.any()
    grow(old, new, GROWTH, NOTHING, NOTHING)
    assert not new.average.any()


def test_a_new_user_begins_as_the_unknown_one() -> None:
    old, new = pair(user_id=True)
    grow(old, new, GROWTH, NOTHING, NOTHING)
    newcomer, unknown = new.user_vectors(np.array([1, -1], dtype=np.int32), Ragged.of([[2], [2]]))
    np.testing.assert_allclose(newcomer, unknown, atol=1e-6)


def test_items_that_nothing_was_learnt_about_keep_their_first_draws() -> None:
    old, new = pair()
    old.items.known[3] = False  # number 3 now, too
    before = new.items.id.weight.detach().clone()
    grow(old, new, GROWTH, NOTHING, NOTHING)
    torch.testing.assert_close(new.items.id.weight[3], before[3])
    assert not torch.allclose(new.items.id.weight[5], before[5])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_weight_that_grows_with_the_log_is_declared(encoder: str) -> None:
    blocks = Blocks(make_block(N_ITEMS), make_block(N_USERS))
    more = Blocks(make_block(len(GROWTH.items)), make_block(len(GROWTH.users)))
    old, new = pair(blocks, more, encoder=encoder, user_id=True)
    then, now = old.state_dict(), new.state_dict()
    grown = {name for name in now if then[name].shape != now[name].shape}
    assert grown == {*ITEM_TABLES, *USER_TABLES, "items.known"}
    assert "items.known" in OF_THE_LOG


def make_block(n: int, seed: int = 0) -> tuple[ContentBlock, ...]:
    vectors = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32) + 2
    return (ContentBlock("text", vectors, np.ones(n, dtype=np.bool_)),)


def grown_block(
    old: Sequence[ContentBlock], numbers: NDArray[np.int32], turn: NDArray[np.float64]
) -> tuple[ContentBlock, ...]:
    """The same content of old ones through a linear map; one of them without."""
    vectors = old[0].vectors[numbers] @ turn + 1
    vectors[numbers < 0] = np.random.default_rng(5).normal(size=((numbers < 0).sum(), len(turn[0])))
    return (ContentBlock("text", vectors.astype(np.float32), np.ones(len(numbers), np.bool_)),)


@pytest.mark.parametrize("fusion", ["sum", "gated"])
def test_content_in_other_columns_says_what_it_said(fusion: str) -> None:
    turn = np.zeros((WIDTH, 5))
    turn[[0, 1, 2], [3, 0, 1]] = 1, 2, -1  # other places and scales, and two columns of nothing
    turn[2, 4] = 0.5
    old_blocks = Blocks(make_block(N_ITEMS), make_block(N_USERS, seed=1))
    blocks = Blocks(
        grown_block(old_blocks.items, GROWTH.items, turn),
        grown_block(old_blocks.users, GROWTH.users, turn),
    )
    old, new = pair(old_blocks, blocks, fusion=fusion)
    kept = grow(old, new, GROWTH, old_blocks, blocks)
    assert kept["text"] == pytest.approx(1, abs=1e-3)
    assert_as_before(old, new, atol=0.02)  # nearly: the map is a ridge regression


def test_the_same_content_is_taken_over_to_the_letter() -> None:
    old_blocks = Blocks(make_block(N_ITEMS))
    block = grown_block(old_blocks.items, GROWTH.items, np.eye(WIDTH))[0]
    blocks = Blocks((ContentBlock("text", block.vectors - 1, block.present),))
    old, new = pair(old_blocks, blocks)
    assert grow(old, new, GROWTH, old_blocks, blocks) == {}
    assert_as_before(old, new)


def test_other_towers_and_other_content_are_refused() -> None:
    old, new = pair()
    other = make_towers(len(GROWTH.users), new.items.known.numpy(), members=1)
    with pytest.raises(ArtifactError, match=r"members = 2, now 1.*train afresh"):
        grow(old, other, GROWTH, NOTHING, NOTHING)
    blocks = Blocks(make_block(N_ITEMS))
    with pytest.raises(ArtifactError, match=r"\[content\] \['text'\], the config names \[\]"):
        grow(old, new, GROWTH, blocks, NOTHING)
