"""The yardstick: implicit's ALS on a prepared log, of the same width, with the same threads.

    python pipelines/benchmarks/scale_als.py --run RUN

Reads the training rows of a folder that ``scale_prepare.py --kept`` left into a sparse matrix, and
fits. An iteration of ALS reads all rows once for the users and once for the items.
"""

import argparse
import json
import time
from pathlib import Path

from implicit.cpu.als import AlternatingLeastSquares
from scale_prepare import memory
from threadpoolctl import threadpool_limits

from recsys.data.dataset import Dataset
from recsys.data.splits import Split


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    dataset = Dataset.load(args.run / "data")
    rows = Split.load(args.run / "data", dataset).train
    taken = rows.histories().matrix(rows.n_items)
    model = AlternatingLeastSquares(
        factors=args.factors,
        iterations=args.iterations,
        num_threads=args.threads,
        random_state=0,
    )
    started = time.perf_counter()
    with threadpool_limits(1, "blas"):  # its own threads would fight those of BLAS
        model.fit(taken, show_progress=False)
    seconds = time.perf_counter() - started
    found = {
        "rows": dataset.counts.read,
        "train": len(rows),
        "factors": args.factors,
        "iterations": args.iterations,
        "seconds": round(seconds, 1),
        "seconds_per_iteration": round(seconds / args.iterations, 1),
        "rows_per_second": round(len(rows) * args.iterations / seconds),
        "peak_megabytes": memory("VmHWM"),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
