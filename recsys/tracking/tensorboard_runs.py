"""Runs as TensorBoard's event files: ``tensorboard --logdir runs/tensorboard``."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError

__all__ = ["TensorboardTracker"]

logger = logging.getLogger(__name__)

SIMPLE = (bool, int, float, str)  # what TensorBoard's table of settings takes


class TensorboardTracker:
    """Writes event files; a disk that fails is told of once. Files and folders are not copied."""

    def __init__(self, folder: Path) -> None:
        """Open a run.

        Args:
            folder: of its event files.

        Raises:
            ConfigError: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "tracking.kind names tensorboard, which is not installed: "
                "pip install 'recsys[tensorboard]'"
            ) from None
        self.folder = folder
        self._params: dict[str, Any] = {}
        self._writer: Any = None
        with self._forgiving("open the run"):
            self._writer = SummaryWriter(str(folder))

    def params(self, values: Mapping[str, Any]) -> None:
        """Note the parameters; they are written with the final metrics, beside which they stand."""
        self._params |= {
            key: value if isinstance(value, SIMPLE) else str(value) for key, value in values.items()
        }

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step; TensorBoard's own thread writes them."""
        for name, value in metrics.items():
            self._call("add_scalar", name, value, step)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Note facts as text."""
        for name, value in tags.items():
            self._call("add_text", name, value)

    def nested(self, name: str) -> "TensorboardTracker":
        """Open a run in a folder within this one's."""
        return TensorboardTracker(self.folder / name.replace(" ", "-"))

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:  # noqa: ARG002
        """Write the final metrics beside the parameters, and close the run."""
        self.tag({"status": "finished" if ok else "failed"})
        if self._params or metrics:
            self._call("add_hparams", self._params, dict(metrics), run_name=".")
        self._call("close")

    def _call(self, method: str, *values: object, **named: object) -> None:
        writer = self._writer  # another thread may find meanwhile that the disk is full
        if writer is not None:
            with self._forgiving(method):
                getattr(writer, method)(*values, **named)

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            logger.warning(
                "TensorBoard in %s failed to %s (%s): this run goes on without it; all results "
                "stay in the run's folder",
                self.folder,
                what,
                error,
            )
            self._writer = None
