"""Batch generation: every user once, whatever the parts and blocks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.batch.generate import generate
from recsys.batch.job import Format
from recsys.config import TowersConfig
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.index.exact import ExactIndex
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.two_tower import TwoTower

N_USERS, N_ITEMS = 23, 31


@pytest.fixture
def recommender() -> Recommender:
    random = np.random.default_rng(0)
    users = np.sort(random.integers(N_USERS, size=100)).astype(np.int32)
    items = random.integers(N_ITEMS, size=100).astype(np.int32)
    n = np.arange(100)
    log = Interactions(users, items, n, np.ones(100, np.float32), n, N_USERS, N_ITEMS)
    known = np.ones(N_ITEMS, dtype=np.bool_)
    towers = TwoTower(TowersConfig(dim=8), N_USERS, [], known, seed=0).eval()
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    user_ids, item_ids = UserIds(np.arange(N_USERS) + 100), ItemIds(np.arange(N_ITEMS) + 5000)
    return Recommender(ranker, user_ids, item_ids, log, pd.DataFrame(index=range(N_ITEMS)))


def test_new_items_are_recommended_only_when_they_are_named(recommender: Recommender) -> None:
    ranker = recommender.ranker
    assert isinstance(ranker, TwoTowerRanker)
    first = recommender.recommend([100], k=1)["item_id"].iloc[0]
    ranker.towers.items.known[first - 5000] = False
    renewed = replace(recommender, ranker=TwoTowerRanker(ranker.towers, ranker.index))
    assert first not in set(renewed.recommend([100], k=99)["item_id"])
    assert renewed.recommend([100], k=5, candidates=[first])["item_id"].tolist() == [first]


def read(folder: Path) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))), ignore_index=True)


@pytest.mark.parametrize(("part_users", "batch_size"), [(100, 100), (7, 3), (1, 1)])
def test_parts_and_blocks_change_nothing(
    recommender: Recommender, tmp_path: Path, part_users: int, batch_size: int
) -> None:
    report = generate(recommender, tmp_path, k=4, part_users=part_users, batch_size=batch_size)
    expected = recommender.recommend(k=4)
    pd.testing.assert_frame_equal(read(tmp_path), expected, check_exact=False, atol=1e-6)
    assert (report.users, report.rows) == (N_USERS, len(expected))
    assert report.parts == -(-N_USERS // part_users)


def test_blocked_items_are_for_one_user_and_candidates_for_all(
    recommender: Recommender, tmp_path: Path
) -> None:
    best = recommender.recommend([100], k=1)["item_id"].iloc[0] - 5000
    blocked = Ragged.of([[int(best)], *([] for _ in range(N_USERS - 1))])
    allowed = np.arange(N_ITEMS) % 2 == best % 2
    users = np.array([0, 5], dtype=np.int32)
    report = generate(recommender, tmp_path, k=99, users=users, blocked=blocked, candidates=allowed)
    table = read(tmp_path)
    mine = table[table["user_id"] == 100]["item_id"]
    assert best + 5000 not in set(mine)
    assert set((table["item_id"] - 5000) % 2) == {best % 2}
    assert table["user_id"].unique().tolist() == [100, 105]
    assert report.short == 2, "nobody can get 99 of 31 items"


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_other_formats_hold_the_same(
    recommender: Recommender, tmp_path: Path, file_format: Format
) -> None:
    generate(recommender, tmp_path, k=3, file_format=file_format)
    path = tmp_path / f"part-00000.{file_format}"
    table = pd.read_csv(path) if file_format == "csv" else pd.read_json(path, lines=True)
    expected = recommender.recommend(k=3)
    assert table["item_id"].tolist() == expected["item_id"].tolist()
    assert table["user_id"].tolist() == expected["user_id"].tolist()


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_nothing_allowed_is_no_line(
    recommender: Recommender, tmp_path: Path, file_format: Format
) -> None:
    nothing = np.zeros(len(recommender.item_ids), dtype=np.bool_)
    generate(recommender, tmp_path, k=3, file_format=file_format, candidates=nothing)
    lines = (tmp_path / f"part-00000.{file_format}").read_text().splitlines()
    assert lines == (["user_id,rank,item_id,score"] if file_format == "csv" else [])
