"""MLflow: everything arrives, and a dead server costs nothing but a warning."""

import logging
from pathlib import Path

import pytest

from recsys.config_file import make_config
from recsys.tracking import MlflowTracker, NoTracker, open_tracker


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
