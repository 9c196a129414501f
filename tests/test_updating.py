"""Updates: they read all that is new and some of the old, and are judged by what is new."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from suites.beside import Beside

from recsys.config import TowersConfig, TrainingConfig, UpdateConfig
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.splits import Split, split
from recsys.errors import DataError
from recsys.fitting import fit_towers
from recsys.towers.grow import Blocks
from recsys.updating import Learnt, WarmStart, schedule

TOWERS = TowersConfig(dim=8)
TRAINING = TrainingConfig(
    epochs=6, score_every=2, patience=3, batch_size=16, learning_rate=0.02, device="cpu"
)
UPDATE = UpdateConfig(epochs=3, learning_rate=0.01, replay=1.0)


def write_log(folder: Path, *, grown: bool) -> Path:
    """Even users take even items; grown: ids before and behind the old ones, and 10 busy users."""
    random = np.random.default_rng(0)
    rows = [
        (user, int(item), step)
        for user in range(100, 140)
        for step, item in enumerate(random.permutation(20)[:10] * 2 + user % 2)
    ]
    newcomers = [*range(90, 95), *range(130, 140), 200]
    more = [
        (user, int(item), 50 + step)
        for user in newcomers
        for step, item in enumerate(random.permutation(8)[:6] * 2 + 40 + user % 2)
    ]
    more += [(95, -2, 60), (95, -4, 61), (95, -6, 62)]  # items with numbers before all others
    log = pd.DataFrame(rows + more if grown else rows, columns=["user_id", "item_id", "time"])
    path = folder / f"log-{grown}.csv"
    log.to_csv(path, index=False)
    return path


def read(folder: Path, *, grown: bool) -> tuple[Dataset, Split]:
    dataset = Dataset.from_files(write_log(folder, grown=grown), time="time")
    return dataset, split(dataset, "user-time", validation_fraction=0.25)


@pytest.fixture
def learnt(tmp_path: Path) -> Learnt:
    dataset, cut = read(tmp_path, grown=False)
    fitted = fit_towers(cut, (), TOWERS, TRAINING, seed=0)
    rows = cut.learnable(refit=True)
    return Learnt(fitted.towers, Blocks(), rows, dataset.user_ids, dataset.item_ids)


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Dataset, Split]:
    return read(tmp_path, grown=True)


@pytest.fixture
def start(learnt: Learnt, grown: tuple[Dataset, Split]) -> WarmStart:
    return WarmStart.of(learnt, grown[0].user_ids, grown[0].item_ids, Blocks(), UPDATE.replay)


def test_old_rows_are_known_by_their_ids(
    learnt: Learnt, grown: tuple[Dataset, Split], start: WarmStart
) -> None:
    dataset, cut = grown

    def pairs(rows: Interactions, users: UserIds, items: ItemIds) -> list[tuple[int, int]]:
        return list(zip(users.ids(rows.users), items.ids(rows.items), strict=True))

    before = set(pairs(learnt.rows, learnt.user_ids, learnt.item_ids))
    rows = cut.learnable(refit=True)
    expected = [pair not in before for pair in pairs(rows, dataset.user_ids, dataset.item_ids)]
    assert 0 < sum(expected) < len(rows)
    np.testing.assert_array_equal(start.is_new(rows), expected)


def test_a_lesson_reads_all_of_whoever_has_something_new_and_as_many_others(
    grown: tuple[Dataset, Split], start: WarmStart
) -> None:
    rows = grown[1].learnable(refit=True)
    new_users = set(rows.users[start.is_new(rows)].tolist())
    lessons = [start.lesson(rows, seed=0, epoch=epoch) for epoch in (1, 2)]
    others = [set(lesson.users.tolist()) - new_users for lesson in lessons]
    assert others[0] != others[1], "the replayed users are drawn anew"
    for lesson, replayed in zip(lessons, others, strict=True):
        assert len(replayed) == len(new_users)
        read = new_users | replayed
        np.testing.assert_array_equal(lesson.rows, rows.take(np.isin(rows.users, list(read))).rows)
    again = start.lesson(rows, seed=0, epoch=1)
    np.testing.assert_array_equal(again.rows, lessons[0].rows)


def test_an_update_learns_the_new_and_tells_how_far_the_old_moved(
    grown: tuple[Dataset, Split], start: WarmStart
) -> None:
    _, cut = grown
    fitted = fit_towers(cut, (), TOWERS, schedule(TRAINING, UPDATE), seed=0, start=start)
    assert max(fitted.scores) <= UPDATE.epochs
    assert not start.is_new(cut.train).all()
    assert start.is_new(start.task(cut).truth).all()
    moved = start.drift(fitted.towers, cut.learnable(refit=True))
    assert 0 < moved.turned_mean <= moved.mean <= moved.p99
    assert moved.users == 30, "all 40 old ones but the 10 busy"
    assert 0 <= moved.changed <= 1


def test_nothing_moved_is_no_drift_and_a_rotation_is_none_but_for_itself(learnt: Learnt) -> None:
    start = WarmStart.of(learnt, learnt.user_ids, learnt.item_ids, Blocks(), 1.0)
    still = start.drift(learnt.towers, learnt.rows)
    assert still.mean == pytest.approx(0, abs=1e-6)
    assert still.changed == 0
    assert still.users == 40
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q
    turned = deepcopy(learnt.towers)
    vectors = learnt.towers.item_vectors() @ turn.numpy()
    turned.item_vectors = lambda: vectors  # type: ignore[method-assign]
    moved = start.drift(turned, learnt.rows)
    assert moved.mean > 0.1
    assert moved.turned_p99 == pytest.approx(0, abs=1e-5)


def test_newcomers_that_come_or_go_are_no_drift(learnt: Learnt) -> None:
    start = WarmStart.of(learnt, learnt.user_ids, learnt.item_ids, Blocks(), 1.0)
    wider = deepcopy(learnt.towers)
    wider.newcomers = Beside()  # type: ignore[assignment]
    moved = start.drift(wider, learnt.rows)
    assert moved.p99 == pytest.approx(0, abs=1e-6)
    assert moved.turned_p99 == pytest.approx(0, abs=1e-5)
    assert moved.changed == 0


def test_the_run_of_another_shop_is_refused(learnt: Learnt) -> None:
    others = ItemIds(np.arange(1_000, 1_020))
    with pytest.raises(DataError, match=r"none of the 40 items .* is in the log"):
        WarmStart.of(learnt, learnt.user_ids, others, Blocks(), 1.0)


def test_a_log_that_has_not_grown_is_refused(learnt: Learnt) -> None:
    start = WarmStart.of(learnt, learnt.user_ids, learnt.item_ids, Blocks(), 1.0)
    with pytest.raises(DataError, match="learnt from already; expected a log that has grown"):
        start.lesson(learnt.rows, seed=0, epoch=1)


def test_where_nothing_new_is_left_to_choose_by_all_epochs_are_done(
    learnt: Learnt, grown: tuple[Dataset, Split]
) -> None:
    cut = split(grown[0], "leave-last-out")
    old = cut.train.rows  # validation and test are new alone
    pairs = cut.log.users.astype(np.int64) * cut.log.n_items + cut.log.items
    start = WarmStart.of(learnt, grown[0].user_ids, grown[0].item_ids, Blocks(), 1.0)
    known = WarmStart(
        start.learnt, start.blocks, start.growth, np.sort(pairs[np.isin(cut.log.rows, old)]), 1.0
    )
    assert not known.can_choose(cut)
    assert start.can_choose(cut)
    fitted = fit_towers(cut, (), TOWERS, schedule(TRAINING, UPDATE), seed=0, start=known)
    assert fitted.epochs == UPDATE.epochs
    assert {record["phase"] for record in fitted.history} == {"refit"}


class KilledError(Exception):
    """Stands for kill -9."""


def test_a_killed_update_ends_with_the_weights_of_an_unbroken_one(
    grown: tuple[Dataset, Split], start: WarmStart, tmp_path: Path
) -> None:
    def fit(checkpoint: Path | None, kill: bool) -> dict[str, torch.Tensor]:
        def on_epoch(phase: str, *_: object) -> None:
            if kill and phase == "refit":
                raise KilledError

        return fit_towers(
            grown[1], (), TOWERS, schedule(TRAINING, UPDATE), seed=0, checkpoint=checkpoint,
            checkpoint_seconds=0, on_epoch=on_epoch, start=start,
        ).towers.state_dict()  # fmt: skip

    unbroken = fit(None, kill=False)
    with pytest.raises(KilledError):
        fit(tmp_path / "checkpoint", kill=True)
    resumed = fit(tmp_path / "checkpoint", kill=False)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_fitting_from_a_start_reads_lessons_in_the_search_and_in_the_refit(
    grown: tuple[Dataset, Split], start: WarmStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_at: list[int] = []
    lesson = WarmStart.lesson

    def counted(self: WarmStart, rows: Interactions, *, seed: int, epoch: int) -> Interactions:
        chosen = lesson(self, rows, seed=seed, epoch=epoch)
        assert 0 < len(np.unique(chosen.users)) < len(np.unique(rows.users))
        read_at.append(epoch)
        return chosen

    monkeypatch.setattr(WarmStart, "lesson", counted)
    training = schedule(TRAINING, UPDATE)
    fitted = fit_towers(grown[1], (), TOWERS, training, seed=0, start=start)
    searched = len([record for record in fitted.history if record["phase"] == "search"])
    assert read_at == [*range(1, searched + 1), *range(1, fitted.epochs + 1)]
