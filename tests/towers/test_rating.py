"""Ratings: the baseline by a loop, the head by its formula, what training finds, what is kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.ratings import rating_baselines, rmse, towers_rmse
from recsys.index.exact import ExactIndex
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.rating import ITEM_PRIOR, USER_PRIOR, RatingBaseline, RatingHead
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import draw_batches
from recsys.training.loop import Learner, train

N_USERS, N_ITEMS, EACH = 24, 20, 12


def make_rows(seed: int = 0) -> Interactions:
    """Everybody takes items at random; even users rate even items 9 and odd ones 5, odd the other
    way round: no bias of a user or item tells anything."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), EACH).astype(np.int32)
    half = [random.permutation(N_ITEMS // 2)[: EACH // 2] for _ in range(2 * N_USERS)]
    pairs = [(2 * half[2 * u], 2 * half[2 * u + 1] + 1) for u in range(N_USERS)]
    items = np.concatenate([random.permutation(np.concatenate(p)) for p in pairs]).astype(np.int32)
    weights = np.where((users + items) % 2 == 0, 9.0, 5.0).astype(np.float32)
    numbers = np.arange(len(users))
    return Interactions(users, items, numbers, weights, numbers, N_USERS, N_ITEMS)


def make_towers(rows: Interactions, *, ratings: bool = True) -> TwoTower:
    known = np.ones(N_ITEMS, dtype=np.bool_)
    config = TowersConfig(dim=16, user_id=True)
    baseline = RatingBaseline.of(rows) if ratings else None
    return TwoTower(config, N_USERS, [], known, seed=0, ratings=baseline)


def test_the_baseline_is_what_a_loop_says() -> None:
    random = np.random.default_rng(1)
    rows = make_rows()
    noisy = (rows.weights + random.normal(0, 1, len(rows))).astype(np.float32)
    rows = Interactions(rows.users, rows.items, rows.times, noisy, rows.rows, N_USERS + 1, N_ITEMS)
    baseline = RatingBaseline.of(rows)
    mean = noisy.astype(float).mean()
    triples = list(zip(rows.users, rows.items, noisy.astype(float), strict=True))
    of_item = {
        item: sum(r - mean for _, i, r in triples if i == item)
        / (ITEM_PRIOR + sum(i == item for _, i, _ in triples))
        for item in range(N_ITEMS)
    }
    for user in range(N_USERS):
        own = [r - mean - of_item[i] for u, i, r in triples if u == user]
        expected = mean + sum(own) / (USER_PRIOR + len(own)) + of_item[3]
        got = baseline(np.array([user], dtype=np.int32), np.array([3], dtype=np.int32))
        assert got[0] == pytest.approx(expected, abs=1e-4)
    nobody = baseline(np.array([N_USERS], dtype=np.int32), np.array([3], dtype=np.int32))
    assert nobody[0] == pytest.approx(mean + of_item[3], abs=1e-4)  # a user without ratings


def test_the_head_adds_tastes_to_the_baseline_and_knows_the_unknown() -> None:
    rows = make_rows()
    head = RatingHead(RatingBaseline.of(rows), dim=6)
    users, items = torch.tensor([4, -1]), torch.tensor([7, 7])
    queries, vectors = torch.randn(2, 6), torch.randn(2, 6)
    got = head(users, queries, items, vectors).detach()
    for row, user_offset in enumerate((float(head.user_offsets[4]), 0.0)):
        met = (queries[row] @ head.user_map.detach()) @ (vectors[row] @ head.item_map.detach())
        taste = float(met) * 6 / head.user_map.shape[1]
        offsets = user_offset + float(head.item_offsets[7])
        expected = float(head.mean) + offsets + float(head.deviation) * taste
        assert float(got[row]) == pytest.approx(expected, abs=1e-4)
    error = head.loss(torch.tensor([5.0, 9.0]), torch.tensor([5.0, 5.0]), torch.tensor([0.5, 0.5]))
    assert float(error) == pytest.approx(0.5 * 16 / float(head.deviation) ** 2, rel=1e-5)


@pytest.mark.parametrize("prefixes", ["one", "all"])
def test_each_target_comes_with_its_own_rating(prefixes: str) -> None:
    rows = make_rows()
    marks = (rows.users * 1000 + rows.items).astype(np.float32)
    config = TrainingConfig.model_validate({"prefixes": prefixes, "batch_size": 5, "horizon": 3})
    count = 0
    for batch in draw_batches(rows.histories(), config, 6, seed=0, epoch=1, ratings=marks):
        of_target = batch.people[batch.rows[batch.targets.row_numbers]]
        np.testing.assert_array_equal(batch.ratings, of_target * 1000 + batch.targets.values)
        assert ((batch.users == batch.people) | (batch.users == -1)).all()
        count += len(batch.ratings)
    assert count > len(np.unique(rows.users))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_training_finds_what_biases_cannot_say(weight: float) -> None:
    rows, task = make_rows(), unseen()
    towers = make_towers(rows)
    config = TrainingConfig(
        epochs=25,
        prefixes="all",
        batch_size=8,
        learning_rate=0.03,
        user_dropout=0.0,
        device="cpu",
        rating_weight=weight,
    )
    list(train(Learner(towers, config), rows, config, seed=0, until=25))
    others = rating_baselines(rows, task)
    assert others["mean"] == pytest.approx(2.0, abs=1e-5)
    assert others["biases"] == pytest.approx(2.0, abs=0.2)
    assert (towers_rmse(towers, task) < 1.2) == (weight > 0)


def unseen() -> Task:
    """The pairs that nobody has rated yet."""
    rows = make_rows()
    all_users, all_items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    rated = np.isin(all_users * N_ITEMS + all_items, rows.users * N_ITEMS + rows.items)
    users, items = all_users[~rated].astype(np.int32), all_items[~rated].astype(np.int32)
    weights = np.where((users + items) % 2 == 0, 9.0, 5.0).astype(np.float32)
    numbers = np.arange(len(users))
    asked = Interactions(users, items, numbers, weights, numbers, N_USERS, N_ITEMS)
    return Task.of(rows, asked, np.ones(N_ITEMS, dtype=np.bool_))


def make_recommender(towers: TwoTower) -> Recommender:
    user_ids = UserIds(np.arange(100, 100 + N_USERS))
    item_ids = ItemIds(np.array([f"i{item:02}" for item in range(N_ITEMS)], dtype=object))
    ranker = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    return Recommender(ranker, user_ids, item_ids, make_rows(), pd.DataFrame(index=range(N_ITEMS)))


def test_predictions_come_back_in_the_order_of_the_question_and_from_files(tmp_path: Path) -> None:
    towers = make_towers(make_rows())
    users, items = [105, 101, 105, 123], ["i03", "i19", "i00", "i03"]
    together = make_recommender(towers).predict(users, items)
    assert together["user_id"].tolist() == users
    assert together["item_id"].tolist() == items
    for row in range(4):
        alone = make_recommender(towers).predict(users[row : row + 1], items[row : row + 1])
        assert alone["rating"][0] == pytest.approx(together["rating"][row], abs=1e-5)
    save_towers(towers, tmp_path)
    loaded = make_recommender(load_towers(tmp_path, [])).predict(users, items)
    np.testing.assert_array_equal(loaded["rating"], together["rating"])


def test_without_a_head_or_with_half_a_question_there_is_no_prediction() -> None:
    recommender = make_recommender(make_towers(make_rows(), ratings=False))
    with pytest.raises(ConfigError, match=r"training\.rating_weight"):
        recommender.predict([105], ["i03"])
    with pytest.raises(ConfigError, match="2 users but 1 items"):
        recommender.predict([105, 106], ["i03"])


def test_rmse_is_in_the_unit_of_the_ratings() -> None:
    given = np.array([1, 2, 3], dtype=np.float32)
    assert rmse(given + np.array([3, 0, -4], dtype=np.float32), given) == pytest.approx(
        (25 / 3) ** 0.5
    )
