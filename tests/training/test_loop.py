"""The loop: it learns, it repeats itself, it goes on where it stopped, it refuses nonsense."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys.config import TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part, leave_last_out
from recsys.data.ragged import Ragged
from recsys.data.splits import Split
from recsys.errors import DataError, TrainingDiverged
from recsys.towers.two_tower import TwoTower
from recsys.training import loop
from recsys.training.batches import Batch, draw_batches
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


def make_learner(config: TrainingConfig, **towers: object) -> Learner:
    known = np.ones(N_ITEMS, dtype=np.bool_)
    shape = TowersConfig.model_validate({"dim": 16, **towers})
    return Learner(TwoTower(shape, N_USERS, [], known, seed=0), config)


class Nearest:
    """Finds the 12 best items that are not excluded, by all scores."""

    def __init__(self, item_vectors: NDArray[np.float32]) -> None:
        self.item_vectors = item_vectors

    def __call__(self, user_vectors: NDArray[np.float32], exclude: Ragged) -> NDArray[np.int64]:
        scores = user_vectors @ self.item_vectors.T
        scores[exclude.row_numbers, exclude.values] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable")[:, :12]


CONFIG = TrainingConfig(epochs=12, batch_size=8, learning_rate=0.02, device="cpu")


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in learner.towers.state_dict().items()}


WAYS: list[dict[str, object]] = [  # to learn, each with something random of its own
    {},
    {"prefixes": "all", "label_smoothing": 0.1, "encoder": "transformer"},
    {"prefixes": "all", "horizon": 1, "negatives": "uniform", "encoder": "gru"},
    {"negatives": "in-batch", "n_negatives": 20, "history_items": "shared"},
    {"negatives": "popularity", "n_negatives": 8, "loss": "gbce", "encoder": "attention"},
    {"negatives": "uniform", "n_negatives": 8, "hard_negatives": 4, "precision": "bfloat16"},
]


def way(settings: dict[str, object], **more: object) -> tuple[Learner, TrainingConfig]:
    """A learner and how it learns."""
    of_towers = {name: settings[name] for name in settings if name in TowersConfig.model_fields}
    of_training = {name: settings[name] for name in settings if name not in of_towers}
    config = TrainingConfig.model_validate({**CONFIG.model_dump(), **of_training, **more})
    return make_learner(config, **of_towers), config


@pytest.mark.parametrize("settings", WAYS)
def test_it_learns_which_items_belong_together(settings: dict[str, object]) -> None:
    learner, config = way(settings)
    rows = make_rows()
    reports = list(train(learner, rows, config, seed=0, until=12, miner=Nearest))
    assert [report.epoch for report in reports] == list(range(1, 13))
    assert reports[-1].loss < reports[0].loss
    users = np.arange(N_USERS, dtype=np.int32)
    vectors = learner.towers.user_vectors(users, rows.histories())
    scores = vectors @ learner.towers.item_vectors().T
    same = (users[:, None] + np.arange(N_ITEMS)) % 2 == 0
    best = np.argsort(-scores, axis=1)[:, : N_ITEMS // 2]
    assert np.take_along_axis(same, best, axis=1).mean() > 0.85, "by chance a half"


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    results = []
    for seed in (0, 0, 1):
        learner = make_learner(CONFIG)
        list(train(learner, make_rows(), CONFIG, seed=seed, until=2))
        results.append(weights(learner))
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=0)
    assert not torch.equal(results[0]["items.id.weight"], results[2]["items.id.weight"])


@pytest.mark.parametrize("settings", WAYS)
def test_a_checkpoint_goes_on_to_the_very_same_weights(
    settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    unbroken, config = way(settings)
    list(train(unbroken, make_rows(), config, seed=0, until=3, miner=Nearest))
    broken, _ = way(settings)
    for report in train(broken, make_rows(), config, seed=0, until=3, miner=Nearest):
        if report.epoch == 2:
            save_checkpoint(folder, broken, {"note": "here"}, weights(broken))
            break
    later, _ = way(settings)
    torch.manual_seed(99)
    best = load_checkpoint(folder, later)
    assert later.epoch == 2
    torch.testing.assert_close(best["items.id.weight"], broken.towers.items.id.weight.detach())
    reports = list(train(later, make_rows(), config, seed=0, until=3, miner=Nearest))
    assert [report.epoch for report in reports] == [3]
    expected, got = weights(unbroken), weights(later)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=0, atol=0)


def two_splits() -> list[Split]:
    """The last two items of everybody are held out; in the second split they are others."""
    log = make_rows()
    parts = leave_last_out(log)
    held, items = parts != Part.TRAIN, log.items.copy()
    items[held] = (items[held] + 1) % N_ITEMS  # of the other kind: nobody took them
    other = replace(log, items=items)
    nothing = np.zeros(N_ITEMS, dtype=np.int8)
    return [Split("leave-last-out", rows, parts, nothing) for rows in (log, other)]


@pytest.mark.parametrize("prefixes", ["one", "all"])
def test_rows_that_are_held_out_are_never_read(
    monkeypatch: pytest.MonkeyPatch, prefixes: str
) -> None:
    """Neither as history nor as target; nor does what they hold change a weight."""
    seen: set[tuple[int, int]] = set()

    def watched(*args: Any, **kwargs: Any) -> Iterator[Batch]:
        for batch in draw_batches(*args, **kwargs):
            for values, people in (
                (batch.histories, batch.people),
                (batch.positives, batch.people),
                (batch.targets, batch.people[batch.rows]),
            ):
                owners = people[values.row_numbers]
                seen.update(zip(owners.tolist(), values.values.tolist(), strict=True))
            yield batch

    monkeypatch.setattr(loop, "draw_batches", watched)
    results = []
    for split in two_splits():
        seen.clear()
        learner, config = way({"prefixes": prefixes})
        list(train(learner, split.train, config, seed=0, until=2))
        results.append(weights(learner))
        train_rows = set(zip(split.train.users.tolist(), split.train.items.tolist(), strict=True))
        assert len(train_rows) == 6 * N_USERS
        assert seen == train_rows
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=0)


def test_the_temperature_never_passes_its_limit() -> None:
    learner = make_learner(CONFIG)
    with torch.no_grad():
        learner.towers.log_scale.fill_(5.0)  # as if gradients had pulled it to 1 / 148
    (report,) = train(learner, make_rows(), CONFIG, seed=0, until=1)
    assert report.temperature >= 0.00999


@pytest.mark.parametrize("learnt", [True, False])
def test_the_temperature_stays_where_it_is_not_to_be_learnt(learnt: bool) -> None:
    learner = make_learner(CONFIG, temperature=0.2, learn_temperature=learnt)
    (report,) = train(learner, make_rows(), CONFIG, seed=0, until=1)
    assert (report.temperature == pytest.approx(0.2, abs=1e-6)) is not learnt


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
