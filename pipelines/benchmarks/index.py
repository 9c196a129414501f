"""What does the index find, look at and cost on many items, beside hnswlib?

Clustered unit vectors (1,000 centres ~ N(0, I), rows centre + 0.8 N(0, I), normalised, seed 0),
queries likewise. The index is calibrated with 500 queries; recall@20 is measured with 500 others,
latency with single queries; Annoy also with allow lists of 50 %, 10 %, 1 % and 0.1 % of the items.

    python pipelines/benchmarks/index.py [--items 1000000] [--dim 64] [--recall 0.99]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from recsys.config import IndexConfig
from recsys.index.exact import ExactIndex
from recsys.index.index import Index, build_index
from recsys.index.recall import recall_against_exact
from recsys.index.vectors import Vectors
from recsys.report.latency import measure_index

CENTRES, NOISE, K = 1_000, 0.8, 20
ASKERS, TIMED = 500, 100
BLOCK = 50_000  # vectors drawn at a time
SHARES = (0.5, 0.1, 0.01, 0.001)


def main() -> None:
    """Build, then print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--recall", type=float, default=0.99)
    asked = parser.parse_args()
    items, queries = clustered(asked.items, asked.dim)
    for kind in ("annoy", "hnsw"):
        started = time.perf_counter()
        config = IndexConfig(kind=kind, recall=asked.recall, recall_k=K, n_jobs=2)
        index = build_index(items, config, askers=queries[:ASKERS])
        took = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{index!r}\nbuilt and calibrated in {took:.0f} s, peak of memory {peak:,.0f} MiB")
        measured(index, queries)
        if kind == "annoy":
            filtered(index, ExactIndex.build(items), queries[-TIMED:])


def measured(index: Index, queries: Vectors) -> None:
    """Print the sizes of the files, recall, and what a query alone takes."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        sizes = {path.name: path.stat().st_size / 2**20 for path in Path(folder).iterdir()}
    print("files, MiB:", ", ".join(f"{name} {size:,.0f}" for name, size in sorted(sizes.items())))
    found = recall_against_exact(index, queries[ASKERS : 2 * ASKERS], k=K)
    alone = measure_index(index, queries[-TIMED:], k=K)
    print(
        f"recall@{K} {found['recall']:.4f}, looks at {found['inspected']:.2%}; a query alone: "
        f"median {alone['median_ms']:.2f} ms, 99 % below {alone['p99_ms']:.2f} ms",
        flush=True,
    )


def clustered(n_items: int, dim: int) -> tuple[Vectors, Vectors]:
    """Items ``(n, dim)`` and those who ask, all of length 1."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(CENTRES, dim)).astype(np.float32)

    def draw(n: int) -> Vectors:
        vectors = centres[random.integers(CENTRES, size=n)]
        vectors += NOISE * random.normal(size=(n, dim)).astype(np.float32)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    blocks = [draw(min(BLOCK, n_items - start)) for start in range(0, n_items, BLOCK)]
    return np.concatenate(blocks), draw(2 * ASKERS + TIMED)


def filtered(index: Index, exact: ExactIndex, queries: Vectors) -> None:
    """Print recall and time of a batch of queries where only some items are allowed."""
    for share in SHARES:
        allowed = np.random.default_rng(1).random(len(index)) < share
        started = time.perf_counter()
        mine = index.query(queries, K, candidates=allowed).items
        middle = time.perf_counter()
        right = exact.query(queries, K, candidates=allowed).items
        ended = time.perf_counter()
        hits = sum(np.isin(a[a >= 0], b).sum() for a, b in zip(right, mine, strict=True))
        short = int(((mine >= 0).sum(axis=1) < (right >= 0).sum(axis=1)).sum())
        milliseconds = 1_000 / len(queries)
        print(
            f"{share:.1%} allowed: recall@{K} {hits / max(1, (right >= 0).sum()):.4f}, {short} "
            f"short lists, {milliseconds * (middle - started):.1f} ms a query in a batch (exact "
            f"{milliseconds * (ended - middle):.1f} ms)",
            flush=True,
        )


if __name__ == "__main__":
    main()
