"""The trackers of a config."""

from pathlib import Path

from recsys.config import Config
from recsys.tracking.mlflow_runs import MlflowTracker, tracking_uri
from recsys.tracking.protocol import NoTracker, Tracker, flat
from recsys.tracking.several import SeveralTrackers, WatchingTracker
from recsys.tracking.tensorboard_runs import TensorboardTracker
from recsys.tracking.wandb_runs import WandbTracker

__all__ = ["open_tracker"]


def open_tracker(config: Config, out: Path, *, name: str | None = None) -> Tracker:
    """Start recording the run that writes to ``out``.

    MLflow's store is ``[tracking] uri``, else ``MLFLOW_TRACKING_URI``, else SQLite beside ``out``;
    TensorBoard's and W&B's files lie beside ``out``, too.

    Args:
        config: says where, and is noted as parameters.
        out: the run's folder.
        name: of the record; absent: the folder's.

    Raises:
        ConfigError: a tracker's library is not installed.
    """
    kinds = config.tracking.kinds
    if not kinds:
        return NoTracker()
    trackers = [_open(kind, config, out, name or out.name) for kind in kinds]
    tracker: Tracker = trackers[0] if len(trackers) == 1 else SeveralTrackers(trackers)
    tracker.params(flat(config.model_dump(mode="json", exclude_none=True)))
    if config.tracking.system_metrics:
        return WatchingTracker(tracker, config.tracking.system_seconds)
    return tracker


def _open(kind: str, config: Config, out: Path, name: str) -> Tracker:
    experiment = config.tracking.experiment
    if kind == "tensorboard":
        return TensorboardTracker(out.parent / "tensorboard" / name.replace(" ", "-"))
    if kind == "wandb":
        return WandbTracker(experiment, name, out.parent)
    artifacts = out.parent / "mlartifacts"
    return MlflowTracker(tracking_uri(config, out), experiment, name, artifacts)
