"""Numbered tasks on a Ray cluster: what is heavy is loaded once a worker, a lost worker replaced.

Without ``RAY_ADDRESS`` a cluster of this machine is started and ended, which listens on 127.0.0.1
only. Nothing is reported to anybody: Ray's usage statistics and dashboard are off.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from recsys.errors import ConfigError, RecsysError

__all__ = ["Load", "spread"]

logger = logging.getLogger(__name__)

# Called once in every worker, gives what is called with the number of a task; results are json-able
Load = Callable[[], Callable[[int], Any]]

OBJECTS = 256 << 20  # bytes of Ray's store: only numbers pass through it
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
# Whatever its name, Ray heeds it everywhere: without it a cluster of one machine listens to all.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def spread(
    load: Load,
    tasks: Sequence[int],
    *,
    workers: int | None = None,
    threads: int = 1,
    gpus: float = 0.0,
) -> Iterator[Any]:
    """Do tasks on a cluster's workers and yield their results, in the order they are done.

    A task may be done twice, when its worker is lost before it could say so.

    Args:
        load: is sent to the workers; loads what all tasks need.
        tasks: numbers.
        workers: how many; None: as many as there is room for.
        threads: that a worker computes with: so many cores are kept for it.
        gpus: that a worker needs, 0 or 1, or a part of one.

    Raises:
        ConfigError: Ray is not installed, or the cluster has no room for a worker.
        RecsysError: that a worker raised.
    """
    if not len(tasks):
        return
    ray = _import_ray()
    with _joined(ray, workers):
        cpus, room = _room(ray, threads, gpus)
        size = min(workers or room, len(tasks))
        numbers = ray.data.from_items(list(tasks), override_num_blocks=len(tasks))
        done = numbers.map_batches(
            _Worker,
            fn_constructor_args=(load, threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for row in done.iter_rows():
            logger.debug("task %d is done by process %d", row["task"], row["process"])
            yield _result(json.loads(row["result"]))


class _Worker:
    """An actor: loads once, then does tasks. What a user can act on is told, and does not kill."""

    def __init__(self, load: Load, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.load = load
        self.do: Callable[[int], Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        tasks = [int(task) for task in batch["item"]]
        return {
            "task": tasks,
            "process": [os.getpid()] * len(tasks),
            "result": [json.dumps(self._told(task)) for task in tasks],
        }

    def _told(self, task: int) -> dict[str, Any]:
        try:
            self.do = self.do or self.load()
            return {"done": self.do(task)}
        except RecsysError as error:
            return {"kind": type(error).__name__, "error": str(error)}


def _result(told: dict[str, Any]) -> Any:
    """What a worker told, or its error raised here."""
    if "error" not in told:
        return told["done"]
    kinds = {kind.__name__: kind for kind in RecsysError.__subclasses__()}
    raise kinds.get(told["kind"], RecsysError)(told["error"])


def _room(ray: Any, threads: int, gpus: float) -> tuple[int, int]:
    """The cores to keep for a worker, no more than a machine has, and for how many there is room.

    Raises:
        ConfigError: for none.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = min(threads, int(max(node.get("CPU", 0) for node in nodes)))
    room = sum(
        min(node.get("CPU", 0) // cpus, node.get("GPU", 0) // gpus if gpus else float("inf"))
        for node in nodes
        if cpus
    )
    if room < 1:
        what = f"a core{' and a GPU' if gpus else ''}"
        raise ConfigError(f"--engine ray: none of the cluster's {len(nodes)} machines has {what}")
    return cpus, int(room)


def _import_ray() -> Any:
    """Ray with its data library, told to be quiet before it is loaded.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.update(QUIET if "RAY_ADDRESS" in os.environ else QUIET | LOOPBACK)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            f'--engine ray: {error.name} is not installed; pip install "recsys[ray]"'
        ) from None
    return ray


@contextmanager
def _joined(ray: Any, workers: int | None) -> Iterator[None]:
    """Join the cluster of ``RAY_ADDRESS``, or start one here."""
    begun = not ray.is_initialized()
    if begun:
        address = os.environ.get("RAY_ADDRESS")
        local = {} if address else _local(workers)
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if begun:
            ray.shutdown()


def _local(workers: int | None) -> dict[str, Any]:
    """How a cluster of this machine alone is started."""
    return {
        "include_dashboard": False,
        "num_cpus": workers or os.cpu_count(),
        "object_store_memory": OBJECTS,
        "_node_ip_address": "127.0.0.1",
    }
