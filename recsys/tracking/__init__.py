"""The record of what was done: MLflow, TensorBoard, W&B, or nothing, behind one protocol."""

from recsys.tracking.mlflow_runs import MlflowTracker, quiet_mlflow, read_curves, tracking_uri
from recsys.tracking.opened import open_tracker
from recsys.tracking.protocol import NoTracker, Tracker

__all__ = [
    "MlflowTracker",
    "NoTracker",
    "Tracker",
    "open_tracker",
    "quiet_mlflow",
    "read_curves",
    "tracking_uri",
]
