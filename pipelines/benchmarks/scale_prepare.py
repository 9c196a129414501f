"""How fast is ``prepare`` with a log larger than memory, and how much memory does it take?

    python pipelines/benchmarks/scale_prepare.py --rows 10000000 30000000 100000000 --out FOLDER

Writes logs of generated interactions as parquet (integer ids, items as popular as Zipf's law says),
and prepares each in a process of its own that says its seconds and its peak memory: all that it
held, with the pages of mapped files, and beside it what it had allocated itself.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.config import Config
from recsys.files import remove_folder
from recsys.stages.prepare import prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import perform

FILE_ROWS = 5_000_000
BLOCK = 1_000_000  # rows that are generated at a time
FIRST, SPAN = 1_600_000_000, 100_000_000  # seconds: three years from September 2020 on
WATCHED = 0.02  # seconds between two looks at the memory


def write_log(folder: Path, rows: int, *, users: int = 1_000_000, items: int = 500_000) -> None:
    """Write a log of ``rows`` interactions, 5 million a file; ids are integers, times seconds.

    Users are drawn evenly, and items with a probability of about one through their rank (Zipf).
    Ids are not the numbers 0, 1, ...: they are spread over a range that is 1,000 times as long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    item_ids = random.permutation(items)  # popular items lie anywhere
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        schema = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("time", pa.int64())])
        with pq.ParquetWriter(folder / f"part-{number:04}.parquet", schema) as file:
            stop = min(start + FILE_ROWS, rows)
            for first in range(start, stop, BLOCK):
                n = min(BLOCK, stop - first)
                ranks = (items ** random.random(n)).astype(np.int64) - 1
                columns = {
                    "user_id": random.integers(users, size=n) * 997 + 10**6,
                    "item_id": item_ids[ranks] * 991 + 10**7,
                    "time": FIRST + random.integers(SPAN, size=n),
                }
                file.write_table(pa.table(columns))


def measure(log: Path, out: Path) -> dict[str, Any]:
    """Prepare a log in this process.

    Args:
        log: the folder of `write_log`.
        out: of the run, made anew.
    """
    remove_folder(out)
    config = Config.model_validate(
        {"data": {"interactions": log, "time": "time", "storage": "disk"}, "split": {}}
    )
    with Watch() as watch:
        started, computed = time.perf_counter(), time.process_time()
        facts = perform(prepare_stage(Run(config, out, (0,)))).facts
        seconds, computed = time.perf_counter() - started, time.process_time() - computed
    return {
        "rows": facts["read"],
        "kept": facts["kept"],
        "train": facts["train"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(computed, 1),
        "rows_per_second": round(facts["read"] / seconds),
        "peak_megabytes": memory("VmHWM"),
        "anonymous_megabytes": watch.most,
        "disk_megabytes": sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) >> 20,
    }


class Watch:
    """Looks at this process's own memory (not the pages of files) while something runs."""

    def __init__(self) -> None:
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(WATCHED):
            self.most = max(self.most, memory("RssAnon"))


def memory(name: str) -> int:
    """A size of this process, MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{name}:")[2].split()[0]) // 1024


def in_own_process(log: Path, out: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    words = [sys.executable, __file__, "--measure", str(log), "--out", str(out)]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return dict(json.loads(told.stdout.splitlines()[-1]))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000_000, 30_000_000])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("--kept", action="store_true", help="Keep the logs and what was prepared.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.out)))
        return
    for rows in args.rows:
        log, out = args.out / f"log-{rows}", args.out / f"run-{rows}"
        if not log.with_suffix(".done").exists():
            write_log(log, rows, users=args.users, items=args.items)
            log.with_suffix(".done").touch()
        print(json.dumps(in_own_process(log, out)), flush=True)
        if not args.kept:
            remove_folder(log)
            remove_folder(out)


if __name__ == "__main__":
    main()
