"""What an answer of an index costs, beside what it finds."""

import time

import numpy as np

from recsys.data.ragged import Ragged
from recsys.index.index import Index
from recsys.index.recall import recall_against_exact
from recsys.index.vectors import Vectors

__all__ = ["measure_index"]

TIMES = 3  # each query is asked


def measure_index(
    index: Index, queries: Vectors, *, k: int = 10, exclude: Ragged | None = None
) -> dict[str, float]:
    """Measure an index with single queries, as a service would ask it.

    Args:
        index: what is measured.
        queries: unit vectors ``(q, dim)`` of those who ask, q at least 1.
        k: how many items they want.
        exclude: per query, items that are not to be returned.

    Returns:
        ``recall`` of exact search's top k and ``inspected``, the share of the items looked at, in
        [0, 1]; ``median_ms``, ``p95_ms`` and ``p99_ms`` over queries, milliseconds of wall time an
        answer, of each query the fastest of three: what else the machine does is no cost of it.
    """
    found = recall_against_exact(index, queries, k=k, exclude=exclude)
    rows = np.arange(len(queries))[:, None]
    asked = [(queries[row], None if exclude is None else exclude.take(row)) for row in rows]
    took = np.empty((TIMES, len(asked)))
    for again in range(TIMES):
        for row, (query, seen) in enumerate(asked):
            started = time.perf_counter()
            index.query(query, k, exclude=seen)
            took[again, row] = 1_000 * (time.perf_counter() - started)
    median, p95, p99 = np.quantile(took.min(axis=0), [0.5, 0.95, 0.99]).tolist()
    share = {name: found[name] for name in ("recall", "inspected")}
    return share | {"median_ms": median, "p95_ms": p95, "p99_ms": p99}
