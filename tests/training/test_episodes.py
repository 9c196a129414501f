"""Episodes: weights go to contents that tell, newcomers get their share, runs repeat."""

import numpy as np
import pytest
import torch

from recsys.config import NewcomersConfig, TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import DataError
from recsys.towers.newcomers import Newcomers
from recsys.towers.two_tower import TwoTower
from recsys.training.mixture import Mixture, best_of_others, fair_offset, teacher_gain
from recsys.training.newcomers import fit_newcomers, hide_in_turn, learn_kernel

N_USERS, N_ITEMS = 60, 80
NEW = np.arange(60, 80)
CONFIG = NewcomersConfig(dim=4, episodes=15, profile=4.0)  # the towers are not trained


def log_of(rows: list[tuple[int, int]]) -> Interactions:
    users, items = np.array(rows, dtype=np.int32).reshape(-1, 2).T
    numbers = np.arange(len(rows), dtype=np.int64)
    ones = np.ones(len(rows), dtype=np.float32)
    return Interactions(users, items, numbers, ones, numbers, N_USERS, N_ITEMS)


def checkerboard(seed: int = 0) -> Interactions:
    """Even users take even items, odd ones odd items; nobody a new one."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        items = np.flatnonzero(np.arange(60) % 2 == user % 2)
        rows += [(user, int(item)) for item in random.permutation(items)[:12]]
    return log_of(rows)


def telling_and_noise(seed: int = 0) -> list[ContentBlock]:
    """Content that shows whether an item is even, and content that shows nothing."""
    random = np.random.default_rng(seed)
    sides = np.where(np.arange(N_ITEMS) % 2, 1.0, -1.0)[:, None]
    telling = sides * np.ones(6) + random.normal(0, 1.0, (N_ITEMS, 6))
    noise = random.normal(0, 1.0, (N_ITEMS, 6))
    present = np.ones(N_ITEMS, dtype=np.bool_)
    return [
        ContentBlock(name, vectors.astype(np.float32), present)
        for name, vectors in (("telling", telling), ("noise", noise))
    ]


def towers_for(rows: Interactions, blocks: list[ContentBlock]) -> TwoTower:
    config = TowersConfig(dim=8, members=1, history=20)
    return TwoTower(config, N_USERS, blocks, rows.item_counts() > 0, seed=0)


def test_weight_moves_to_the_content_that_tells() -> None:
    rows = checkerboard()
    newcomers = Newcomers(
        telling_and_noise(),
        torch.from_numpy(rows.item_counts() > 0),
        n_anchors=2,
        dim=4,
        tower_dim=8,
    )
    taken = rows.histories().matrix(N_ITEMS)
    folds = hide_in_turn(taken, CONFIG, seed=0)
    losses = list(learn_kernel(newcomers, taken, folds, CONFIG, seed=0))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    widths, slopes = newcomers.kernel.log_widths, newcomers.kernel.log_slopes
    assert widths[0] > widths[1] + 0.3
    assert slopes[0] > slopes[1] + 0.3


def test_new_items_are_ranked_by_content_and_known_ones_as_before() -> None:
    rows, blocks = checkerboard(), telling_and_noise()
    towers = towers_for(rows, blocks)
    newcomers = fit_newcomers(towers, rows, blocks, CONFIG, seed=0)
    histories = rows.histories()
    users = np.arange(N_USERS, dtype=np.int32)
    queries, vectors = towers.user_vectors(users, histories), towers.item_vectors()
    scores = newcomers.beside_users(queries, histories) @ newcomers.beside_items(vectors).T
    best = NEW[np.argsort(-scores[:, NEW], axis=1)[:, :8]]
    assert (best % 2 == users[:, None] % 2).mean() > 0.95
    plain = queries @ vectors.T
    np.testing.assert_array_equal(
        np.argsort(-scores[:, :60].round(5), axis=1, kind="stable")[:, :3],
        np.argsort(-plain[:, :60].round(5), axis=1, kind="stable")[:, :3],
    )


def test_two_fits_give_the_same_weights() -> None:
    rows, blocks = checkerboard(), telling_and_noise()
    towers = towers_for(rows, blocks)
    one, two = (fit_newcomers(towers, rows, blocks, CONFIG, seed=3) for _ in range(2))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name


@pytest.mark.parametrize("height", [-0.5, 0.0, 0.5])
def test_newcomers_get_their_share_however_high_the_towers_score(height: float) -> None:
    random = np.random.default_rng(0)
    cosines = random.normal(height, 0.1, (200, 100)).astype(np.float32)
    taught = cosines[:, :30]
    predicted = (taught - 0.3) / 2.0 + random.normal(0, 0.001, taught.shape)
    asked = random.random(taught.shape) < 0.9
    mixture = Mixture(
        others=best_of_others(
            torch.from_numpy(cosines), torch.from_numpy(np.tile(np.arange(100) >= 30, (200, 1)))
        ),
        predicted=torch.from_numpy(predicted.astype(np.float32)),
        taught=torch.from_numpy(taught),
        asked=torch.from_numpy(asked),
        share=0.4,
    )
    gain = teacher_gain([mixture])
    assert gain == pytest.approx(2.0, rel=0.01)
    scores = cosines.copy()
    scores[:, :30] = np.where(asked, gain * predicted + fair_offset([mixture], gain), -np.inf)
    best = np.argsort(-scores, axis=1)[:, :10]
    assert (best < 30).mean() == pytest.approx(0.4, abs=0.002)


def test_each_item_is_hidden_once_and_says_nothing_while_it_is() -> None:
    rows = checkerboard()
    taken = rows.histories().matrix(N_ITEMS)
    folds = hide_in_turn(taken, CONFIG, seed=0)
    hidden = np.concatenate([fold.hidden for fold in folds])
    assert sorted(hidden.tolist()) == np.flatnonzero(rows.item_counts()).tolist()
    for fold in folds:
        assert not np.intersect1d(fold.hidden, fold.others).size
        assert not fold.factors.items[fold.hidden].any()
        left = taken.toarray()
        left[:, fold.hidden] = 0
        np.testing.assert_allclose(fold.profiles, left @ fold.factors.steps, atol=1e-4)


def test_too_few_items_or_no_content_is_an_error() -> None:
    rows, blocks = log_of([(0, 1), (1, 1)]), telling_and_noise()
    with pytest.raises(DataError, match=r"newcomers: 1 items .* newcomers.dim = 0"):
        fit_newcomers(towers_for(rows, blocks), rows, blocks, CONFIG, seed=0)
