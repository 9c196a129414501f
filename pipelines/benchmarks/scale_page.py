"""The page of `scale.py`: tables and a plot of what was measured, and what follows from it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from recsys.training.row_wise import row_wise_memory

__all__ = ["write_page"]

Found = dict[str, Any]

MILLION, BILLION = 1_000_000, 1_000_000_000
GPUS, DIM = 8, 64
LINK = (
    100e9  # bytes a second that a GPU is assumed to receive from the others (NVLink; not measured)
)
GPU_MEMORY = 80e9  # bytes
SPARE = 0.25  # of it, for everything but tables


def write_page(folder: Path) -> Path:
    """Write ``README.md`` and ``scale.png`` from the json files beside them."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    prepared = _of(found, "prepare-", "rows")
    epochs = [one for one in _of(found, "epoch-", "rows") if one["steps"] == one["of_steps"]]
    first = [one for one in _of(found, "epoch-", "rows") if one["steps"] < one["of_steps"]]
    plot(prepared, epochs, folder / "scale.png")
    parts = [
        "# Training at scale",
        "Written by `python pipelines/benchmarks/scale.py`; every line is one run, in processes of "
        "its own, seed 0. The data are generated: 1,000,000 users, 500,000 items, as popular as "
        "Zipf's law says, as many rows a user on average as the size divided by the users.",
        _machines(found),
        "![Time and memory as the log grows](scale.png)",
        *_prepare(prepared),
        *_epochs(epochs, first),
        *_training(found),
        *_processes(found),
        *_yardstick(found, epochs),
        *_billion(found, prepared),
    ]
    page = folder / "README.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def _machines(found: dict[str, Found]) -> str:
    """Which line was measured where."""
    places: dict[str, list[str]] = {}
    for name, one in found.items():
        places.setdefault(f"{one['machine']}, torch {one['torch']}", []).append(f"`{name}`")
    lines = [f"- {place}: {', '.join(names)}" for place, names in places.items()]
    return "Measured on:\n\n" + "\n".join(lines)


def _of(found: dict[str, Found], prefix: str, by: str) -> list[Found]:
    """What was found under names that begin so, in order."""
    return sorted((one for name, one in found.items() if name.startswith(prefix)), key=_by(by))


def _by(name: str) -> Any:
    return lambda one: one[name]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; all but the first column to the right."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _prepare(prepared: Sequence[Found]) -> list[str]:
    rows = [
        [
            f"{one['rows'] / MILLION:,.0f} M",
            f"{one['seconds']:,.1f}",
            f"{one['rows_per_second']:,}",
            f"{1e6 * one['cpu_seconds'] / one['rows']:.2f}",
            f"{one['peak_megabytes']:,}",
            f"{one['anonymous_megabytes']:,}",
            f"{one['disk_megabytes']:,}",
        ]
        for one in prepared
    ]
    columns = ["rows", "seconds", "rows/s", "CPU µs a row", "peak MB", "of it anonymous", "disk MB"]
    return [
        "## Prepare\n\nFrom parquet to mapped arrays, ids, split and digests; `peak` counts the "
        "pages of mapped files too, `anonymous` what the process had allocated itself.",
        table(columns, rows),
    ]


def _epochs(epochs: Sequence[Found], first: Sequence[Found]) -> list[str]:
    rows = [
        [
            f"{one['rows'] / MILLION:,.0f} M",
            f"{one['train']:,}",
            f"{one['steps']:,} of {one['of_steps']:,}",
            f"{one['seconds']:,.0f}",
            f"{one['positions_per_second']:,}",
            f"{one['peak_megabytes']:,}",
            f"{one['anonymous_megabytes']:,}",
        ]
        for one in [*epochs, *first]
    ]
    columns = ["log", "training rows", "steps", "seconds", "positions/s", "peak MB", "anonymous"]
    return [
        "## An epoch from disk\n\nEvery prefix of every history, read by `means`, 64 numbers, "
        "batches of 512 users, 1,024 negatives by popularity with logQ, two threads. A position is "
        "a place of a history from which the next item is guessed. An epoch has as many windows "
        "as users, so that longer histories make steps longer, not more.",
        table(columns, rows),
    ]


def _training(found: dict[str, Found]) -> list[str]:
    rows = [
        [
            f"{one['items']:,}",
            f"{one['negatives']}",
            one["device"],
            f"{one['batch']:,}",
            f"{one['prefetch']}",
            f"{one['milliseconds']:,.1f}",
            f"{one['positions_per_second']:,}",
            f"{100 * one['product_share']:.0f} %",
            f"{100 * one['of_product_rate']:.1f} %",
            f"{one['peak_megabytes']:,}" + (f" + {d:,}" if (d := one["device_megabytes"]) else ""),
        ]
        for prefix in ("train-", "gpu-")
        for one in _of(found, prefix, "items")
    ]
    columns = ["items", "negatives", "device", "users a step", "drawn ahead", "ms a step"]
    columns += ["positions/s", "products' share", "of product rate", "peak MB (+ GPU)"]
    adamw, row_wise = (row_wise_memory(500_000, DIM, row_wise=kind) / 1e6 for kind in (False, True))
    rate = next((one for name, one in found.items() if name.startswith("train-")), None)
    told = "" if rate is None else (
        f" One large float32 product reaches {rate['product_gigaflops_per_second']:,.0f} GFLOP/s "
        "with the CPU's two threads."
    )  # fmt: skip
    return [
        "## Throughput\n\nA causal transformer (2 layers, 2 heads) over histories of 50, 64 "
        "numbers, from memory. `products' share` is the part of the operations' own time that is "
        "matrix products, by torch's profiler; `of product rate` is how many floating point "
        "operations a whole step makes a second, beside one large matrix product on the same "
        f"device (float32 on the CPU, bf16 on CUDA).{told}",
        table(columns, rows),
        f"A table of 500,000 x {DIM} ids takes {adamw:,.0f} MB with AdamW (weights, gradient and "
        f"two moments) and {row_wise:,.0f} MB with row-wise Adam, and {4 * DIM + 8} bytes for each "
        "row that a step touches.",
    ]


def _processes(found: dict[str, Found]) -> list[str]:
    ones = _of(found, "processes-", "processes")
    if len(ones) < 2:
        return []
    base = ones[0]["positions_per_second"]
    rows = [
        [
            f"{one['processes']}",
            f"{one['positions_per_second']:,}",
            f"{one['positions_per_second'] / base:.2f}",
            f"{one['peak_megabytes']:,}",
        ]
        for one in ones
    ]
    return [
        "## Several processes\n\n`torchrun`, gloo, 1,000,000 items, the same 512 users a step "
        "shared by the processes, one thread each, on one machine with two cores.",
        table(["processes", "positions/s", "times one", "peak MB each"], rows),
    ]


def _yardstick(found: dict[str, Found], epochs: Sequence[Found]) -> list[str]:
    als = found.get("als")
    same = [one for one in epochs if als and one["rows"] == als["rows"]]
    if als is None or not same:
        return []
    ours = same[0]
    return [
        f"## A yardstick\n\nimplicit's ALS on the same {als['train']:,} training rows, "
        f"{als['factors']} factors, two threads: {als['seconds_per_iteration']:,.1f} s an "
        f"iteration, {als['peak_megabytes']:,} MB, log in memory. An epoch of ours takes "
        f"{ours['seconds']:,.0f} s, {ours['peak_megabytes']:,} MB, log on disk: "
        f"{ours['seconds'] / als['seconds_per_iteration']:.1f} iterations of ALS, which knows "
        "neither order nor content nor newcomers.",
    ]


def _billion(found: dict[str, Found], prepared: Sequence[Found]) -> list[str]:
    gpu = found.get("gpu-1000000")
    if gpu is None or not prepared:
        return []
    positions, step = gpu["positions_per_second"], gpu["milliseconds"] / 1e3
    touched = 2 * gpu["batch"] * 51  # histories and targets, at most, if no item came twice
    sent = (GPUS - 1) * touched * (4 * DIM + 8)
    epoch = BILLION / (GPUS * gpu["batch"] * 51) * (step + sent / LINK)
    rate = prepared[-1]["rows_per_second"]
    rows = int((1 - SPARE) * GPU_MEMORY / (4 * DIM + 8))
    return [
        f"## One billion interactions on {GPUS} GPUs: a calculation\n\nNot measured. From the "
        f"figures above: one {gpu['device']} learns {positions:,} positions a second, in steps of "
        f"{gpu['batch']:,} users that take {1e3 * step:,.0f} ms. Between steps each GPU receives "
        f"the sparse gradients of the other {GPUS - 1}: at most {touched:,} rows of "
        f"{4 * DIM + 8} bytes from each, {sent / 1e6:,.0f} MB, {1e3 * sent / LINK:,.1f} ms at an "
        f"assumed {LINK / 1e9:,.0f} GB/s. So an epoch of 1,000,000,000 positions takes "
        f"1e9 / ({GPUS} x {gpu['batch']:,} x 51) steps of {1e3 * (step + sent / LINK):,.0f} ms: "
        f"**{epoch / 60:,.1f} minutes**, twenty epochs {20 * epoch / 3600:,.1f} hours. Preparing "
        f"them at {rate:,} rows/s takes {BILLION / rate / 60:,.0f} minutes on two cores, if time "
        "goes on growing as it does up to 100,000,000.\n\n"
        "Every process holds all tables of ids. With row-wise state a row of "
        f"{DIM} numbers takes {4 * DIM + 8} bytes; of an 80 GB GPU, three quarters hold "
        f"{rows / MILLION:,.0f} million rows, over all tables together (each item has two, one as "
        "it is recommended and one as part of histories). Beyond that tables would have to be "
        "split by rows over GPUs, as TorchRec does: that is out of scope here.",
    ]


def plot(prepared: Sequence[Found], epochs: Sequence[Found], path: Path) -> None:
    """Draw seconds and memory over the rows of the log."""
    mpl.use("Agg")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ones, name, colour in ((prepared, "prepare", "tab:blue"), (epochs, "epoch", "tab:orange")):
        rows = [one["rows"] / MILLION for one in ones]
        axes[0].plot(rows, [one["seconds"] for one in ones], "o-", color=colour, label=name)
        peak = [one["peak_megabytes"] / 1e3 for one in ones]
        own = [one["anonymous_megabytes"] / 1e3 for one in ones]
        axes[1].plot(rows, peak, "o-", color=colour, label=f"{name}, peak")
        axes[1].plot(rows, own, "o:", color=colour, label=f"{name}, anonymous")
    for ax, what in zip(axes, ("seconds", "GB"), strict=True):
        ax.set_xlabel("million rows of the log")
        ax.set_ylabel(what)
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    axes[0].set_title("Time grows with the log")
    axes[1].set_title("Memory does not")
    figure.savefig(path, dpi=130)
    plt.close(figure)
