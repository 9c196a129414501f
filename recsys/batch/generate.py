"""Everybody's recommendations, block by block, into part files that appear all at once."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.progress import progress_bar
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender

__all__ = ["BatchReport", "Format", "generate"]

logger = logging.getLogger(__name__)

Format = Literal["parquet", "csv", "jsonl"]


@dataclass(frozen=True)
class BatchReport:
    """What a batch run wrote."""

    users: int
    rows: int
    parts: int
    short: int  # users with fewer than k items, because fewer were allowed
    seconds: float


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
) -> BatchReport:
    """Write the top k of many users as ``part-00000.parquet``, ... into ``folder``.

    Memory is bounded by a part (``part_users * k`` rows) and a block of ``batch_size`` users.

    Args:
        recommender: who gets what.
        folder: an existing, empty folder; the caller renames it when all is written.
        k: items per user; what a user has taken already is left out.
        users: user numbers, int32 ``(u,)``; everybody when not given.
        blocked: further items per user never to return, ``n_users`` rows.
        candidates: items allowed for everybody, bool ``(n_items,)``.
        file_format: of the part files.
        part_users: users in one part file.
        batch_size: users ranked at a time.
    """
    started = time.perf_counter()
    if users is None:
        users = np.arange(len(recommender.user_ids), dtype=np.int32)
    rows = parts = short = 0
    with progress_bar() as bar:
        task = bar.add_task("recommending", total=len(users))
        for start in range(0, len(users), part_users):
            blocks = []
            for block in _blocks(users[start : start + part_users], batch_size):
                table, incomplete = _one_block(recommender, block, k, blocked, candidates)
                blocks.append(table)
                short += incomplete
                bar.advance(task, len(block))
            part = pd.concat(blocks, ignore_index=True)
            _write(part, folder / f"part-{parts:05d}.{file_format}", file_format)
            rows, parts = rows + len(part), parts + 1
    seconds = time.perf_counter() - started
    logger.info("%d users, %d rows, %.0f users/s", len(users), rows, len(users) / seconds)
    return BatchReport(len(users), rows, parts, short, seconds)


def _blocks(users: NDArray[np.int32], size: int) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(users), size):
        yield users[start : start + size]


def _one_block(
    recommender: Recommender,
    users: NDArray[np.int32],
    k: int,
    blocked: Ragged | None,
    candidates: NDArray[np.bool_] | None,
) -> tuple[pd.DataFrame, int]:
    queries = Queries(users, recommender.histories.take(users))
    barred = None if blocked is None else blocked.take(users)
    found = recommender.top_k(queries, k, exclude=barred, candidates=candidates)
    return recommender.table(users, found), int((found.items < 0).any(axis=1).sum())


def _write(table: pd.DataFrame, path: Path, file_format: Format) -> None:
    if file_format == "parquet":
        table.to_parquet(path, index=False)
    elif file_format == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_json(path, orient="records", lines=True)
