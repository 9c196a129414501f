"""The loop: it learns, it repeats itself, it goes on where it stopped, it refuses nonsense."""

import numpy as np
import pytest
import torch

from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.errors import DataError, TrainingDiverged
from recsys.towers.two_tower import TwoTower
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.loop import Learner, learning_rate, train

N_USERS, N_ITEMS = 30, 40


def make_rows(seed: int = 0) -> Interactions:
    """Even users like even items, odd users odd ones."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), 8).astype(np.int32)
    draws = [random.choice(N_ITEMS // 2, size=8, replace=False) for _ in range(N_USERS)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS)


def make_learner(config: TrainingConfig) -> Learner:
    known = np.ones(N_ITEMS, dtype=np.bool_)
    return Learner(TwoTower(TowersConfig(dim=16), N_USERS, [], known, seed=0), config)


CONFIG = TrainingConfig(epochs=12, batch_size=8, learning_rate=0.02, device="cpu")


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in learner.towers.state_dict().items()}


@pytest.mark.parametrize("loss", ["full", "in-batch"])
def test_it_learns_which_items_belong_together(loss: str) -> None:
    config = CONFIG.model_copy(update={"loss": loss, "epochs": 30})
    learner, rows = make_learner(config), make_rows()
    reports = list(train(learner, rows, config, seed=0, until=30))
    assert [report.epoch for report in reports] == list(range(1, 31))
    assert reports[-1].loss < reports[0].loss
    users = np.arange(N_USERS, dtype=np.int32)
    vectors = learner.towers.user_vectors(users, rows.histories())
    scores = vectors @ learner.towers.item_vectors().T
    same = (users[:, None] + np.arange(N_ITEMS)) % 2 == 0
    assert scores[same].mean() > scores[~same].mean() + 0.5


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    results = []
    for seed in (0, 0, 1):
        learner = make_learner(CONFIG)
        list(train(learner, make_rows(), CONFIG, seed=seed, until=3))
        results.append(weights(learner))
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=0)
    assert not torch.equal(results[0]["items.id.weight"], results[2]["items.id.weight"])


def test_a_checkpoint_goes_on_to_the_very_same_weights(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    unbroken = make_learner(CONFIG)
    list(train(unbroken, make_rows(), CONFIG, seed=0, until=8))
    broken = make_learner(CONFIG)
    for report in train(broken, make_rows(), CONFIG, seed=0, until=8):
        if report.epoch == 3:
            save_checkpoint(folder, broken, {"note": "here"}, weights(broken))
            break
    later = make_learner(CONFIG)
    torch.manual_seed(99)
    best = load_checkpoint(folder, later)
    assert later.epoch == 3
    torch.testing.assert_close(best["items.id.weight"], broken.towers.items.id.weight.detach())
    reports = list(train(later, make_rows(), CONFIG, seed=0, until=8))
    assert [report.epoch for report in reports] == [4, 5, 6, 7, 8]
    expected, got = weights(unbroken), weights(later)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_training() -> None:
    learner = make_learner(CONFIG)
    with torch.no_grad():
        learner.towers.items.id.weight[3] = torch.nan
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        list(train(learner, make_rows(), CONFIG, seed=0, until=1))


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(DataError, match="no interactions"):
        list(
            train(
                make_learner(CONFIG),
                make_rows().take(np.zeros(0, dtype=np.int64)),
                CONFIG,
                seed=0,
                until=1,
            )
        )


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, 100, CONFIG) for step in range(100)]
    top = int(np.argmax(rates))
    assert 8 <= top <= 12
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    assert max(rates) <= CONFIG.learning_rate
    assert rates[-1] < 0.1 * CONFIG.learning_rate


def test_an_item_that_nobody_took_is_no_negative() -> None:
    """Neither its id nor what its content is learnt to mean may move."""
    rows = make_rows()
    rows = rows.take(rows.items != 5)
    vectors = np.zeros((N_ITEMS, 2), dtype=np.float32)
    vectors[5] = 1.0  # content that this item alone has
    present = np.zeros(N_ITEMS, dtype=np.bool_)
    present[[4, 5]] = True
    block = ContentBlock("text", vectors, present)
    towers = TwoTower(TowersConfig(dim=16), N_USERS, [block], rows.item_counts() > 0, seed=0)
    config = CONFIG.model_copy(update={"weight_decay": 0.0})
    before = weights(Learner(towers, config))
    list(train(Learner(towers, config), rows, config, seed=0, until=3))
    after = weights(Learner(towers, config))
    torch.testing.assert_close(after["items.id.weight"][5], before["items.id.weight"][5])
    name = "items.contents.0.project.weight"
    torch.testing.assert_close(after[name], before[name])
    assert not torch.equal(after["items.id.weight"][4], before["items.id.weight"][4])
