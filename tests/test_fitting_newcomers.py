"""Fitting towers and newcomers in one go, to the vectors that come back from disk."""

from pathlib import Path

import numpy as np

from recsys.config import NewcomersConfig, TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.saved import load_towers, save_towers

N_USERS, N_ITEMS = 40, 60
TOWERS = TowersConfig(dim=8, members=2)
TRAINING = TrainingConfig(epochs=2, score_every=2, batch_size=16, device="cpu")
NEWCOMERS = NewcomersConfig(dim=4, episodes=5)


def checkerboard() -> tuple[Split, list[ContentBlock]]:
    """Even users take even items; the last ten items are new, and content shows who is even."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS, dtype=np.int32), 12)
    items = np.concatenate(
        [2 * random.choice(N_ITEMS // 2, 12, replace=False) + user % 2 for user in range(N_USERS)]
    ).astype(np.int32)
    numbers = np.arange(len(users), dtype=np.int64)
    ones = np.ones(len(users), dtype=np.float32)
    log = Interactions(users, items, numbers, ones, numbers, N_USERS, N_ITEMS)
    item_parts = np.full(N_ITEMS, Part.TRAIN, dtype=np.int8)
    item_parts[-10:] = Part.TEST
    sides = np.where(np.arange(N_ITEMS) % 2, 1.0, -1.0)[:, None]
    vectors = (sides + random.normal(0, 0.5, (N_ITEMS, 5))).astype(np.float32)
    block = ContentBlock("text", vectors, np.ones(N_ITEMS, dtype=np.bool_))
    return Split("cold-items", log, item_parts[items], item_parts), [block]


def test_new_items_come_first_where_they_belong_and_survive_the_disk(tmp_path: Path) -> None:
    cut, blocks = checkerboard()
    towers = fit_towers(cut, blocks, TOWERS, TRAINING, seed=0, newcomers=NEWCOMERS).towers
    vectors = towers.item_vectors()
    assert vectors.shape == (N_ITEMS, TOWERS.dim + NEWCOMERS.dim + 2)
    ranker = TwoTowerRanker(towers, ExactIndex.build(vectors))
    found = evaluate_ranker(ranker, cut.task("test"), ks=(5,))
    of_the_same_side = found.ranked.items % 2 == found.users[:, None] % 2
    assert of_the_same_side.mean() > 0.95
    save_towers(towers, tmp_path)
    again = load_towers(tmp_path, blocks)
    np.testing.assert_array_equal(again.item_vectors(), vectors)
    users = np.arange(N_USERS, dtype=np.int32)
    histories = cut.train.histories()
    np.testing.assert_array_equal(
        again.user_vectors(users, histories), towers.user_vectors(users, histories)
    )


def test_without_new_items_or_content_nothing_is_added() -> None:
    cut, blocks = checkerboard()
    rows = np.where(cut.parts == Part.TEST, Part.TRAIN, cut.parts).astype(np.int8)
    warm = Split("column", cut.log, rows, np.full(N_ITEMS, Part.TRAIN, dtype=np.int8))
    for split, content in ((warm, blocks), (cut, [])):
        fitted = fit_towers(split, content, TOWERS, TRAINING, seed=0, newcomers=NEWCOMERS)
        assert fitted.towers.newcomers is None
        assert fitted.towers.item_vectors().shape == (N_ITEMS, TOWERS.dim)
