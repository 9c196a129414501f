"""Which search answers a batch: the index as it is stored, or exact search; measured, not guessed.

Exact search is bound by multiplication and so grows with the items; the index looks at a part of
them, with more to do for each. What is faster depends on catalogue, machine and users.
"""

import logging
import time
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from recsys.batch.job import Job
from recsys.batch.on_device import DeviceIndex
from recsys.index.exact import ExactIndex
from recsys.index.index import Index
from recsys.index.live import LiveIndex
from recsys.recommenders.two_tower import TwoTowerRanker

__all__ = ["Choice", "Search", "choose_search", "with_search"]

logger = logging.getLogger(__name__)

Search = Literal["auto", "index", "exact"]

ROUNDS = 3  # of each, in turn, after one to warm up
WORTH = 1.1  # so many times the speed of exact search is worth answers that are not exact


class Choice(NamedTuple):
    """What answers, and how fast the two were; no speeds where nothing was measured."""

    search: Literal["index", "exact"]
    users_per_second: dict[str, int]

    @property
    def facts(self) -> dict[str, Any]:
        """For ``stage.json``."""
        return self._asdict()


def choose_search(job: Job, wanted: Search, device: torch.device) -> Choice:
    """Time both with a block of the job's own users, if nobody has chosen.

    Answers of exact search are exact, so the index must be faster by a tenth.
    """
    ranker = job.recommender.ranker
    if not isinstance(ranker, TwoTowerRanker) or _is_exact(ranker.index):
        return Choice("exact" if device.type != "cpu" else "index", {})
    if wanted != "auto":
        return Choice(wanted, {})
    speeds = _measure(job, device)
    fastest: Literal["index", "exact"] = (
        "index" if speeds["index"] > WORTH * speeds["exact"] else "exact"
    )
    logger.info("search: %s (users/s: %s)", fastest, speeds)
    return Choice(fastest, speeds)


def with_search(job: Job, search: Literal["index", "exact"], device: torch.device) -> Job:
    """The job with user vectors made on the device and the search that was chosen."""
    ranker = job.recommender.ranker
    if not isinstance(ranker, TwoTowerRanker):
        return job
    index = _exact(ranker.index, device) if search == "exact" else ranker.index
    ranker = replace(ranker, towers=ranker.towers.to(device), index=index)
    return replace(job, recommender=replace(job.recommender, ranker=ranker))


def _is_exact(index: Index) -> bool:
    return isinstance(index.base if isinstance(index, LiveIndex) else index, ExactIndex)


def _exact(index: Index, device: torch.device) -> Index:
    """Exact search over the same items; what changed in them stays changed."""
    if isinstance(index, LiveIndex):
        return replace(index, base=_exact(index.base, device))
    vectors = index.vectors, index.config, index.ids_digest
    return ExactIndex(*vectors) if device.type == "cpu" else DeviceIndex(*vectors, device)


def _measure(job: Job, device: torch.device) -> dict[str, int]:
    """Users per second by the one and the other: the median of blocks that alternate."""
    some = np.linspace(0, len(job.users) - 1, min(len(job.users), job.batch_size)).astype(np.int64)
    asked = job.users[some]
    part = replace(job, users=asked, part_users=len(asked)).with_histories(0)
    jobs = {name: with_search(part, name, device) for name in ("index", "exact")}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(1 + ROUNDS):
        for name, one in jobs.items():
            started = time.perf_counter()
            one.top_k(asked)
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return {name: round(len(asked) / float(np.median(took))) for name, took in seconds.items()}
