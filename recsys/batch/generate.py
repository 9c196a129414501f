"""Everybody's recommendations, part by part, in files that are there whole or not at all.

A killed batch goes on with the parts that are missing. Each part depends on nothing but its own
users, so it has the same bytes whenever, wherever and beside whatever it is made.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.batch.job import Format, Job
from recsys.batch.journal import Journal, Written
from recsys.batch.places import Folder, Place
from recsys.batch.search import Choice, Search, choose_search, with_search
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, ConfigError
from recsys.files import JOURNAL
from recsys.progress import progress_bar
from recsys.recommenders.recommender import Recommender

__all__ = ["BatchReport", "Spread", "generate", "write_parts"]

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
NOTHING: Mapping[str, int] = MappingProxyType({})

# Numbers of parts, and what answers -> what was written, in any order: another way to write parts.
Spread = Callable[[Sequence[int], Choice], Iterable[Written]]


@dataclass(frozen=True)
class BatchReport:
    """What a batch wrote, now and before it was killed."""

    users: int
    rows: int
    parts: int
    short: int  # users with fewer than k items, because fewer were allowed
    search: dict[str, Any]  # what answered, and the speeds that decided it
    seconds: float  # of this call


def generate(
    recommender: Recommender,
    folder: Path,
    *,
    k: int,
    users: NDArray[np.int32] | None = None,
    blocked: Ragged | None = None,
    candidates: NDArray[np.bool_] | None = None,
    file_format: Format = "parquet",
    part_users: int = 100_000,
    batch_size: int = 1_024,
    search: Search = "auto",
    device: torch.device = CPU,
) -> BatchReport:
    """Write the top k of many users as ``part-00000.parquet``, ... into ``folder``.

    Args:
        recommender: who gets what.
        folder: an existing folder, empty but for what a killed call with the same arguments left;
            the caller renames it when all is written.
        k: items per user; what a user has taken already is left out.
        users: user numbers, int32 ``(u,)``; everybody when not given.
        blocked: further items per user never to return, ``n_users`` rows.
        candidates: items allowed for everybody, bool ``(n_items,)``.
        file_format: of the part files.
        part_users: users in one part file.
        batch_size: users ranked at a time.
        search: what answers; ``"auto"`` measures.
        device: where user vectors and exact search are computed.
    """
    if users is None:
        users = np.arange(len(recommender.user_ids), dtype=np.int32)
    job = Job(
        recommender,
        users,
        k,
        blocked=blocked,
        candidates=candidates,
        file_format=file_format,
        part_users=part_users,
        batch_size=batch_size,
    )
    report = write_parts(job, Folder(folder), folder / JOURNAL, search=search, device=device)
    (folder / JOURNAL).unlink()  # what another model writes here later is another batch
    return report


def write_parts(
    job: Job,
    place: Place,
    journal_file: Path,
    *,
    search: Search = "auto",
    device: torch.device = CPU,
    spread: Spread | None = None,
    ours: Mapping[str, int] = NOTHING,
) -> BatchReport:
    """Write the parts of a job that the journal does not know of, or whose files are not sound.

    Args:
        job: what is asked.
        place: where parts are written.
        journal_file: says what is written; of another job, it and its parts are removed.
        search: what answers; a batch that goes on keeps what it began with.
        device: where user vectors and exact search are computed.
        spread: writes parts elsewhere than in this process.
        ours: parts of an earlier batch that may be removed, and their sizes.

    Raises:
        ConfigError: the place is not the run's own and holds parts of something else.
    """
    started = time.perf_counter()
    journal = Journal(journal_file)
    if journal.plan.get("job") == job.digest:
        journal.keep_sound(place)
        choice = Choice(**journal.plan["search"])
    else:
        _empty(place, journal, ours)
        choice = choose_search(job, search, device)
        journal.begin({"job": job.digest, "search": choice.facts})
    missing = [part for part in range(job.parts) if part not in journal.parts]
    if journal.parts:
        logger.info("going on: %d of %d parts are written", len(journal.parts), job.parts)
    with progress_bar("users") as bar:
        kept = sum(one.users for one in journal.parts.values())
        task = bar.add_task("recommending", total=len(job.users), completed=kept)
        if spread is None:
            told = with_search(job, choice.search, device)
            for part in missing:
                journal.add(told.write(part, place, lambda users: bar.advance(task, users)))
        else:
            for written in spread(missing, choice):
                journal.add(written)
                bar.advance(task, written.users)
    place.sweep()
    report = _report(job, journal, choice, time.perf_counter() - started)
    speed = (len(job.users) - kept) / max(report.seconds, 1e-9)
    logger.info("%d users, %d rows, %.0f users/s", report.users, report.rows, speed)
    return report


def _empty(place: Place, journal: Journal, ours: Mapping[str, int]) -> None:
    """Make room for another job; in a place that the user named, only what is known is removed."""
    known = dict(ours) | {one.name: one.size for one in journal.parts.values()}
    own = isinstance(place, Folder) and place.path == journal.path.parent
    strange = [] if own else sorted(dict(place.sizes().items() - known.items()))
    if strange:
        raise ConfigError(
            f"--to {place.name}: holds {strange[0]} and {len(strange) - 1} more parts that are not "
            "of this batch; choose another folder, or remove them"
        )
    place.clear()


def _report(job: Job, journal: Journal, choice: Choice, seconds: float) -> BatchReport:
    parts = journal.parts.values()
    counts = (sum(getattr(one, name) for one in parts) for name in ("users", "rows", "short"))
    users, rows, short = counts
    if users != len(job.users) or len(parts) != job.parts:
        raise ArtifactError(
            f"{journal.path}: {users:,} users in {len(parts)} parts, expected {len(job.users):,}; "
            "recommend again with --force"
        )
    return BatchReport(users, rows, len(parts), short, choice.facts, seconds)
