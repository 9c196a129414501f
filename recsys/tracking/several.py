"""One tracker of several, and one that watches the machine while it records."""

import resource
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recsys.tracking.protocol import Tracker

__all__ = ["SeveralTrackers", "WatchingTracker", "system_metrics"]

MIB = 1 << 20


class SeveralTrackers:
    """Tells each of several trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Take those that are open."""
        self.trackers = tuple(trackers)

    def params(self, values: Mapping[str, Any]) -> None:
        """Tell each."""
        for tracker in self.trackers:
            tracker.params(values)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Tell each."""
        for tracker in self.trackers:
            tracker.log(metrics, step)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tell each."""
        for tracker in self.trackers:
            tracker.tag(tags)

    def nested(self, name: str) -> "SeveralTrackers":
        """Open a run within that of each."""
        return SeveralTrackers([tracker.nested(name) for tracker in self.trackers])

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Tell each."""
        for tracker in self.trackers:
            tracker.finish(metrics, files, ok=ok)


class WatchingTracker:
    """Notes, beside what it is told, what the process takes of the machine, until it is finished.

    A thread samples; the tracker sends samples with what else waits. Steps are seconds since the
    run was opened.
    """

    def __init__(self, tracker: Tracker, seconds: float) -> None:
        """Begin to sample, every so many seconds."""
        self.tracker, self.seconds = tracker, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system metrics", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, Any]) -> None:
        """Pass it on."""
        self.tracker.params(values)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Pass it on."""
        self.tracker.log(metrics, step)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Pass it on."""
        self.tracker.tag(tags)

    def nested(self, name: str) -> Tracker:
        """Open a run within; the machine is watched for this one only."""
        return self.tracker.nested(name)

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], *, ok: bool) -> None:
        """Stop sampling, then pass it on."""
        self._over.set()
        self._thread.join()
        self.tracker.finish(metrics, files, ok=ok)

    def _watch(self) -> None:
        begun = wall = time.monotonic()
        processor = time.process_time()
        while not self._over.wait(self.seconds):
            now, used = time.monotonic(), time.process_time()
            share = (used - processor) / (now - wall)
            wall, processor = now, used
            self.tracker.log(system_metrics(share), step=round(now - begun))


def system_metrics(processor: float) -> dict[str, float]:
    """What this process takes of processors (percent) and memory (MiB), and of a GPU if it has one.

    Args:
        processor: seconds of processors, of all threads, by seconds of the clock; 1.0 is one core.
    """
    found = {"system/cpu_percent": 100 * processor, "system/memory_mib": _resident() / MIB}
    if torch.cuda.is_available():
        try:
            free, total = torch.cuda.mem_get_info()
            found["system/gpu_memory_mib"] = (total - free) / MIB
            found["system/gpu_percent"] = float(torch.cuda.utilization())
        except Exception:  # NVIDIA's library is not there, or has errors of its own (MIG: no load)
            return found
    return found


def _resident() -> int:
    """Bytes of this process in memory; where the system does not say, the most that there were."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()
