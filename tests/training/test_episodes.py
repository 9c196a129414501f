"""Episodes: weights go to contents that tell, newcomers get their share, runs repeat."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys.config import NewcomersConfig, TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import DataError
from recsys.towers.newcomers import Newcomers
from recsys.towers.two_tower import TwoTower
from recsys.training.mixture import Mixture, lift
from recsys.training.newcomers import fit_newcomers, last_rows, learn_kernel

N_USERS, N_ITEMS = 60, 80
NEW = np.arange(60, 80)
CONFIG = NewcomersConfig(dim=4, episodes=15, anchors=100)


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
        telling_and_noise(), torch.from_numpy(rows.item_counts() > 0), n_anchors=2, dim=4
    )
    losses = list(learn_kernel(newcomers, rows.histories().matrix(N_ITEMS), CONFIG, seed=0))
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
    shape = (200, 100)
    hidden = np.arange(100) < 30
    taste = random.normal(size=shape).astype(np.float32)
    truth = _best(taste, 10)
    mixture = Mixture(
        towers=torch.from_numpy(taste * 0.1 + np.float32(height)),
        profiles=torch.from_numpy(taste * 0.5),
        hidden=torch.from_numpy(hidden),
        asked=torch.ones(shape, dtype=torch.bool),
        truth=torch.from_numpy(truth),
        temperature=0.1,
    )
    newcomers = Newcomers(
        telling_and_noise(), torch.ones(N_ITEMS, dtype=torch.bool), n_anchors=2, dim=4
    )
    lift(newcomers, mixture)
    scores = mixture.scores(newcomers.gain, newcomers.offset).numpy()
    share = (_best(scores, 10) & hidden).sum() / (10 * len(truth))
    assert share == pytest.approx((truth & hidden).sum() / truth.sum(), abs=0.005)


def test_last_rows_by_loop() -> None:
    rows = log_of([(0, 1)] + [(1, item) for item in range(7)] + [(3, 2), (3, 4)])
    expected = []
    for user, n in ((0, 1), (1, 7), (3, 2)):
        late = min(-(-n * 2 // 10), n - 1)
        expected += [place >= n - late for place in range(n)]
        assert user in rows.users
    assert last_rows(rows).tolist() == expected


def test_too_few_items_or_no_content_is_an_error() -> None:
    rows, blocks = log_of([(0, 1), (1, 1)]), telling_and_noise()
    with pytest.raises(DataError, match=r"newcomers: 1 items .* newcomers.dim = 0"):
        fit_newcomers(towers_for(rows, blocks), rows, blocks, CONFIG, seed=0)


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
    marked = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(marked, np.argsort(-scores, axis=1)[:, :k], True, axis=1)
    return marked
