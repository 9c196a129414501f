"""The trackers of a config."""

from pathlib import Path

from recsys.config import Config
from recsys.tracking.mlflow_runs import MlflowTracker, tracking_uri
from recsys.tracking.protocol import NoTracker, Tracker, flat

__all__ = ["open_tracker"]


def open_tracker(config: Config, out: Path, *, name: str | None = None) -> Tracker:
    """Start recording the run that writes to ``out``.

    MLflow's store is ``[tracking] uri``, else ``MLFLOW_TRACKING_URI``, else SQLite beside ``out``.

    Args:
        config: says where, and is noted as parameters.
        out: the run's folder.
        name: of the record; absent: the folder's.
    """
    if config.tracking.kind == "none":
        return NoTracker()
    tracker = MlflowTracker(
        tracking_uri(config, out),
        config.tracking.experiment,
        run_name=name or out.name,
        artifacts=out.parent / "mlartifacts",
    )
    tracker.params(flat(config.model_dump(mode="json", exclude_none=True)))
    return tracker
