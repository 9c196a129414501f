"""What both towers promise: unit vectors, honest gaps, order, and no padding."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.towers.histories import Histories, Places
from recsys.towers.item_tower import cut_members
from recsys.towers.means import Means
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


ENCODERS = ["means", "attention", "gru", "transformer", ("gru", "means")]  # the last: a member each


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("user_id", [False, True])
def test_all_vectors_have_length_one(user_id: bool, encoder: str | tuple[str, ...]) -> None:
    towers = make_towers(user_id=user_id, encoder=encoder)
    for vectors in (towers.item_vectors(), towers.user_vectors(USERS, HISTORIES)):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("history_items", ["own", "shared"])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("user_id", [False, True])
def test_a_block_of_users_is_as_users_one_by_one(
    user_id: bool, encoder: str | tuple[str, ...], history_items: str
) -> None:
    towers = make_towers(user_id=user_id, encoder=encoder, history_items=history_items)
    together = towers.user_vectors(USERS, HISTORIES)
    for row in range(len(USERS)):
        alone = towers.user_vectors(USERS[row : row + 1], HISTORIES.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


@pytest.mark.parametrize("history_items", ["own", "shared"])
@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_places_are_users_who_had_taken_only_so_much(
    encoder: str | tuple[str, ...], history_items: str
) -> None:
    """What training asks of every prefix at once is what serving answers to each."""
    towers = make_towers(user_id=True, encoder=encoder, history_items=history_items).eval()
    histories = HISTORIES.last(4)
    rows = np.concatenate([[0, 1, 2, 3], histories.row_numbers])
    newest = np.concatenate([[-1] * 4, np.arange(len(histories.values))])
    places = Places(torch.from_numpy(rows), torch.from_numpy(newest))
    numbers = torch.from_numpy(USERS).long()
    on_cpu = Histories.of(histories, numbers.device)
    got = towers.queries(numbers, on_cpu, towers.items(), places).numpy()
    prefixes = [
        histories.values[histories.indptr[row] : end + 1].tolist() if end >= 0 else []
        for row, end in zip(rows, newest, strict=True)
    ]
    expected = towers.user_vectors(USERS[rows], Ragged.of(prefixes))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_each_member_is_read_by_its_own_encoder() -> None:
    """A member's part is the same beside another kind of encoder, wherever in the vector it is."""
    towers = make_towers(members=4, encoder=("gru", "means", "gru", "attention"))
    with torch.no_grad():
        for encoder in towers.users.encoders:
            for weight in encoder.parameters():
                weight.add_(torch.randn(weight.shape), alpha=0.1)
    before = towers.user_vectors(USERS, HISTORIES)
    parts = {0: slice(0, 2), 1: slice(2, 4), 2: slice(4, 6), 3: slice(6, 8)}
    for encoder, members in zip(towers.users.encoders, ([0, 2], [1], [3]), strict=True):
        with torch.no_grad():
            for weight in encoder.parameters():
                weight.add_(0.5)
        after = towers.user_vectors(USERS, HISTORIES)
        changed = [m for m, part in parts.items() if (after != before)[:, part].any()]
        assert changed == members
        before = after


def test_the_temperature_stays_where_the_loss_can_be_summed() -> None:
    towers = make_towers(temperature=0.01)
    with torch.no_grad():
        towers.log_scale.add_(3.0)
    towers.limit_temperature()
    assert towers.temperature == pytest.approx(0.01)
    with torch.no_grad():
        towers.log_scale.sub_(1.0)
    towers.limit_temperature()
    assert towers.temperature == pytest.approx(0.01 * math.e)
    with pytest.raises(ValidationError, match="temperature"):
        make_towers(temperature=0.009)


@pytest.mark.parametrize("members", [1, 2])
def test_the_mean_of_a_history_is_the_plain_loop(members: int) -> None:
    towers = make_towers(history=3, speeds=2, members=members)
    user, width = towers.users, 8 // members
    got = towers.user_vectors(USERS, HISTORIES)
    (encoder,) = user.encoders
    assert isinstance(encoder, Means)
    assert user.history is not None
    table, maps = user.history.weight.detach(), encoder.maps.detach()
    for row in range(len(USERS)):
        items = HISTORIES[row].tolist()[-3:]
        for member in range(members):
            part = slice(member * width, (member + 1) * width)
            total = user.base.detach()[part].clone()
            for speed in range(2):
                rate = float(encoder.log_rates.detach()[speed].exp())
                prior = float(encoder.log_priors.detach()[speed].exp())
                weights = [math.exp(-rate * age) for age in range(len(items))][::-1]
                mean = torch.zeros(width)
                for item, weight in zip(items, weights, strict=True):
                    mean += table[item, part] * (weight / (sum(weights) + prior))
                total += mean @ maps[speed, member]
            expected = total / total.norm() / math.sqrt(members)
            np.testing.assert_allclose(got[row, part], expected.numpy(), atol=1e-5)


def test_the_cosine_is_the_mean_of_the_members_scores() -> None:
    towers = make_towers(members=4).eval()
    cosines = towers.user_vectors(USERS, HISTORIES) @ towers.item_vectors().T
    histories = Histories.of(HISTORIES.last(4), torch.device("cpu"))
    with torch.no_grad():
        queries = cut_members(towers.queries(torch.from_numpy(USERS).long(), histories), 4)
        items = cut_members(towers.items(), 4)
    each = torch.nn.functional.cosine_similarity(queries[:, None], items[None], dim=-1)
    assert each.shape == (len(USERS), N_ITEMS, 4)
    np.testing.assert_allclose(cosines, each.mean(dim=-1).numpy(), atol=1e-6)


def test_a_member_learns_from_its_own_loss_alone() -> None:
    """The scores of one member do not depend on what another member is made of."""
    towers = make_towers(members=2).eval()
    before = towers.item_vectors()
    with torch.no_grad():
        towers.items.id.weight[:, 4:] += 1.0
    after = towers.item_vectors()
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    assert np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-3


@pytest.mark.parametrize("encoder", ["means", "attention"])
def test_items_are_dropped_whole_in_training_only(encoder: str) -> None:
    towers = make_towers(item_dropout=0.9, history_dropout=0.0, encoder=encoder)
    histories = Histories.of(Ragged.of([[1, 2, 3]] * 500), torch.device("cpu"))
    users = torch.full((500,), -1)
    towers.train()
    torch.manual_seed(0)
    drawn = towers.queries(users, histories).detach()
    nothing = towers.queries(users[:1], Histories.of(Ragged.of([[]]), users.device)).detach()
    shares = torch.isclose(drawn, nothing, atol=1e-6).all(dim=1)
    assert 0.6 < float(shares.float().mean()) < 0.85, "0.9 ** 3 of the histories lose all"
    towers.eval()
    assert len(torch.unique(towers.queries(users, histories).detach(), dim=0)) == 1


def test_the_order_of_a_history_counts_and_what_is_too_old_does_not() -> None:
    towers = make_towers(history=3)
    one = np.array([0], dtype=np.int32)
    straight = towers.user_vectors(one, Ragged.of([[1, 2, 3]]))
    turned = towers.user_vectors(one, Ragged.of([[3, 2, 1]]))
    longer = towers.user_vectors(one, Ragged.of([[7, 8, 1, 2, 3]]))
    assert np.abs(straight - turned).max() > 1e-3
    np.testing.assert_allclose(straight, longer, atol=1e-6)


def test_members_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="dim = 9 cannot be cut into members = 2"):
        TowersConfig(dim=9)


def test_heads_must_divide_the_width_of_a_member_only_in_a_transformer() -> None:
    with pytest.raises(ValidationError, match=r"heads = 3 of a transformer .* width of 8"):
        TowersConfig(dim=16, heads=3, encoder=("transformer",))
    assert TowersConfig(dim=16, heads=3, encoder=("attention",)).heads == 3


def test_users_without_a_number_share_one_vector_and_differ_by_history() -> None:
    towers = make_towers(user_id=True)
    unknown = np.array([-1, -1], dtype=np.int32)
    same = towers.user_vectors(unknown, Ragged.of([[1], [1]]))
    other = towers.user_vectors(unknown, Ragged.of([[1], [2]]))
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(other[0] - other[1]).max() > 1e-3


@pytest.mark.parametrize("user_id", [False, True])
def test_whoever_nothing_is_known_of_is_the_average_user(user_id: bool) -> None:
    towers = make_towers(user_id=user_id, members=2)
    before = towers.user_vectors(USERS, HISTORIES)
    towers.learn_average(HISTORIES)
    unknown = np.full(3, -1, dtype=np.int32)
    some = HISTORIES.take(np.flatnonzero(HISTORIES.lengths))
    mean = towers.user_vectors(unknown, some).reshape(3, 2, -1).mean(axis=0)
    expected = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).ravel() / np.sqrt(2)
    after = towers.user_vectors(USERS, HISTORIES)
    np.testing.assert_allclose(after[1], expected, atol=1e-6)
    assert not np.allclose(before[1], after[1], atol=1e-3)
    np.testing.assert_array_equal(np.delete(after, 1, axis=0), np.delete(before, 1, axis=0))
    (numbered,) = towers.user_vectors(np.array([3], dtype=np.int32), Ragged.of([[]]))
    assert np.allclose(numbered, expected, atol=1e-6) == (not user_id), "a number tells something"


def test_missing_content_is_learnt_not_taken_for_zeros() -> None:
    """What stands in the vector of an absent item does not matter; the missing token does."""
    towers = make_towers()
    before = towers.item_vectors()
    content = towers.items.contents[0]
    content.get_buffer("content")[2] = 77.0
    np.testing.assert_array_equal(towers.item_vectors(), before)
    with torch.no_grad():
        content.get_parameter("missing").add_(1.0)
    changed = np.abs(towers.item_vectors() - before).max(axis=1) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(changed), [2, 5])


def test_statistics_come_from_the_items_that_are_learnt_from() -> None:
    known = np.array([True] * 6 + [False] * 3)
    block = make_block()
    towers = TwoTower(TowersConfig(dim=8), N_USERS, [block], known, seed=0)
    mean = block.vectors[known & block.present].mean(axis=0)
    got = towers.items.contents[0].get_buffer("mean").numpy()
    np.testing.assert_allclose(got, mean, rtol=1e-5)


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


def test_gradients_are_finite_when_forgetting_is_fast_and_the_newest_items_are_dropped() -> None:
    """The shares of far older items underflow; their sum must not be divided by."""
    towers = make_towers(history=60, item_dropout=0.9, speeds=1)
    with torch.no_grad():
        encoder = towers.users.encoders[0]
        assert isinstance(encoder, Means)
        encoder.log_rates[:] = math.log(8)  # exp(-8 age) underflows from age 12 on
    histories = Histories.of(
        Ragged.of([[n % N_ITEMS for n in range(60)]] * 200), torch.device("cpu")
    )
    towers.train()
    torch.manual_seed(0)
    towers.queries(torch.full((200,), -1), histories)[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    for name, weight in towers.users.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name


def test_items_without_rows_and_content_cannot_be_scored() -> None:
    known = np.ones(N_ITEMS, dtype=np.bool_)
    known[[2, 8]] = False
    towers = TwoTower(TowersConfig(dim=8), N_USERS, [make_block()], known, seed=0)
    assert np.flatnonzero(~towers.items.scorable.numpy()).tolist() == [2], "8 has content"
