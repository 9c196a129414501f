"""Training at scale: measures all of it and writes a page with a plot.

    python pipelines/benchmarks/scale.py --work FOLDER [--page pipelines/benchmarks/scale]

Every measurement runs in processes of its own and leaves a json file in the page's folder; those
that are there are not made again, so that a stopped call goes on, and what was measured on a GPU
stays beside what was measured on a CPU. ``--work`` takes some 12 GB of logs and prepared data.
With two cores all takes about half an hour. ``--only gpu`` measures what needs CUDA.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scale_page import write_page

HERE = Path(__file__).parent
MILLION = 1_000_000
PREPARED = (10 * MILLION, 30 * MILLION, 100 * MILLION)  # rows
EPOCHS = (5 * MILLION, 10 * MILLION, 20 * MILLION)
SIZES = (10_000, 100_000, MILLION)  # items
YARDSTICK = 10 * MILLION

Found = dict[str, Any]


def measurements(work: Path) -> dict[str, Callable[[], Found]]:
    """What is measured, by name, in this order."""
    made: dict[str, Callable[[], Found]] = {}
    for rows in PREPARED:
        made[f"prepare-{rows}"] = partial(_prepare, work, rows)
    made["epoch-100000000"] = partial(_epoch, work, PREPARED[-1], "--steps", "400")
    for rows in EPOCHS:
        made[f"epoch-{rows}"] = partial(_epoch, work, rows)
    for items in SIZES:
        made[f"train-{items}"] = partial(_train, items)
    made["train-10000-drawn"] = partial(_train, SIZES[0], "--negatives", "popularity")
    made["train-1000000-ahead"] = partial(_train, MILLION, "--prefetch", "4")
    for number in ("1", "2"):
        shared = ("--processes", number, "--threads", number, "--batch", "512")
        made[f"processes-{number}"] = partial(_train, MILLION, *shared)
    made["als"] = partial(_als, work)
    on_gpu = ["--device", "cuda", "--threads", "8", "--drawn", "8192"]
    on_gpu += ["--batch", "4096", "--prefetch", "6"]
    for items in SIZES:
        made[f"gpu-{items}"] = partial(_train, items, *on_gpu)
    return made


def _prepare(work: Path, rows: int) -> Found:
    words = ["--rows", str(rows), "--out", str(work), "--kept"]
    return _call("scale_prepare.py", *words)


def _epoch(work: Path, rows: int, *words: str) -> Found:
    run = work / f"run-{rows}"
    if not run.exists():
        _prepare(work, rows)
    return _call("scale_epoch.py", "--run", str(run), *words)


def _train(items: int, *words: str) -> Found:
    return _call("scale_train.py", "--items", str(items), *words)


def _als(work: Path) -> Found:
    run = work / f"run-{YARDSTICK}"
    if not run.exists():
        _prepare(work, YARDSTICK)
    return _call("scale_als.py", "--run", str(run))


def _call(script: str, *words: str) -> Found:
    """Run a benchmark; the last line that it prints is what it found."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, str(HERE / script), *words]
    told = subprocess.run(  # noqa: S603
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    found: Found = json.loads(told.stdout.splitlines()[-1])
    return {"command": " ".join([script, *words]), **found}


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument("--page", type=Path, default=HERE / "scale")
    parser.add_argument("--machine", default=platform.machine(), help="what the page calls it")
    parser.add_argument("--only", default="", help="names that begin so")
    args = parser.parse_args()
    args.page.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    for name, measure in measurements(args.work).items():
        path = args.page / f"{name}.json"
        if path.exists() or not name.startswith(args.only):
            continue
        if name.startswith("gpu") and not torch.cuda.is_available():
            continue
        started = time.perf_counter()
        found = measure() | {
            "torch": torch.__version__,
            "cores": len(os.sched_getaffinity(0)),
            "machine": args.machine,
        }
        found["command"] = found["command"].replace(str(args.work), "WORK")
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {time.perf_counter() - started:.0f} s: {found}", flush=True)
    if not args.only:
        print(write_page(args.page))


if __name__ == "__main__":
    main()
