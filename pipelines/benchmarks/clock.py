"""A clock that can be stopped while something is measured that is not to count."""

import time
from typing import Self

__all__ = ["Clock"]


class Clock:
    """Seconds of wall and of this process's CPU between ``go`` and ``stop``, added up."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self.wall, self.cpu = wall, cpu
        self.started = 0.0, 0.0

    def go(self) -> None:
        """Start or go on."""
        self.started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Add what passed since ``go``."""
        self.wall += time.perf_counter() - self.started[0]
        self.cpu += time.process_time() - self.started[1]

    def copy(self) -> Self:
        """What it shows now."""
        return type(self)(self.wall, self.cpu)
