"""Fitting: validation chooses the epochs, a kill changes nothing, the test part stays unseen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import recsys
from recsys.config import TowersConfig, TrainingConfig
from recsys.data.dataset import Dataset
from recsys.data.protocols import Part
from recsys.data.splits import Split, split
from recsys.epochs import Phase
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.fitting import Fitted, fit_towers
from recsys.index.exact import ExactIndex
from recsys.progress import set_quiet
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.training.loop import EpochReport

TOWERS = TowersConfig(dim=8)
TRAINING = TrainingConfig(
    epochs=8, score_every=2, patience=2, batch_size=16, learning_rate=0.02, device="cpu"
)


class KilledError(Exception):
    """Stands for kill -9: nothing after it is done."""


def write_log(folder: Path, seed: int = 0) -> Path:
    """Even users take even items, odd users odd ones; ids are disjoint and do not start at 0."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(40), 10)
    draws = [random.choice(30, size=10, replace=False) for _ in range(40)]
    items = np.concatenate(draws) * 2 + users % 2
    log = pd.DataFrame({"user_id": users + 1000, "item_id": items + 5000, "time": np.arange(400)})
    path = folder / "log.csv"
    log.to_csv(path, index=False)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Split:
    return split(Dataset.from_files(write_log(tmp_path), time="time"), "user-time")


def same(first: Fitted, second: Fitted) -> bool:
    mine, other = first.towers.state_dict(), second.towers.state_dict()
    return all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.fixture(autouse=True)
def not_quiet() -> None:
    """A command with --quiet before these tests has silenced the console for good."""
    set_quiet(False)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("killed_in", [("search", 3), ("search", 6), ("refit", 1)])
def test_a_killed_fit_ends_with_the_weights_of_an_unbroken_one(
    parts: Split,
    tmp_path: Path,
    refit: bool,
    killed_in: tuple[Phase, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fit(checkpoint: Path | None, kill: bool) -> Fitted:
        def on_epoch(phase: Phase, report: EpochReport, score: float | None) -> None:
            if kill and (phase, report.epoch) == killed_in:
                raise KilledError

        return fit_towers(
            parts,
            (),
            TOWERS,
            TRAINING,
            seed=1,
            refit=refit,
            checkpoint=checkpoint,
            checkpoint_seconds=0,
            on_epoch=on_epoch,
        )

    unbroken = fit(None, kill=False)
    checkpoint = tmp_path / "checkpoint"
    if refit or killed_in[0] == "search":
        with pytest.raises(KilledError):
            fit(checkpoint, kill=True)
        assert checkpoint.is_dir()
    assert "goes on" not in capsys.readouterr().err
    resumed = fit(checkpoint, kill=False)
    if killed_in[0] == "search":
        said = " ".join(capsys.readouterr().err.split())
        assert f"training goes on after epoch {killed_in[1] - 1} and 2 steps, where it was" in said
    assert same(resumed, unbroken)
    assert resumed.epochs == unbroken.epochs
    assert resumed.scores == unbroken.scores
    assert resumed.history == unbroken.history


def test_a_killed_fit_that_looks_at_times_goes_on_exactly(parts: Split, tmp_path: Path) -> None:
    towers = TowersConfig(dim=8, encoder=("transformer",), time_gaps=True)
    training = TRAINING.model_copy(update={"prefixes": "all", "epochs": 4})
    timed = replace(parts, log=replace(parts.log, times=parts.log.times**3), time_kind="timestamp")

    def fit(checkpoint: Path | None, kill: bool) -> Fitted:
        def on_epoch(phase: Phase, report: EpochReport, score: float | None) -> None:
            if kill and report.epoch == 3:
                raise KilledError

        return fit_towers(
            timed,
            (),
            towers,
            training,
            seed=1,
            refit=False,
            checkpoint=checkpoint,
            checkpoint_seconds=0,
            on_epoch=on_epoch,
        )

    unbroken = fit(None, kill=False)
    with pytest.raises(KilledError):
        fit(tmp_path / "checkpoint", kill=True)
    assert same(fit(tmp_path / "checkpoint", kill=False), unbroken)
    learnt = unbroken.towers.state_dict()["users.encoders.0.blocks.0.gaps"]
    assert learnt.abs().max() > 0


@pytest.mark.parametrize("time", ["time", None])
def test_an_order_has_no_gaps(tmp_path: Path, time: str | None) -> None:
    order = split(Dataset.from_files(write_log(tmp_path), time=time), "user-time")
    towers = TowersConfig(dim=8, encoder=("transformer",), time_gaps=True)
    with pytest.raises(ConfigError, match="needs moments"):
        fit_towers(order, (), towers, TRAINING, seed=0)


def test_validation_chooses_the_epoch_and_patience_ends_the_search(parts: Split) -> None:
    training = TRAINING.model_copy(update={"epochs": 60, "score_every": 1, "patience": 3})
    fitted = fit_towers(parts, (), TOWERS, training, seed=0)
    best = max(fitted.scores.values())
    assert fitted.scores[fitted.epochs] == best
    assert fitted.epochs == min(epoch for epoch, score in fitted.scores.items() if score == best)
    searched = [record for record in fitted.history if record["phase"] == "search"]
    assert len(searched) == min(fitted.epochs + 3, 60)
    again = [record for record in fitted.history if record["phase"] == "refit"]
    assert len(again) == fitted.epochs


def test_without_refit_the_best_epoch_is_kept_not_the_last(parts: Split) -> None:
    training = TRAINING.model_copy(update={"score_every": 1, "epochs": 40, "patience": 40})
    fitted = fit_towers(parts, (), TOWERS, training, seed=0, refit=False)
    assert fitted.epochs < 40, "the case needs a best epoch before the last"
    ranker = TwoTowerRanker(fitted.towers, ExactIndex.build(fitted.towers.item_vectors()))
    score = evaluate_ranker(ranker, parts.task("validation"), ks=(10,)).means["ndcg@10"]
    assert score == fitted.scores[fitted.epochs] == max(fitted.scores.values())
    assert score != fitted.scores[40]


def test_of_equal_scores_the_earlier_epoch_wins(
    parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.epochs._validation_score", lambda *_: 0.5)
    fitted = fit_towers(parts, (), TOWERS, TRAINING, seed=0)
    assert fitted.epochs == TRAINING.score_every
    assert list(fitted.scores) == [2, 4, 6], "patience ends it after two that are no better"


def test_with_nothing_to_choose_by_all_epochs_are_done(parts: Split) -> None:
    rest = np.where(parts.parts == Part.VALIDATION, Part.TEST, parts.parts).astype(np.int8)
    blind = Split(parts.protocol, parts.log, rest, parts.item_parts)
    for refit in (True, False):
        fitted = fit_towers(blind, (), TOWERS, TRAINING, seed=0, refit=refit)
        assert (fitted.epochs, fitted.scores) == (TRAINING.epochs, {})
    assert np.isfinite(fitted.towers.item_vectors()).all()


def test_the_test_part_changes_nothing(parts: Split) -> None:
    other = np.where(parts.parts == 2, parts.log.items[::-1], parts.log.items)
    altered = Split(
        parts.protocol,
        type(parts.log)(
            parts.log.users,
            other.astype(np.int32),
            parts.log.times,
            parts.log.weights,
            parts.log.rows,
            parts.log.n_users,
            parts.log.n_items,
        ),
        parts.parts,
        parts.item_parts,
    )
    assert len(parts.test)
    assert not np.array_equal(altered.test.items, parts.test.items)
    one, two = (fit_towers(p, (), TOWERS, TRAINING, seed=0) for p in (parts, altered))
    assert same(one, two)


def test_the_python_way_from_file_to_recommendations(tmp_path: Path) -> None:
    dataset = recsys.Dataset.from_files(write_log(tmp_path), time="time")
    cut = recsys.split(dataset, "user-time", test_fraction=0.2)
    training = TRAINING.model_copy(update={"epochs": 30, "learning_rate": 0.03})
    recommender = recsys.fit(dataset, cut, towers=TOWERS, training=training, seed=0)
    table = recommender.recommend([1000, "1001"], k=5)
    assert list(table.columns) == ["user_id", "rank", "item_id", "score"]
    assert table["user_id"].tolist() == [1000] * 5 + [1001] * 5
    assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    same_parity = (table["item_id"] - table["user_id"]) % 2 == 0
    assert same_parity.mean() >= 0.9, "even users like even items"
    log = pd.read_csv(tmp_path / "log.csv")
    seen = table.merge(log, on=["user_id", "item_id"])
    assert seen.empty
    newcomer = recommender.recommend(history=[5000, 5002, 5004], k=5)
    assert newcomer["user_id"].isna().all()
    assert (newcomer["item_id"] % 2 == 0).mean() >= 0.8
    assert not set(newcomer["item_id"]) & {5000, 5002, 5004}
    assert recsys.evaluate(recommender, cut).means["ndcg@10"] > 0.2
    assert len(recommender.similar(5000, k=3)) == 3
