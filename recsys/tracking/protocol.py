"""What a tracker is told.

A tracker must never cost a training run. Everything it is told lies on disk anyway; when its server
is down it says so once and the run goes on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

__all__ = ["NoTracker", "Tracker", "flat"]


class Tracker(Protocol):
    """Records one run."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Note the parameters of the run."""
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step, such as an epoch; may be sent later. Any thread may call it."""
        ...

    def tag(self, tags: Mapping[str, str]) -> None:
        """Note facts such as the data's digest."""
        ...

    def nested(self, name: str) -> "Tracker":
        """Open a run within this one, such as a trial of a search; it is finished by itself."""
        ...

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Note final metrics, upload files and folders by name, and close the run."""
        ...


class NoTracker:
    """Records nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def nested(self, name: str) -> Tracker:  # noqa: ARG002
        """Record nothing of what is within either."""
        return self

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Do nothing."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables in tables as one table: ``{"towers": {"dim": 8}}`` becomes ``{"towers.dim": 8}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found
