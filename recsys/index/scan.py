"""The exact top k of many queries, at about the speed of the matrix product alone.

Most of a plain search goes into choosing, not into multiplying. Here a block of queries meets a
block of items in float32; a score is looked at again only where it reaches the k-th best so far,
less what float32 may be off by, and only those are scored again in double and ranked. The k-th best
of m items is beaten by k more among the next m, so ranking again each time the items have doubled
keeps both the findings and the rankings few.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.threads import workers_for_blas
from recsys.index.topk import TopK, blank_top_k, top_k_of_found
from recsys.index.vectors import Rows, Vectors, cosines_of_pairs, float32_error

__all__ = ["scan"]

QUERIES = 256  # at most, and
FEW = 32  # at least, that meet
ITEMS = 4_096  # so many items at a time: their scores stay in a processor's cache
PENDING = 1 << 17  # findings that wait to be ranked, and one block's
LEAST = np.finfo(np.float32).min  # above what is barred


def scan(
    vectors: Rows,
    queries: Vectors,
    k: int,
    exclude: Ragged | None,
    numbers: NDArray[np.int64] | None,
) -> TopK:
    """Rank all of ``vectors`` ``(n, dim)``, or those with the given ascending numbers.

    Args:
        vectors: of length 1, checked; blocks are unpacked where they are packed.
        queries: ``(q, dim)``, of length 1, checked.
        k: how many of each.
        exclude: per query, item numbers never to return.
        numbers: of the items that are allowed.

    Returns:
        The scores of `recsys.index.vectors.cosines`, bit for bit, whatever the block size.
    """
    found = blank_top_k(len(queries), k)

    def work(rows: NDArray[np.int64]) -> None:
        barred = None if exclude is None else exclude.take(rows)
        found.items[rows], found.scores[rows] = _scan_block(
            vectors, queries[rows], k, barred, numbers
        )

    # A few queries wait for memory: threads of BLAS would only wait as well, for each other.
    with workers_for_blas() as workers:
        size = int(np.clip(-(-len(queries) // workers), FEW, QUERIES))
        blocks = np.split(np.arange(len(queries)), range(size, len(queries), size))
        if len(blocks) == 1 or workers == 1:
            for rows in blocks:
                work(rows)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, blocks))
    return found


def _scan_block(
    vectors: Rows,
    queries: Vectors,
    k: int,
    exclude: Ragged | None,
    numbers: NDArray[np.int64] | None,
) -> TopK:
    """Scan for a few queries."""
    n = len(vectors) if numbers is None else len(numbers)
    off = np.float32(2 * float32_error(vectors.shape[1]))  # the bound's and what is held against it
    by_item = _by_item(exclude)
    best, least = blank_top_k(len(queries), k), np.full((len(queries), 1), LEAST)
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
    next_ranking = count = 0
    for start in range(0, n, ITEMS):
        here = slice(start, min(start + ITEMS, n))
        items = np.arange(here.start, here.stop) if numbers is None else numbers[here]
        scores = queries @ vectors[here if numbers is None else items].T
        _bar(scores, items, by_item)
        if len(items) > k and (least == LEAST).any():  # no bound yet: that of this block
            bound = np.partition(scores, -k, axis=1)[:, -k, None] - off
            least = np.maximum(least, bound)
        # np.flatnonzero has several times the speed of np.nonzero
        rows, places = np.divmod(np.flatnonzero(scores >= least), len(items))
        waiting.append((rows, items[places].astype(np.int32)))
        count += len(rows)
        if here.stop >= next_ranking or here.stop == n or count > PENDING:
            best = _rank(best, waiting, queries, vectors)
            least = np.maximum(best.scores[:, -1:] - off, LEAST)
            waiting, count, next_ranking = [], 0, 2 * here.stop
    return best


def _by_item(exclude: Ragged | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Excluded items and the rows they are barred in, both ``(m,)``, items ascending."""
    if exclude is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    order = np.argsort(exclude.values, kind="stable")
    return exclude.values[order].astype(np.int64), exclude.row_numbers[order]


def _bar(
    scores: NDArray[np.float32],
    items: NDArray[np.int64],
    by_item: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Set the scores of excluded items to -inf; column j is item ``items[j]``."""
    first, last = np.searchsorted(by_item[0], (items[0], items[-1] + 1))
    barred, rows = by_item[0][first:last], by_item[1][first:last]
    places = np.searchsorted(items, barred)
    mine = items[places] == barred
    scores[rows[mine], places[mine]] = -np.inf


def _rank(
    best: TopK,
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int32]]],
    queries: Vectors,
    vectors: Rows,
) -> TopK:
    """The best so far together with what waits, scored in double."""
    rows, items = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
    if not len(rows):
        return best
    scores = cosines_of_pairs(queries, vectors, rows, items)
    filled = best.items >= 0
    return top_k_of_found(
        np.concatenate([np.nonzero(filled)[0], rows]),
        np.concatenate([best.items[filled], items]),
        np.concatenate([best.scores[filled], scores]),
        *best.items.shape,
    )
