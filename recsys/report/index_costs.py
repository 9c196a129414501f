"""What an index finds and costs: the stored one at several efforts, and other kinds beside it."""

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from recsys.files import write_json
from recsys.index.approximate import ApproximateIndex
from recsys.index.index import Index, load_index
from recsys.report.charts import COLOURS
from recsys.report.latency import measure_index
from recsys.stages.index import Asking
from recsys.stages.run import Run

__all__ = ["Cost", "compare_kinds", "measure_stored", "print_costs", "write_costs"]

ALONE = 100  # users who ask one after the other
MARKS = {"annoy": "o", "hnsw": "s", "exact": "D"}


@dataclass(frozen=True)
class Cost:
    """One way to search, measured with single users who did not choose it.

    Attributes:
        kind: of the index.
        effort: Annoy's search_k or hnswlib's ef; None for exact search.
        stored: whether recommendations come from it.
        recall: share of exact search's top k that is found.
        inspected: share of the items that is looked at; None: not known (hnswlib tells it not).
        median_ms: milliseconds an answer.
        p99_ms: 99 of 100 answers take less.
        build_seconds: to build and calibrate; None: built before.
        megabytes: of its files, the items' vectors among them.
    """

    kind: str
    effort: int | None
    stored: bool
    recall: float
    inspected: float | None
    median_ms: float
    p99_ms: float
    build_seconds: float | None
    megabytes: float


def measure_stored(run: Run) -> list[Cost]:
    """Measure the run's index as stored, and with less effort.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    asking, folder = Asking.of(run, run.seeds[0]), run.folder("index", run.seeds[0])
    index = load_index(folder, ids_digest=asking.ids_digest)
    return _curve(index, asking, stored=True, seconds=None, megabytes=_megabytes(folder))


def compare_kinds(run: Run) -> list[Cost]:
    """Build the other kinds with the run's settings and measure them beside the stored one.

    hnswlib is left out where it is not installed.
    """
    asking, config = Asking.of(run, run.seeds[0]), run.config.index
    costs = measure_stored(run)
    for kind in ("annoy", "hnsw", "exact"):
        if kind == config.kind or (kind == "hnsw" and find_spec("hnswlib") is None):
            continue
        started = time.perf_counter()
        wanted = {"kind": kind, "search_k": None, "inspect": None}
        index = asking.build(config.model_copy(update=wanted))
        seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as folder:
            index.save(Path(folder))
            megabytes = _megabytes(Path(folder))
        costs += _curve(index, asking, stored=False, seconds=seconds, megabytes=megabytes)
    return costs


def _curve(
    index: Index, asking: Asking, *, stored: bool, seconds: float | None, megabytes: float
) -> list[Cost]:
    if not isinstance(index, ApproximateIndex):
        return [_cost(index, asking, None, stored, seconds, megabytes)]
    found = index.calibration
    costs = []
    for effort in found.curve:
        asked = replace(index, calibration=found.model_copy(update={"chosen": effort}))
        chosen = stored and effort.effort == found.chosen.effort
        costs.append(_cost(asked, asking, effort.effort, chosen, seconds, megabytes))
    return costs


def _cost(
    index: Index,
    asking: Asking,
    effort: int | None,
    stored: bool,
    seconds: float | None,
    megabytes: float,
) -> Cost:
    some = asking.measuring[:ALONE]
    found = measure_index(
        index, asking.askers[some], k=index.config.recall_k, exclude=asking.histories.take(some)
    )
    return Cost(
        kind=index.config.kind,
        effort=effort,
        stored=stored,
        recall=found["recall"],
        inspected=None if index.config.kind == "hnsw" else found["inspected"],
        median_ms=found["median_ms"],
        p99_ms=found["p99_ms"],
        build_seconds=seconds,
        megabytes=megabytes,
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 2**20


def print_costs(costs: list[Cost], k: int, output: Console) -> None:
    """Draw them as a table, a row each."""
    table = Table(title=f"Users one after the other, top {k}", title_justify="left")
    table.add_column("index", no_wrap=True)
    for heading in ("effort", "recall", "looks at", "ms", "99 % <", "built", "MiB"):
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(
            f"{cost.kind} (stored)" if cost.stored else cost.kind,
            "-" if cost.effort is None else f"{cost.effort:,}",
            f"{cost.recall:.4f}",
            "-" if cost.inspected is None else f"{cost.inspected:.1%}",
            f"{cost.median_ms:.2f}",
            f"{cost.p99_ms:.2f}",
            "-" if cost.build_seconds is None else f"{cost.build_seconds:.1f} s",
            f"{cost.megabytes:.1f}",
            style="bold" if cost.stored else None,
        )
    output.print(table)


def write_costs(costs: list[Cost], k: int, folder: Path) -> Path:
    """Write ``index_costs.json`` and, as a plot of recall against latency, ``index_costs.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "index_costs.json", [asdict(cost) for cost in costs])
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for kind, colour in zip(MARKS, ("ours", "other", "better"), strict=True):
        mine = [cost for cost in costs if cost.kind == kind]
        if mine:
            at, recalls = [cost.median_ms for cost in mine], [cost.recall for cost in mine]
            axes.plot(at, recalls, marker=MARKS[kind], color=COLOURS[colour], label=kind)
    for cost in costs:
        if cost.stored:
            axes.annotate(
                "as stored",
                (cost.median_ms, cost.recall),
                xytext=(6, -14),
                textcoords="offset points",
            )
    axes.set_xscale("log")
    axes.set(xlabel="milliseconds an answer (median)", ylabel=f"recall@{k} of exact search")
    axes.set_ylim(top=1 + 0.02 * (1 - np.min([cost.recall for cost in costs]) + 0.1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(folder / "index_costs.png", dpi=150)
    return folder / "index_costs.png"
