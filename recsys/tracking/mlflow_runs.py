"""Runs in an MLflow store."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.config import Config
from recsys.errors import ArtifactError
from recsys.files import locked

__all__ = ["MlflowTracker", "quiet_mlflow", "read_curves", "tracking_uri"]

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0  # metrics wait this long for company: one call per metric slows training
LONGEST_VALUE = 500  # characters of a parameter that every MLflow server takes
MOST_PARAMETERS, MOST_METRICS = 100, 1_000  # in one call, MLflow's own limits


class MlflowTracker:
    """Records a run in an MLflow store; a store that fails is told of once and then left alone."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        artifacts: Path,
        *,
        within: "MlflowTracker | None" = None,
    ) -> None:
        """Open a run.

        Args:
            uri: of the tracking store, such as ``sqlite:///runs/mlflow.db``.
            experiment: its name; made where it is missing.
            run_name: shown in the list of runs.
            artifacts: where a local store keeps files.
            within: the run that this one is part of.
        """
        quiet_mlflow()
        self.uri, self.experiment, self.artifacts = uri, experiment, artifacts
        self.run_id: str | None = None
        self._client: Any = None
        self._waiting: list[Any] = []
        self._lock = threading.Lock()  # of what waits: metrics of the machine come from a thread
        self._sent = time.monotonic()
        if within is not None and not within.is_alive:
            return  # which has said so
        with self._forgiving("open the run"):
            self._open(run_name, within)

    @property
    def is_alive(self) -> bool:
        """Whether the store has answered so far."""
        return self._client is not None

    def params(self, values: Mapping[str, Any]) -> None:
        """Note the parameters of the run."""
        from mlflow.entities import Param

        params = [Param(_name(key), str(value)[:LONGEST_VALUE]) for key, value in values.items()]
        for start in range(0, len(params), MOST_PARAMETERS):
            self._call("log_batch", params=params[start : start + MOST_PARAMETERS])

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step; sent together every few seconds."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._lock:
            self._waiting += [Metric(_name(key), one, now, step) for key, one in metrics.items()]
        if time.monotonic() - self._sent > FLUSH_SECONDS:
            self._flush()

    def tag(self, tags: Mapping[str, str]) -> None:
        """Note facts of the run."""
        from mlflow.entities import RunTag

        entities = [RunTag(key, value[:LONGEST_VALUE]) for key, value in tags.items()]
        self._call("log_batch", tags=entities)

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Send what waits, the final metrics and the files, and close the run."""
        self.log(metrics, step=0)
        self._flush()
        for name, path in files.items():
            if path.is_dir():
                self._call("log_artifacts", local_dir=str(path), artifact_path=name)
            else:
                self._call("log_artifact", local_path=str(path))
        self._call("set_terminated", status="FINISHED" if ok else "FAILED")

    def nested(self, name: str) -> "MlflowTracker":
        """Open a run within this one."""
        return MlflowTracker(self.uri, self.experiment, name, self.artifacts, within=self)

    def _open(self, run_name: str, within: "MlflowTracker | None") -> None:
        from mlflow import MlflowClient

        for chatty in ("mlflow", "alembic"):  # after the import, which sets their levels
            logging.getLogger(chatty).setLevel(logging.WARNING)
        if within is None and self.uri.startswith("sqlite"):
            with locked(self.artifacts):  # two runs at once would both make its tables
                MlflowClient(self.uri).search_experiments(max_results=1)
        client = MlflowClient(self.uri) if within is None else within._client
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            experiment_id = found.experiment_id
        else:
            # A server knows where its files go; a local database must be told.
            location = self.artifacts.resolve().as_uri() if self.uri.startswith("sqlite") else None
            experiment_id = client.create_experiment(self.experiment, artifact_location=location)
        tags = {} if within is None else {"mlflow.parentRunId": str(within.run_id)}
        self.run_id = client.create_run(experiment_id, tags=tags, run_name=run_name).info.run_id
        self._client = client

    def _flush(self) -> None:
        with self._lock:
            some, self._waiting = self._waiting, []
            self._sent = time.monotonic()
        for start in range(0, len(some), MOST_METRICS):
            self._call("log_batch", metrics=some[start : start + MOST_METRICS])

    def _call(self, method: str, **arguments: object) -> None:
        client = self._client  # another thread may find meanwhile that the store is dead
        if client is not None:
            with self._forgiving(method):
                getattr(client, method)(self.run_id, **arguments)

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0][:200]
            logger.warning(
                "MLflow at %s failed to %s (%s): this run goes on without it; all results stay in "
                "the run's folder",
                self.uri,
                what,
                first,
            )
            self._client = None


def read_curves(config: Config, out: Path) -> dict[str, dict[int, float]]:
    """Read from MLflow how the newest training of a run went: metric -> epoch -> value.

    Metrics are such as ``search/loss/seed-0`` and ``search/validation_ndcg_at_10/seed-0``; of a
    second phase they begin with ``refit/``.

    Args:
        config: of the run; says where runs are recorded.
        out: its folder, which its record names.

    Raises:
        ArtifactError: nothing is recorded, or no training of this run.
    """
    kind = config.tracking.kind
    if "mlflow" not in config.tracking.kinds:
        raise ArtifactError(f'{out}: not in MLflow, tracking.kind = {kind!r}; train with "mlflow"')
    quiet_mlflow()
    from mlflow import MlflowClient

    uri = tracking_uri(config, out)
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(config.tracking.experiment)
    runs = [] if found is None else client.search_runs(
        [found.experiment_id], f"tags.out = '{out}'", order_by=["attributes.start_time DESC"]
    )  # fmt: skip
    for run in runs:  # those that found everything done have no epochs
        names = [name for name in run.data.metrics if name.startswith(("search/", "refit/"))]
        if names:
            return {
                name: {
                    one.step: one.value for one in client.get_metric_history(run.info.run_id, name)
                }
                for name in sorted(names)
            }
    raise ArtifactError(f"{uri}: no training of {out} is recorded; `recsys run --force` trains it")


def tracking_uri(config: Config, out: Path) -> str:
    """Say where runs are recorded."""
    given = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(out.parent / 'mlflow.db').resolve()}"


def quiet_mlflow() -> None:
    """Telemetry off; a dead server is given up in seconds, not in the minutes of the defaults."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def _name(key: str) -> str:
    """MLflow allows no @ in names."""
    return key.replace("@", "_at_")
