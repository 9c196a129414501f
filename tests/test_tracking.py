"""Trackers: everything arrives, and what fails or is missing costs nothing but a line."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recsys.config_file import make_config
from recsys.errors import ConfigError
from recsys.stages.curves import draw_curves
from recsys.tracking import MlflowTracker, NoTracker, Tracker, open_tracker
from recsys.tracking.several import system_metrics


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "runs" / "first"
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "metrics.json").write_text("{}")
    return folder


def test_a_run_is_recorded_beside_its_folder(out: Path) -> None:
    from mlflow import MlflowClient

    tracker = open_tracker(make_config({"data": {"interactions": "log.csv"}}), out)
    assert isinstance(tracker, MlflowTracker)
    for epoch in (1, 2):
        tracker.log({"loss": 1.0 / epoch}, step=epoch)
    tracker.tag({"data_digest": "abc"})
    tracker.finish({"two-tower/ndcg@10": 0.5}, {"report": out / "report"}, ok=True)
    client = MlflowClient(f"sqlite:///{out.parent / 'mlflow.db'}")
    assert tracker.run_id is not None
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["towers.dim"] == "128"
    assert run.data.metrics["two-tower/ndcg_at_10"] == 0.5
    assert run.data.tags["data_digest"] == "abc"
    losses = client.get_metric_history(tracker.run_id, "loss")
    assert [(metric.step, metric.value) for metric in losses] == [(1, 1.0), (2, 0.5)]
    listed = client.list_artifacts(tracker.run_id, "report")
    assert [file.path for file in listed] == ["report/metrics.json"]


def test_a_store_that_fails_is_told_of_once(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in place of the database's folder: the store cannot be opened."""
    (out.parent / "blocked").write_text("a file")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{out.parent / 'blocked' / 'mlflow.db'}")
    with caplog.at_level(logging.WARNING):
        tracker = open_tracker(make_config({"data": {"interactions": "log.csv"}}), out)
        tracker.log({"loss": 1.0}, step=1)
        tracker.finish({"ndcg@10": 0.5}, {"report": out / "report"}, ok=True)
    assert isinstance(tracker, MlflowTracker)
    assert not tracker.is_alive
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("recsys.tracking")]
    assert len(warnings) == 1
    assert "all results stay in the run's folder" in warnings[0]


def test_none_records_nothing(out: Path) -> None:
    raw = {"data": {"interactions": "log.csv"}, "tracking": {"kind": "none"}}
    tracker = open_tracker(make_config(raw), out)
    assert isinstance(tracker, NoTracker)
    tracker.log({"loss": 1.0}, step=1)
    tracker.finish({}, {}, ok=True)
    assert not (out.parent / "mlflow.db").exists()


def opened(out: Path, **table: Any) -> Tracker:
    raw = {"data": {"interactions": "log.csv"}, "tracking": table}
    return open_tracker(make_config(raw), out)


def test_several_are_told_the_same(out: Path) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = opened(out, kind=["mlflow", "tensorboard"])
    for epoch in (1, 2):
        tracker.log({"search/loss": 1.0 / epoch}, step=epoch)
    child = tracker.nested("trial 0")
    child.params({"towers.dim": 8, "towers.encoder": ["means", "gru"]})
    child.log({"search/loss": 7.0}, step=1)
    child.finish({"ndcg@10": 0.25}, {}, ok=True)
    tracker.finish({"ndcg@10": 0.5}, {"report": out / "report"}, ok=True)

    client = MlflowClient(f"sqlite:///{out.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("recsys")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["trial 0"].data.tags["mlflow.parentRunId"] == runs["first"].info.run_id
    assert runs["trial 0"].data.metrics["ndcg_at_10"] == 0.25

    folder = out.parent / "tensorboard" / "first"
    events, within = EventAccumulator(str(folder)), EventAccumulator(str(folder / "trial-0"))
    events.Reload(), within.Reload()
    assert [(one.step, one.value) for one in events.Scalars("search/loss")] == [(1, 1.0), (2, 0.5)]
    assert events.Scalars("ndcg@10")[0].value == 0.5
    assert within.Scalars("search/loss")[0].value == 7.0
    assert within.Scalars("ndcg@10")[0].value == 0.25


@pytest.mark.parametrize(
    ("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")]
)
def test_what_is_not_installed_is_said_with_the_command(
    out: Path, kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'recsys\[{kind}\]'"):
        opened(out, kind=kind)


class WandbError(Exception):
    """Stands for wandb.Error."""


class StubWandb(ModuleType):
    """Remembers what is asked of it, by the names of W&B's documentation."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.Error = WandbError
        self.runs: list[Any] = []
        self.dead = False

    def init(self, **named: Any) -> Any:
        if self.dead:
            raise WandbError("api.wandb.ai does not answer")
        run = SimpleNamespace(asked=named, id=f"id{len(self.runs)}", logged=[], sent=[], code=None)
        run.axes = {}
        run.define_metric = lambda name, step_metric=None: run.axes.update({name: step_metric})
        run.config = SimpleNamespace(update=self._updates(run, "params"))
        run.summary = SimpleNamespace(update=self._updates(run, "final"))
        run.log = run.logged.append
        run.log_artifact = run.sent.append
        run.finish = lambda exit_code: setattr(run, "code", exit_code)
        self.runs.append(run)
        return run

    def _updates(self, run: Any, name: str) -> Any:
        setattr(run, name, {})
        return lambda values, **_: getattr(run, name).update(values)

    def Artifact(self, name: str, type: str) -> Any:  # noqa: A002, ARG002, N802
        held: list[str] = []
        return SimpleNamespace(name=name, held=held, add_dir=held.append, add_file=held.append)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StubWandb:
    stub = StubWandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    return stub


def test_wandb_is_told(out: Path, wandb: StubWandb) -> None:
    tracker = opened(out, kind="wandb", experiment="films")
    tracker.log({"loss": 1.0}, step=1)
    tracker.log({"system/cpu_percent": 50.0}, step=1)  # of which it takes its own
    child = tracker.nested("trial 0")
    child.finish({}, {}, ok=False)
    tracker.finish({"ndcg@10": 0.5}, {"report": out / "report"}, ok=True)
    run, within = wandb.runs
    assert (run.asked["project"], run.asked["name"], run.asked["group"]) == ("films", "first", None)
    assert run.asked["reinit"] == within.asked["reinit"] == "create_new"
    assert run.axes == {"epoch": None, "*": "epoch"}
    assert run.params["towers.dim"] == 128
    assert run.logged == [{"loss": 1.0, "epoch": 1}]
    assert run.final == {"ndcg@10": 0.5}
    assert [(one.name, one.held) for one in run.sent] == [("id0-report", [str(out / "report")])]
    assert (run.code, within.code) == (0, 1)
    assert within.asked["group"] == "first"


def test_wandb_that_fails_is_told_of_once(
    out: Path, wandb: StubWandb, caplog: pytest.LogCaptureFixture
) -> None:
    wandb.dead = True
    with caplog.at_level(logging.WARNING):
        tracker = opened(out, kind="wandb")
        tracker.log({"loss": 1.0}, step=1)
        tracker.finish({}, {}, ok=True)
    assert [r.getMessage() for r in caplog.records if "W&B failed" in r.getMessage()] == [
        "W&B failed to open the run (api.wandb.ai does not answer): this run goes on without it; "
        "all results stay in the run's folder"
    ]


def test_the_machine_is_watched_until_the_end(out: Path, wandb: StubWandb) -> None:
    from mlflow import MlflowClient

    tracker = opened(out, kind="mlflow", system_metrics=True, system_seconds=0.05)
    until = time.process_time() + 0.3
    while time.process_time() < until:  # keep a processor busy
        np.ones(1000).sum()
    tracker.finish({}, {}, ok=True)
    client = MlflowClient(f"sqlite:///{out.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("recsys")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    used = client.get_metric_history(run.info.run_id, "system/cpu_percent")
    assert len(used) >= 3
    assert max(one.value for one in used) > 5
    held = client.get_metric_history(run.info.run_id, "system/memory_mib")
    assert all(50 < one.value < 100_000 for one in held)
    assert system_metrics(0.5)["system/cpu_percent"] == 50


def test_a_gpu_that_does_not_tell_its_load_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotSupported(Exception):
        """Stands for pynvml's, which is no RuntimeError."""

    def utilization() -> int:
        raise NotSupported

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (1 << 20, 3 << 20))
    monkeypatch.setattr("torch.cuda.utilization", utilization)
    found = system_metrics(0.5)
    assert found["system/gpu_memory_mib"] == 2
    assert "system/gpu_percent" not in found


@pytest.mark.parametrize(("kind", "name"), [("mlflow", "_client"), ("tensorboard", "_writer")])
def test_a_tracker_that_another_thread_gives_up_is_no_error(
    out: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = opened(out, kind=kind)

    @contextmanager
    def given_up(_: str) -> Iterator[None]:
        setattr(tracker, name, None)  # after this thread has looked whether it is alive
        yield

    monkeypatch.setattr(tracker, "_forgiving", given_up)
    tracker.tag({"a": "b"})
    assert getattr(tracker, name) is None
    tracker.finish({}, {}, ok=True)


def test_kinds_are_told_once_and_checked() -> None:
    data = {"interactions": "log.csv"}
    twice = make_config({"data": data, "tracking": {"kind": ["wandb", "wandb"]}})
    assert twice.tracking.kinds == ("wandb",)
    with pytest.raises(ConfigError, match=r"tracking\.kind"):
        make_config({"data": data, "tracking": {"kind": "wandbb"}})


def test_curves_show_every_phase_and_star_the_chosen_epoch() -> None:
    history = [
        {"phase": phase, "epoch": epoch, "loss": 1 / epoch, "score": score}
        for phase, epoch, score in (("search", 1, 0.1), ("search", 2, 0.3), ("search", 3, 0.2))
    ]
    history += [{"phase": "refit", "epoch": epoch, "loss": 1.0, "score": None} for epoch in (1, 2)]
    losses, scores = draw_curves({0: history, 1: history}).axes
    assert [np.size(line.get_xdata()) for line in losses.lines] == [3, 2, 3, 2]
    stars = [line for line in scores.lines if line.get_marker() == "*"]
    assert [np.asarray(line.get_xydata()).tolist() for line in stars] == [[[2, 0.3]]] * 2
