"""How many positions a second does training learn, and what part of the time is matrix products?

    python pipelines/benchmarks/scale_train.py --items 10000 100000 1000000 [--device cuda]

Each size is measured in a process of its own, on a log generated in memory, with items as popular
as Zipf's law says. A position is a place of a history from which the next items are guessed. First
come steps that do not count, then steps that are timed, then some under torch's profiler: which
part of the operations' own time is matrix products (``mm``, ``addmm``, ``bmm``, attention), and how
many floating point operations they make a second of the whole step, beside what one large product
of this machine reaches. ``--processes N`` starts as many by torchrun, with a share of the threads.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.towers.two_tower import TwoTower
from recsys.training.loop import Learner, train
from recsys.training.workers import Workers, open_workers

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "attention", "gemm", "cutlass")
WARM, TIMED, PROFILED = 12, 40, 6  # steps
SQUARE = 4_096  # rows and columns of the product that says what the machine can


class EnoughError(Exception):
    """Enough steps were measured."""


@dataclass
class Steps:
    """Looks at the steps of a training: when each ended, and what the last ones did."""

    device: torch.device
    args: argparse.Namespace
    done: int = 0

    def __post_init__(self) -> None:
        self.ends: list[float] = []
        self.flops = 0.0
        self.counter: Any = None
        self.profiler: Any = None

    def __call__(self, *_: object) -> None:
        """Told of a step."""
        self.done += 1
        timed = self.args.warm + self.args.timed
        if self.done >= self.args.warm and self.done <= timed:
            self._wait()
            self.ends.append(time.perf_counter())
        if self.done == timed:
            self.counter = FlopCounterMode(display=False)
            self.counter.__enter__()
        if self.done == timed + 1:
            self.counter.__exit__(None, None, None)
            self.flops = float(self.counter.get_total_flops())
            activities = [ProfilerActivity.CPU]
            if self.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self.profiler = profile(activities=activities)
            self.profiler.__enter__()
        if self.done == timed + 1 + self.args.profiled:
            self._wait()
            self.profiler.__exit__(None, None, None)
            raise EnoughError

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def seconds(self) -> float:
        """Of a step, the median."""
        return median(np.diff(self.ends))

    @property
    def share(self) -> float:
        """Which part of the operations' own time is matrix products."""
        on_gpu = self.device.type == "cuda"
        own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        times = {
            event.key: getattr(event, own)
            for event in self.profiler.key_averages()
            if not on_gpu or event.device_type.name == "CUDA"
        }
        products = sum(t for key, t in times.items() if any(p in key for p in PRODUCTS))
        return float(products / max(1, sum(times.values())))


def make_rows(users: int, items: int, rows: int) -> Interactions:
    """Generate a log in memory: as many rows a user, items by Zipf's law."""
    random = np.random.default_rng(0)
    places = random.permutation(items)  # popular items lie anywhere
    ranks = (items ** random.random(rows)).astype(np.int64) - 1
    number = np.arange(rows)
    return Interactions(
        (number * users // rows).astype(np.int32),
        places[ranks].astype(np.int32),
        number,
        np.ones(rows, dtype=np.float32),
        number,
        users,
        items,
    )


def measure(items: int, args: argparse.Namespace, workers: Workers) -> dict[str, Any]:
    """Train some steps in this process."""
    device = torch.device(args.device)
    rows = make_rows(args.users, items, args.rows)
    config = TrainingConfig(
        prefixes=args.prefixes,
        batch_size=args.batch,
        negatives=args.negatives,
        n_negatives=args.drawn,
        horizon=1,
        precision=args.precision,
        prefetch=args.prefetch,
        device=args.device,
    )
    shape = TowersConfig(dim=args.dim, members=1, encoder=(args.encoder,), history=args.history)
    towers = TwoTower(shape, rows.n_users, [], rows.item_counts() > 0, seed=0).to(device)
    learner = Learner(towers, config)
    steps = Steps(device, args)
    try:
        for _ in train(learner, rows, config, seed=0, until=9, workers=workers, on_step=steps):
            pass
    except EnoughError:
        pass
    each = args.rows / args.users if args.prefixes == "all" else 1.0
    known = args.batch * min(each, args.history + 1.0)
    rate = product_rate(device)
    return {
        "items": items,
        "encoder": args.encoder,
        "batch": args.batch,
        "negatives": args.drawn if items > 50_000 or args.negatives != "auto" else "all",
        "processes": workers.size,
        "threads": torch.get_num_threads(),
        "prefetch": args.prefetch,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "milliseconds": round(1_000 * steps.seconds, 2),
        "positions_per_second": round(known / steps.seconds),
        "product_share": round(steps.share, 3),
        "gigaflops_per_second": round(steps.flops / steps.seconds / 1e9, 1),
        "of_product_rate": round(steps.flops / steps.seconds / rate, 3),
        "product_gigaflops_per_second": round(rate / 1e9, 1),
        "peak_megabytes": _peak_memory(),
        "device_megabytes": torch.cuda.max_memory_allocated() >> 20 if device.type == "cuda" else 0,
    }


def product_rate(device: torch.device) -> float:
    """Floating point operations a second of one large matrix product, float32 or on CUDA bf16."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    square = torch.randn(SQUARE // (1 if device.type == "cuda" else 2), device=device)
    square = torch.randn(len(square), len(square), device=device).to(dtype)
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        square @ square
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return float(2 * len(square) ** 3 / median(seconds[2:]))


def _peak_memory() -> int:
    """Of this process, MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def in_own_process(items: int, processes: int, words: list[str]) -> dict[str, Any]:
    """`measure` in processes of its own."""
    run = [sys.executable]
    if processes > 1:
        run += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*run, __file__, "--measure", "--items", str(items), *words]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return dict(json.loads(told.stdout.splitlines()[-1]))


@contextmanager
def _joined(args: argparse.Namespace) -> Iterator[Workers]:
    with open_workers(args.device) as workers:
        torch.set_num_threads(max(1, args.threads // workers.size))
        yield workers


def arguments() -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--encoder", default="transformer")
    parser.add_argument("--history", type=int, default=50)
    parser.add_argument("--prefixes", choices=("one", "all"), default="all")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--negatives", default="auto")
    parser.add_argument("--drawn", type=int, default=2_048)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--prefetch", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--warm", type=int, default=WARM, help="steps that do not count")
    parser.add_argument("--timed", type=int, default=TIMED)
    parser.add_argument("--profiled", type=int, default=PROFILED)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    args = arguments()
    if args.measure:
        with _joined(args) as workers:
            found = measure(args.items[0], args, workers)
            if workers.is_first:
                print(json.dumps(found))
        return
    passed = ["users", "rows", "dim", "encoder", "history", "prefixes", "batch", "negatives"]
    passed += ["drawn", "precision", "prefetch", "device", "threads", "warm", "timed", "profiled"]
    words = [word for name in passed for word in (f"--{name}", str(getattr(args, name)))]
    for items in args.items:
        print(json.dumps(in_own_process(items, args.processes, words)), flush=True)


if __name__ == "__main__":
    main()
