"""The search: its space, what a kill and a second call leave, pruning, and two processes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.figure import Figure
from optuna.trial import TrialState
from typer.testing import CliRunner

from recsys.cli import app
from recsys.config import Config, TowersConfig, TrainingConfig
from recsys.config_file import load_config
from recsys.epochs import OnEpoch
from recsys.errors import ConfigError, RecsysError, TrainingDiverged
from recsys.stages.command import Command
from recsys.stages.tune.results import Results
from recsys.stages.tune.search import search
from recsys.stages.tune.space import Space
from recsys.stages.tune.study import Searched, ask, forget_killed
from recsys.stages.tune.trial import Learnable
from recsys.training.loop import EpochReport

CONFIG = """
[data]
source = "synthetic"
[data.synthetic]
users = 60
items = 40
per_user = 12
[towers]
dim = 8
[training]
epochs = 2
score_every = 1
device = "cpu"
[tune]
trials = 3
startup = 2
pruner = "none"
[tune.space]
towers.dim = [4, 8]
training.learning_rate = { low = 1e-3, high = 3e-2, log = true }
[tracking]
kind = "none"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are known beforehand in place of a training; no chart."""

    def fit(
        split: object,
        blocks: object,
        towers: TowersConfig,
        training: TrainingConfig,
        *,
        refit: bool,
        on_epoch: OnEpoch,
        **_: object,
    ) -> Any:
        assert not refit, "trained on the rows that judge"
        rate, scores = training.learning_rate, {}
        if rate > 0.5:
            raise TrainingDiverged("epoch 1: the loss is nan")
        for epoch in range(1, training.epochs + 1):
            report = EpochReport(epoch, 1 / epoch, rate, towers.temperature)
            scores[epoch] = (0.4 - 0.1 * abs(np.log10(rate) + 2) + towers.dim / 1000) * epoch
            on_epoch("search", report, scores[epoch])
        return SimpleNamespace(epochs=training.epochs, scores=scores)

    monkeypatch.setattr("recsys.stages.tune.trial.fit_towers", fit)
    monkeypatch.setattr("recsys.stages.tune.results.draw_search", lambda *_: Figure((1, 1)))


def searched(config: Path, *overrides: str, force: bool = False) -> Results:
    run = Command.of(config, overrides, config.parent / "run").run
    return search(run, force=force, tell=lambda _: None)


def study_of(config: Path) -> optuna.Study:
    path = config.parent / "run" / "tune" / "study.db"
    return optuna.load_study(study_name="tune", storage=f"sqlite:///{path}")


def settings(study: optuna.Study) -> list[dict[str, Any]]:
    """Of the trials that count, in their order."""
    return [trial.params for trial in study.trials if trial.state == TrialState.COMPLETE]


@pytest.mark.usefixtures("planned")
def test_a_search_writes_what_it_found(config: Path) -> None:
    results = searched(config)
    folder = config.parent / "run" / "tune"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials["state"].tolist() == ["complete"] * 3
    assert results.best is not None
    assert results.best.value == trials["score"].max()
    own = trials.iloc[0]  # the config's own setting comes first
    assert (own["towers.dim"], own["training.learning_rate"]) == (8, 3e-3)
    best = load_config(folder / "best.toml")
    assert best.towers.dim == results.best.params["towers.dim"]
    assert best.training.learning_rate == results.best.params["training.learning_rate"]
    assert best.data == load_config(config).data
    rows = results.by_value["towers.dim"]
    assert sum(row.finished for row in rows) == 3
    assert max(row.best for row in rows) == results.best.value


def test_the_score_is_that_of_validation_without_the_test(config: Path) -> None:
    """The first trial is the config's own: training it alone, with refit off, scores the same."""
    score = searched(config, "tune.trials=1").trials["score"].iloc[0]
    run = Command.of(config, ["split.refit=false"], config.parent / "alone")
    run.stage("prepare"), run.stage("embed")
    assert run.stage("train")["train"]["validation_ndcg@10"] == pytest.approx(score, abs=1e-12)


@pytest.mark.usefixtures("planned")
def test_the_same_seed_tries_the_same_and_another_call_goes_on(
    config: Path, tmp_path: Path
) -> None:
    searched(config, "tune.trials=4")
    whole = settings(study_of(config))
    other = tmp_path / "other"
    other.mkdir()
    (other / "my.toml").write_text(CONFIG)
    searched(other / "my.toml", "tune.trials=2")
    assert settings(study_of(other / "my.toml")) == whole[:2]
    searched(other / "my.toml", "tune.trials=4")
    assert settings(study_of(other / "my.toml")) == whole
    assert len(study_of(other / "my.toml").trials) == 4
    searched(other / "my.toml", "tune.trials=4", "seed=1", force=True)
    assert settings(study_of(other / "my.toml"))[1:] != whole[1:]


@pytest.mark.usefixtures("planned")
def test_a_killed_trial_is_tried_again(config: Path, tmp_path: Path) -> None:
    """A process that dies leaves a trial that runs for ever, as one that is only asked for does."""
    searched(config, "tune.trials=4")
    whole = settings(study_of(config))
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "my.toml").write_text(CONFIG)
    searched(killed / "my.toml", "tune.trials=2")
    study, loaded = study_of(killed / "my.toml"), load_config(killed / "my.toml", ["tune.trials=4"])
    plan = Searched(killed / "run" / "tune" / "study.db", loaded.tune, 2, loaded.seed)
    asked = ask(study, plan, Space.of(loaded).distributions)
    assert asked is not None
    assert asked.params == whole[2]
    searched(killed / "my.toml", "tune.trials=4")
    states = [trial.state for trial in study_of(killed / "my.toml").trials]
    assert states == [*[TrialState.COMPLETE] * 2, TrialState.FAIL, *[TrialState.COMPLETE] * 2]
    assert settings(study_of(killed / "my.toml")) == whole


@pytest.mark.usefixtures("planned")
def test_a_setting_that_kills_twice_is_passed_over(config: Path) -> None:
    searched(config, "tune.trials=2")
    study, loaded = study_of(config), load_config(config, ["tune.trials=9"])
    plan = Searched(config.parent / "run" / "tune" / "study.db", loaded.tune, 2, loaded.seed)
    begun = []
    for _ in range(3):
        asked = ask(study, plan, Space.of(loaded).distributions)
        assert asked is not None
        begun.append(asked.params)
        assert forget_killed(study, again=True) == 1
    assert begun[0] == begun[1] != begun[2]


@pytest.mark.usefixtures("planned")
def test_a_setting_that_breaks_is_not_drawn_by_every_call(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that the memory does not hold."""
    score = Learnable.score
    bad: list[dict[str, Any]] = []

    def breaks(self: Learnable, tried: Config, trial: optuna.Trial) -> float:
        if trial.number == 1:
            bad.append(trial.params)
        if trial.params in bad:
            raise RuntimeError("out of memory")
        return score(self, tried, trial)

    monkeypatch.setattr(Learnable, "score", breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        searched(config)
    results = searched(config)
    assert results.trials["state"].tolist() == ["complete", "fail", "complete", "complete"]
    assert results.trials["why"][1] == "RuntimeError: out of memory"


@pytest.mark.usefixtures("planned")
def test_a_search_that_finishes_nothing_says_so_and_leaves_no_best(config: Path) -> None:
    searched(config, "tune.trials=1")
    best = config.parent / "run" / "tune" / "best.toml"
    assert best.is_file()
    with pytest.raises(RecsysError, match=r"none of 3 trials was finished; last: .*loss is nan"):
        searched(config, "tune.space={'training.learning_rate' = [0.8, 0.9]}", force=True)
    assert not best.exists()


def test_a_validation_part_that_asks_nothing_is_said_before_any_training(tmp_path: Path) -> None:
    """Nobody else has the items that are held out."""
    rows = [(user, 100 * user + place) for user in range(4) for place in range(10)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(tmp_path / "log.csv", index=False)
    text = CONFIG.replace('source = "synthetic"', 'interactions = "log.csv"')
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(ConfigError, match="nobody validates"):
        searched(tmp_path / "my.toml")


@pytest.mark.usefixtures("planned")
def test_no_more_are_begun_than_were_asked_for(config: Path) -> None:
    """Trials of other processes that are under way count."""
    searched(config, "tune.trials=1")
    loaded = load_config(config)  # of three trials
    plan = Searched(config.parent / "run" / "tune" / "study.db", loaded.tune, 2, loaded.seed)
    study, space = plan.open(), Space.of(loaded).distributions
    assert [ask(study, plan, space) is None for _ in range(3)] == [False, False, True]


@pytest.mark.usefixtures("planned")
def test_another_space_is_not_mixed_in(config: Path) -> None:
    searched(config, "tune.trials=1")
    with pytest.raises(ConfigError, match="--force begins anew"):
        searched(config, "tune.trials=1", "tune.space.towers.dim=[4,8,16]")
    with pytest.raises(ConfigError, match="--force begins anew"):
        searched(config, "tune.trials=1", "training.epochs=1")
    searched(config, "tune.trials=1", "training.epochs=1", force=True)


@pytest.mark.usefixtures("planned")
def test_a_hopeless_trial_is_given_up(config: Path) -> None:
    space = "tune.space={'training.learning_rate' = [1e-2, 1e-9]}"
    words = ["training.epochs=6", "tune.pruner=median", "tune.warmup=3", "tune.startup=2"]
    searched(config, space, *words, "tune.trials=8", "training.learning_rate=1e-2")
    pruned = [trial for trial in study_of(config).trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert {trial.params["training.learning_rate"] for trial in pruned} == {1e-9}
    assert {max(trial.intermediate_values) for trial in pruned} == {3}, "after the warm-up"
    assert {trial.user_attrs["why"] for trial in pruned} == {"below others at epoch 3"}
    searched(config, space, *words, "tune.trials=8", "tune.pruner=none", force=True)
    assert {trial.state for trial in study_of(config).trials} == {TrialState.COMPLETE}


@pytest.mark.usefixtures("planned")
def test_a_setting_that_diverges_is_pruned(config: Path) -> None:
    results = searched(config, "tune.space={'training.learning_rate' = [1e-2, 0.9]}")
    wild = results.trials[results.trials["training.learning_rate"] == 0.9]
    assert len(wild)
    assert (wild["state"] == "pruned").all()
    assert wild["why"].str.contains("the loss is nan").all()


@pytest.mark.usefixtures("planned")
def test_settings_that_do_not_go_together_are_pruned_with_the_reason(config: Path) -> None:
    results = searched(config, "tune.space={'towers.dim' = [8, 9], 'towers.heads' = [1, 2]}")
    odd = results.trials[results.trials["towers.dim"] == 9]
    assert (odd["state"] == "pruned").all()
    assert odd["why"].str.contains("dim = 9 cannot be cut into members = 2").all()
    assert (results.trials.loc[results.trials["towers.dim"] == 8, "state"] == "complete").all()


@pytest.mark.usefixtures("planned")
def test_ctrl_c_keeps_what_there_is(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score, calls = Learnable.score, []

    def stopped(self: Learnable, *words: Any) -> float:
        calls.append(words)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, *words)

    monkeypatch.setattr(Learnable, "score", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched(config)
    states = [trial.state for trial in study_of(config).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL]
    trials = pd.read_parquet(config.parent / "run" / "tune" / "trials.parquet")
    assert trials["why"].tolist() == ["", "stopped"]
    assert (config.parent / "run" / "tune" / "best.toml").is_file()
    searched(config)
    assert len(settings(study_of(config))) == 3


@pytest.mark.usefixtures("planned")
def test_what_ctrl_c_stopped_is_tried_again(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's own setting, too, which is asked for once only."""

    def stopped(*_: Any) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Learnable, "score", stopped)
        searched(config)
    searched(config)
    tried = settings(study_of(config))
    assert tried[0] == {"towers.dim": 8, "training.learning_rate": 3e-3}
    searched(config, force=True)
    assert settings(study_of(config)) == tried


@pytest.mark.usefixtures("planned")
def test_the_time_is_kept(config: Path) -> None:
    results = searched(config, "tune.trials=5000", "tune.timeout=0.3")
    assert 1 <= len(results.finished) < 5000


def test_two_processes_do_exactly_what_was_asked(config: Path) -> None:
    results = searched(config, "tune.trials=5", "tune.processes=2", "training.epochs=1")
    assert results.trials["state"].tolist() == ["complete"] * 5
    assert len(study_of(config).trials) == 5
    assert (config.parent / "run" / "tune" / "tune.png").stat().st_size > 10_000


@pytest.mark.usefixtures("planned")
def test_a_trial_is_a_run_within_the_search_in_mlflow(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = searched(config, "tune.trials=2", "tracking.kind=mlflow")
    client = MlflowClient(f"sqlite:///{config.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("recsys")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("run tune")
    assert results.best is not None
    assert parent.data.metrics["best/validation_ndcg_at_10"] == results.best.value
    assert "best.toml" in {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert sorted(runs) == ["trial 0", "trial 1"]
    for number, trial in enumerate(study_of(config).trials):
        run = runs[f"trial {number}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["towers.dim"] == str(trial.params["towers.dim"])
        assert run.data.metrics["validation_ndcg_at_10"] == trial.value
        curve = client.get_metric_history(run.info.run_id, "search/validation_ndcg_at_10")
        assert {one.step: one.value for one in curve} == trial.intermediate_values
        assert len(client.get_metric_history(run.info.run_id, "search/loss")) == 2


@pytest.mark.usefixtures("planned")
def test_from_the_command_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["tune", str(config), "--out", str(config.parent / "run"), "--trials", "4"]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "Width of a vector, by validation" in shown.stdout
    assert "over the 4" in shown.stdout, "of what importance was computed"
    found = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert found["trials"] == {"complete": 4}
    assert found["best"]["score"] == max(row["best"] for row in found["by_value"]["towers.dim"])
    assert sum(found["importance"].values()) == pytest.approx(1)
    for name in [name for name in sys.modules if name.startswith(("optuna", "recsys.stages.tune"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[tune\]'"):
        CliRunner().invoke(app, words, catch_exceptions=False)
