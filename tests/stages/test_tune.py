"""The search: its space, what a kill and a second call leave, pruning, and two processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from recsys.config import Config
from recsys.config_file import load_config, make_config
from recsys.errors import ConfigError
from recsys.stages.command import Command
from recsys.stages.run import Run
from recsys.stages.stage import Record
from recsys.stages.tune.results import Results
from recsys.stages.tune.search import search
from recsys.stages.tune.space import Space
from recsys.stages.tune.trial import Learnable

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


def silent(record: Record) -> None:
    pass


def searched(config: Path, *overrides: str, force: bool = False) -> Results:
    return search(
        Command.of(config, overrides, config.parent / "run").run, force=force, tell=silent
    )


def study_of(config: Path) -> optuna.Study:
    path = config.parent / "run" / "tune" / "study.db"
    return optuna.load_study(study_name="tune", storage=f"sqlite:///{path}")


def settings(study: optuna.Study) -> list[dict[str, Any]]:
    """Of the trials that count, in their order."""
    return [trial.params for trial in study.trials if trial.state == TrialState.COMPLETE]


def in_space(**space: Any) -> Config:
    names = {key.replace("__", "."): value for key, value in space.items()}
    return make_config({"data": {"source": "synthetic"}, "tune": {"space": names}})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"towers__dimm": [8, 16]}, "did you mean 'towers.dim'"),
        ({"learning_rate": [0.1, 0.2]}, "did you mean 'training.learning_rate'"),
        ({"index__trees": [8, 16]}, r"index.trees: cannot be searched"),
        ({"towers__fusion": ["sum", "summ"]}, "towers.fusion = 'summ'"),
        ({"towers__dim": [8, 1]}, "towers.dim = 1: .*greater than or equal to 2"),
        ({"training__learning_rate": {"low": 0, "high": 1}}, "learning_rate = 0.0"),
        ({"towers__fusion": {"low": 0, "high": 1}}, "towers.fusion"),
    ],
)
def test_a_space_that_cannot_be_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Space.of(in_space(**space))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([8], "two values or more"),
        (8, "expected {low, high, log}"),
        ({"low": 4, "heigh": 8}, "some of the keys"),
        ({"low": 8, "high": 4}, "low = 8 has to be below high = 4"),
        ({"low": 0, "high": 4, "log": True}, "log = true needs a low above 0"),
    ],
)
def test_values_that_cannot_be_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        in_space(towers__dim=values)


def test_the_usual_space_holds_the_configs_own_setting() -> None:
    raw = {"dim": 48, "members": 2, "encoder": ["means", "gru"], "history": 30}
    config = make_config({"data": {"source": "synthetic"}, "towers": raw})
    space = Space.of(config)
    own = space.own()
    assert own is not None
    assert space.applied(own) == config
    assert "towers.fusion" not in space.values, "nothing to fuse without content"
    assert Space.of(in_space(towers__dim=[4, 8])).own() is None, "128 is not among 4 and 8"


def test_settings_become_the_config(config: Path) -> None:
    space = Space.of(
        in_space(towers__encoder=["gru", ["means", "gru"]], towers__history={"low": 5, "high": 9})
    )
    study = optuna.create_study()
    for _ in range(4):
        params = study.ask(dict(space.distributions)).params
        towers = space.applied(params).towers
        assert list(towers.encoder) in (["gru"], ["means", "gru"])
        assert towers.history in range(5, 10)
        assert type(towers.history) is int


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
    assert (folder / "tune.png").stat().st_size > 10_000
    (four, eight) = results.by_value["towers.dim"]
    assert four.finished + eight.finished == 3
    assert max(four.best, eight.best) == results.best.value


def test_the_score_is_that_of_validation_without_the_test(config: Path) -> None:
    """The first trial is the config's own: training it alone, with refit off, scores the same."""
    score = searched(config, "tune.trials=1").trials["score"].iloc[0]
    run = Command.of(config, ["split.refit=false"], config.parent / "alone")
    run.stage("prepare"), run.stage("embed")
    assert run.stage("train")["train"]["validation_ndcg@10"] == pytest.approx(score, abs=1e-12)


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
    searched(other / "my.toml", "tune.trials=4")  # nothing left to do
    assert len(study_of(other / "my.toml").trials) == 4
    searched(other / "my.toml", "tune.trials=4", "seed=1", force=True)
    assert settings(study_of(other / "my.toml"))[1:] != whole[1:]


def test_a_killed_trial_is_tried_again(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(config, "tune.trials=4")
    whole = settings(study_of(config))
    killed = config.parent / "killed"
    killed.mkdir()
    (killed / "my.toml").write_text(CONFIG)
    work = [sys.executable, "-m", "recsys", "tune", "my.toml", "--out", "run", "--trials", "4"]
    slow = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(work, cwd=killed, env=slow, stderr=subprocess.PIPE)
    try:
        database = killed / "run" / "tune" / "study.db"
        until = time.monotonic() + 60
        running: list[Any] = []
        while time.monotonic() < until and not running:
            if database.is_file():
                try:
                    states = [one.state for one in study_of(killed / "my.toml").trials]
                except (KeyError, optuna.exceptions.StorageInternalError):
                    continue  # being made
                running = [state for state in states if state == TrialState.RUNNING]
        assert running, "the search did not begin"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    searched(killed / "my.toml", "tune.trials=4")
    study = study_of(killed / "my.toml")
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.FAIL) <= 1  # none, if it was done in that very moment
    assert states.count(TrialState.COMPLETE) == 4
    assert settings(study) == whole


def test_another_space_is_not_mixed_in(config: Path) -> None:
    searched(config, "tune.trials=1")
    with pytest.raises(ConfigError, match="--force begins anew"):
        searched(config, "tune.trials=1", "tune.space.towers.dim=[4,8,16]")
    with pytest.raises(ConfigError, match="--force begins anew"):
        searched(config, "tune.trials=1", "training.epochs=1")
    searched(config, "tune.trials=1", "training.epochs=1", force=True)
    assert len(study_of(config).trials) == 1


def test_a_hopeless_trial_is_given_up(config: Path) -> None:
    """A rate of 1e-9 learns nothing: the median of the others lies above it at once."""
    space = "tune.space={'training.learning_rate' = [3e-2, 1e-9]}"
    words = ["training.epochs=6", "tune.pruner=median", "tune.warmup=1", "tune.startup=2"]
    searched(config, space, *words, "tune.trials=8", "training.learning_rate=3e-2")
    study = study_of(config)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert {trial.params["training.learning_rate"] for trial in pruned} == {1e-9}
    for trial in pruned:
        assert max(trial.intermediate_values) < 6, "it did not run to its end"
        assert "below others at epoch" in trial.user_attrs["why"]


def test_settings_that_do_not_go_together_are_pruned_with_the_reason(config: Path) -> None:
    results = searched(config, "tune.space={'towers.dim' = [8, 9], 'towers.heads' = [1, 2]}")
    odd = results.trials[results.trials["towers.dim"] == 9]
    assert (odd["state"] == "pruned").all()
    assert odd["why"].str.contains("dim = 9 cannot be cut into members = 2").all()
    assert (results.trials.loc[results.trials["towers.dim"] == 8, "state"] == "complete").all()


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


def test_the_time_is_kept(config: Path) -> None:
    results = searched(config, "tune.trials=500", "tune.timeout=0.5")
    assert 1 <= len(results.finished) < 500


def test_two_processes_do_exactly_what_was_asked(config: Path) -> None:
    results = searched(config, "tune.trials=5", "tune.processes=2", "training.epochs=1")
    assert results.trials["state"].tolist() == ["complete"] * 5
    assert len(study_of(config).trials) == 5


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
