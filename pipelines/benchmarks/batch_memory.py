"""How much memory and time do everybody's recommendations take, with many millions of users?

    python pipelines/benchmarks/batch_memory.py --users 10000000 --slice 500000 --out FOLDER

Makes what ``prepare``, ``train`` and ``index`` would leave for generated users (integer or text
ids), with towers that have learnt nothing: they cost what trained ones cost. Then a process of its
own recommends to slices of the users and says its peak memory and its speed. What the slices show
is extrapolated, and marked so.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsys.batch.generate import write_parts
from recsys.batch.job import Job
from recsys.batch.places import Folder
from recsys.config import IndexConfig, TowersConfig
from recsys.data.stored_log import StoredLog, dataset_without_log
from recsys.files import JOURNAL, remove_folder, write_json
from recsys.index.index import build_index, load_index
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.two_tower import TwoTower

USERS_A_TIME = 100_000  # while the log is made


def make(folder: Path, args: argparse.Namespace) -> None:
    """Write data, towers and index."""
    remove_folder(folder)
    folder.mkdir(parents=True)
    _write_data(folder / "data", args)
    known = np.ones(args.items, dtype=np.bool_)
    towers = TwoTower(TowersConfig(dim=args.dim), args.users, [], known, seed=0).eval()
    (folder / "towers").mkdir()
    save_towers(towers, folder / "towers")
    data = dataset_without_log(folder / "data")
    some = np.arange(500, dtype=np.int32)
    histories = StoredLog.open(folder / "data").of(some).histories().take(some)
    index = build_index(
        towers.item_vectors(),
        IndexConfig(kind=args.index),
        ids_digest=data.item_ids.digest,
        askers=towers.user_vectors(some, histories),
        exclude=histories,
    )
    index.save(folder / "index")


def _write_data(folder: Path, args: argparse.Namespace) -> None:
    """Histories of geometric length, of items as popular as Zipf's law says."""
    folder.mkdir()
    random = np.random.default_rng(0)
    path, writer, rows = folder / "interactions.parquet", None, 0
    for start in range(0, args.users, USERS_A_TIME):
        users = np.arange(start, min(start + USERS_A_TIME, args.users), dtype=np.int32)
        users = np.repeat(users, random.geometric(1 / args.per_user, len(users)))
        popular = (args.items ** random.random(len(users))).astype(np.int32) - 1
        times = 1_700_000_000_000 + random.integers(10**10, size=len(users))
        order = np.lexsort((times, users))
        table = pa.table(
            {
                "users": users,
                "items": popular,
                "times": times[order],
                "weights": np.ones(len(users), dtype=np.float32),
                "rows": np.arange(rows, rows + len(users)),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
        rows += len(users)
    if writer is not None:
        writer.close()
    ids = pa.array(np.arange(args.users) + 10**9)
    if args.text_ids:
        ids = ids.cast(pa.string())
    pq.write_table(pa.table({"user_id": ids}), folder / "users.parquet")
    numbers = np.arange(args.items)
    pq.write_table(
        pa.table({"item_id": numbers, "catalogue_row": numbers}), folder / "items.parquet"
    )
    about = {"users": args.users, "items": args.items, "time_kind": "timestamp"}
    write_json(folder / "dataset.json", about | {"notes": [], "generated": True, "rows": rows})


def measure(folder: Path, users: int, args: argparse.Namespace) -> dict[str, Any]:
    """Recommend to the first users; memory is that of this process."""
    data = dataset_without_log(folder / "data")
    towers = load_towers(folder / "towers", [])
    index = load_index(folder / "index", ids_digest=data.item_ids.digest)
    recommender = Recommender.of(TwoTowerRanker(towers, index), data)
    loaded = _peak()
    everybody = np.arange(len(data.user_ids), dtype=np.int32)[:users]
    log = StoredLog.open(folder / "data")
    job = Job(recommender, everybody, args.k, log=log, part_users=args.part_users)
    out = folder / "recommendations"
    remove_folder(out)
    out.mkdir()
    started, computed = time.perf_counter(), time.process_time()
    report = write_parts(job, Folder(out), out / JOURNAL, search=args.search)
    seconds, computed = time.perf_counter() - started, time.process_time() - computed
    size = sum(path.stat().st_size for path in out.glob("part-*"))
    return {
        "users": users,
        "loaded_megabytes": loaded,
        "peak_megabytes": _peak(),
        "users_per_second": round(users / seconds),
        "users_per_core_second": round(users / computed),  # whatever else the machine does
        "bytes_per_user": round(size / users, 1),
        "search": report.search,
    }


def _peak() -> int:
    """The most memory that this process has held, MB; getrusage would count what started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def extrapolate(args: argparse.Namespace) -> None:
    """Measure slices in processes of their own, and extrapolate the longest."""
    found = []
    for share in (5, 2, 1):
        words = [sys.executable, *sys.argv, "--measure", str(args.slice // share)]
        told = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
        found.append(json.loads(told.stdout.splitlines()[-1]))
        print(found[-1], flush=True)
    last = found[-1]
    hours = args.users / last["users_per_second"] / 3600
    gigabytes = args.users * last["bytes_per_user"] / 1e9
    print(
        f"{args.users:,} users, extrapolated from {args.slice:,}: {hours:.2f} hours, "
        f"{gigabytes:.2f} GB of parquet, {last['peak_megabytes']:,} MB of memory at most "
        "(it does not grow with the slice)"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--per-user", type=float, default=10.0)
    parser.add_argument("--slice", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--part-users", type=int, default=100_000)
    parser.add_argument("--index", choices=("exact", "annoy"), default="exact")
    parser.add_argument("--search", choices=("auto", "index", "exact"), default="auto")
    parser.add_argument("--text-ids", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/batch"))
    parser.add_argument("--kept", action="store_true", help="Use the data that are there.")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.measure is not None:
        print(json.dumps(measure(args.out, args.measure, args)))
        return
    if not args.kept:
        started = time.perf_counter()
        make(args.out, args)
        print(f"made in {time.perf_counter() - started:.0f} s", flush=True)
    extrapolate(args)


if __name__ == "__main__":
    main()
