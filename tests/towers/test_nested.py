"""Vectors that can be cut: what the loss compares, what is handed out, newcomers and the disk."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from recsys.config import Config, NewcomersConfig, TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.towers.narrowed import narrowed
from recsys.towers.nested import beginnings, nested_parts
from recsys.towers.others import towers_for
from recsys.towers.rating import RatingBaseline
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train
from recsys.training.newcomers import fit_newcomers

N_USERS, N_ITEMS, N_KNOWN = 60, 50, 40
SHAPE = TowersConfig(dim=16, members=2, nested=(4, 8))


def make_rows() -> Interactions:
    """Users of five groups like items of theirs; the last ten items are nobody's."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 6).astype(np.int32)
    own = [random.choice(N_KNOWN // 5, 6, replace=False) * 5 + user % 5 for user in range(N_USERS)]
    n = len(users)
    ratings = random.integers(1, 6, n).astype(np.float32)
    items = np.concatenate(own).astype(np.int32)
    return Interactions(users, items, np.arange(n), ratings, np.arange(n), N_USERS, N_ITEMS)


def make_block() -> ContentBlock:
    groups = np.eye(5, dtype=np.float32)[np.arange(N_ITEMS) % 5]
    noise = np.random.default_rng(1).normal(0, 0.1, (N_ITEMS, 5)).astype(np.float32)
    return ContentBlock("group", groups + noise, np.ones(N_ITEMS, dtype=np.bool_))


def trained(shape: TowersConfig, *, newcomers: bool = False, epochs: int = 12) -> TwoTower:
    rows, blocks = make_rows(), (make_block(),) if newcomers else ()
    known, ratings = rows.item_counts() > 0, RatingBaseline.of(rows)
    towers = TwoTower(shape, N_USERS, blocks, known, seed=0, ratings=ratings)
    config = TrainingConfig(epochs=epochs, batch_size=16, learning_rate=0.02, device="cpu")
    for _ in train(Learner(towers, config), rows, config, seed=0, until=epochs):
        pass
    towers.eval().learn_average(rows.histories())
    if newcomers:
        placing = NewcomersConfig(dim=4, episodes=2)
        towers.newcomers = fit_newcomers(towers, rows, blocks, placing, seed=0)
    return towers


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    return trained(SHAPE, newcomers=True)


def scores(towers: TwoTower) -> NDArray[np.float32]:
    users = np.arange(N_USERS, dtype=np.int32)
    products: NDArray[np.float32] = (
        towers.user_vectors(users, make_rows().histories()) @ towers.item_vectors().T
    )
    return products


def own_group(towers: TwoTower, items: slice) -> float:
    """The share of users whose best item among some is of their group."""
    best = scores(towers)[:, items].argmax(axis=1) + (items.start or 0)
    return float((best % 5 == np.arange(N_USERS) % 5).mean())


def random_units(n: int, dim: int, members: int) -> NDArray[np.float32]:
    parts = np.random.default_rng(n).normal(size=(n, members, dim // members)).astype(np.float32)
    parts /= np.linalg.norm(parts, axis=2, keepdims=True) * math.sqrt(members)
    return parts.reshape(n, dim)


def test_beginnings_by_a_plain_loop() -> None:
    vectors = random_units(5, 12, 3)
    for row, cut in zip(vectors.tolist(), beginnings(vectors, 3, 6).tolist(), strict=True):
        expected: list[float] = []
        for member in (row[0:2], row[4:6], row[8:10]):
            length = math.sqrt(sum(x * x for x in member))
            expected += [x / length / math.sqrt(3) for x in member]
        assert cut == pytest.approx(expected, abs=1e-6)
    assert beginnings(vectors, 3, 12) is vectors


def test_what_the_loss_compares() -> None:
    """Each part's cosines are those of one member, whole or cut; their mean is what is served."""
    left, right = random_units(4, 16, 2), random_units(7, 16, 2)
    pairs = list(
        zip(
            nested_parts(torch.from_numpy(left), SHAPE),
            nested_parts(torch.from_numpy(right), SHAPE),
            strict=True,
        )
    )
    assert [ours.shape[1] for ours, _ in pairs] == [8, 8, 2, 2, 4, 4]
    for place, width in ((0, 16), (2, 4), (4, 8)):
        together = sum(ours @ theirs.T for ours, theirs in pairs[place : place + 2]) / 2
        served = beginnings(left, 2, width) @ beginnings(right, 2, width).T
        np.testing.assert_allclose(torch.as_tensor(together).numpy(), served, atol=1e-6)


def test_nothing_changes_without_widths() -> None:
    vectors, shape = torch.from_numpy(random_units(4, 16, 2)), TowersConfig(dim=16, members=2)
    parts = nested_parts(vectors, shape)
    assert torch.equal(torch.stack(parts, dim=1), (vectors * math.sqrt(2)).view(4, 2, 8))


def test_cut_vectors_are_good_where_they_were_learnt() -> None:
    def truth(towers: TwoTower, dim: int) -> float:
        """The mean rank of what users took among all that is known."""
        found, rows = scores(narrowed(towers, dim))[:, :N_KNOWN], make_rows()
        ranks = (found[rows.users] > found[rows.users, rows.items][:, None]).sum(axis=1)
        return float(ranks.mean())

    plain, nested = (
        trained(SHAPE.model_copy(update={"nested": widths})) for widths in ((), (4, 8))
    )
    assert truth(nested, 4) < 0.8 * truth(plain, 4)
    assert truth(nested, 16) < 1.5 * truth(plain, 16)


def test_narrowed(towers: TwoTower) -> None:
    known = slice(0, N_KNOWN)
    alone = towers.items_alone()
    narrow = narrowed(towers, 8)
    assert narrow.item_vectors().shape == (N_ITEMS, 8 + 4 + 2)
    np.testing.assert_array_equal(narrow.items_alone(), beginnings(alone, 2, 8))
    for vectors in (narrow.item_vectors(), narrow.user_vectors(*nobody())):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    own = narrow.item_vectors()[known, :8]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    np.testing.assert_allclose(own, beginnings(alone, 2, 8)[known], atol=1e-5)
    assert narrow.items.id.weight.data_ptr() == towers.items.id.weight.data_ptr()
    assert towers.item_vectors().shape == (N_ITEMS, 16 + 4 + 2), "the towers themselves changed"
    assert narrowed(towers, None) is narrowed(towers, 16) is towers


def nobody() -> tuple[NDArray[np.int32], Ragged]:
    return np.array([-1], dtype=np.int32), Ragged.of([[]])


def test_the_average_user_is_cut_like_others(towers: TwoTower) -> None:
    bare, cut = trained(SHAPE, epochs=2), towers.config.model_copy(update={"nested": ()})
    assert cut.dim == 16
    whole, short = bare.user_vectors(*nobody()), narrowed(bare, 4).user_vectors(*nobody())
    np.testing.assert_allclose(short, beginnings(whole, 2, 4), atol=1e-6)


def test_ratings_are_those_of_the_whole(towers: TwoTower) -> None:
    users, items = np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32)
    asked = users, make_rows().histories().take(users), np.arange(5), items
    np.testing.assert_array_equal(
        narrowed(towers, 4).predict_ratings(*asked), towers.predict_ratings(*asked)
    )


def test_newcomers_stay_where_they_belong(towers: TwoTower) -> None:
    new = slice(N_KNOWN, N_ITEMS)
    assert own_group(towers, new) > 0.9
    assert own_group(narrowed(towers, 8), new) > 0.9


def test_what_newcomers_were_fitted_to_is_found_again(towers: TwoTower) -> None:
    assert towers.newcomers is not None
    targets = towers.newcomers.targets()[:, towers.newcomers.dim :].numpy()
    anchors = towers.newcomers.anchors.numpy()
    np.testing.assert_allclose(targets, towers.items_alone()[anchors], atol=1e-4)


def test_saved_and_loaded(towers: TwoTower, tmp_path: Path) -> None:
    blocks, narrow = [make_block()], narrowed(towers, 8)
    for name, saved in (("whole", towers), ("narrow", narrow)):
        (tmp_path / name).mkdir()
        save_towers(saved, tmp_path / name)
    for name, dim in (("whole", 8), ("narrow", None), ("narrow", 8)):
        loaded = load_towers(tmp_path / name, blocks, dim=dim)
        np.testing.assert_array_equal(loaded.item_vectors(), narrow.item_vectors())
        np.testing.assert_array_equal(scores(loaded), scores(narrow))
    with pytest.raises(ConfigError, match=r"index\.dim = 16: expected at most 8"):
        load_towers(tmp_path / "narrow", blocks, dim=16)


def test_items_added_to_narrow_towers(towers: TwoTower) -> None:
    numbers = np.concatenate([np.arange(N_ITEMS), [-1]])
    block = make_block()
    more = ContentBlock(
        "group", np.vstack([block.vectors, block.vectors[:1]]), np.ones(N_ITEMS + 1, dtype=np.bool_)
    )
    others = towers_for(narrowed(towers, 8), numbers, [more])
    vectors = others.item_vectors()
    np.testing.assert_allclose(vectors[:N_ITEMS], narrowed(towers, 8).item_vectors(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors[-1]), 1, atol=1e-5)


@pytest.mark.parametrize("dim", [32, 7])
def test_widths_that_cannot_be(towers: TwoTower, dim: int) -> None:
    with pytest.raises(ConfigError, match=f"index.dim = {dim}: expected at most 16, and a mult"):
        narrowed(towers, dim)


@pytest.mark.parametrize("nested", [(32,), (7,), (2,)])
def test_shapes_that_cannot_be(nested: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="expected multiples of members = 2 from 4 to dim ="):
        TowersConfig(dim=16, members=2, nested=nested)


def test_serving_a_width_that_was_not_learnt() -> None:
    def config(dim: int) -> Config:
        tables = {"data": {"source": "synthetic"}, "index": {"dim": dim}}
        return Config.model_validate(tables | {"towers": {"dim": 16, "nested": [4]}})

    assert config(4).index.dim == 4
    assert config(16).index.dim == 16
    with pytest.raises(ValidationError, match=r"index\.dim = 8: expected .*towers\.nested: 4, 16"):
        config(8)
