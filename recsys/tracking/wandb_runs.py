"""Runs in Weights & Biases; with WANDB_MODE=offline nothing leaves the machine."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError

__all__ = ["WandbTracker"]

logger = logging.getLogger(__name__)

AXIS = "epoch"  # W&B's own steps only grow, but epochs begin again in the second phase


class WandbTracker:
    """Records a run in W&B; a service that fails is told of once and then left alone."""

    def __init__(self, project: str, name: str, folder: Path, *, group: str | None = None) -> None:
        """Open a run.

        Args:
            project: of W&B.
            name: of the run.
            folder: where W&B keeps its files.
            group: the name of the run that this one is part of.

        Raises:
            ConfigError: wandb is not installed.
        """
        try:
            import wandb
        except ImportError:
            raise ConfigError(
                "tracking.kind names wandb, which is not installed: pip install 'recsys[wandb]'"
            ) from None
        self.project, self.name, self.folder = project, name, folder
        self._wandb: Any = wandb
        self._run: Any = None
        with self._forgiving("open the run"):
            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                project=project,
                name=name,
                dir=str(folder),
                group=group,
                job_type="trial" if group else "run",
                reinit="create_new",  # the runs within one are open beside it
            )
            self._run.define_metric(AXIS)
            self._run.define_metric("*", step_metric=AXIS)

    def params(self, values: Mapping[str, Any]) -> None:
        """Note the parameters of the run."""
        with self._forgiving("note parameters"):
            if self._run is not None:
                self._run.config.update(dict(values), allow_val_change=True)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step; of the machine W&B takes its own, so those are left out."""
        own = {name: value for name, value in metrics.items() if not name.startswith("system/")}
        with self._forgiving("log"):
            if self._run is not None and own:
                self._run.log(own | {AXIS: step})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Note facts of the run beside its parameters."""
        self.params(tags)

    def nested(self, name: str) -> "WandbTracker":
        """Open a run of this one's group."""
        return WandbTracker(self.project, name, self.folder, group=self.name)

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Send the final metrics and the files, and close the run."""
        with self._forgiving("finish"):
            if self._run is None:
                return
            self._run.summary.update(dict(metrics))
            for name, path in files.items():
                artifact = self._wandb.Artifact(f"{self._run.id}-{name}", type="run")
                add = artifact.add_dir if path.is_dir() else artifact.add_file
                add(str(path))
                self._run.log_artifact(artifact)
            self._run.finish(exit_code=0 if ok else 1)

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except (self._wandb.Error, OSError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0][:200]
            logger.warning(
                "W&B failed to %s (%s): this run goes on without it; all results stay in the run's "
                "folder",
                what,
                first,
            )
            self._run = None
