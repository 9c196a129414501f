"""Several runs side by side, and whether one is better than the first on the same users."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from recsys.data.arrow import read_parquet
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.evaluation.certainty import Measured, certainty, corrected
from recsys.evaluation.leaks import wrong_figures
from recsys.evaluation.saved_lists import measure_lists, read_rankings, truth_rows
from recsys.files import read_json
from recsys.stages.baselines import RANKINGS
from recsys.stages.evaluate import METRICS_FILE, TRUTH

__all__ = ["compare_runs", "comparison"]

SHOWN = ("ndcg@10", "recall_capped@20", "hr@10", "mrr@10")  # 80 columns


def compare_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the figures of runs: folder, data digest, protocol, models.

    Every run after the first is also held against it: ``paired`` says with which run, and of each
    model that both have the verdict with the paired interval (Holm over these models), or under
    ``why_not`` why their users cannot be paired.

    Raises:
        ArtifactError: a folder holds no report, or one whose figures are not those of its lists.
    """
    found = []
    for run in runs:
        path = run / "report" / METRICS_FILE
        if not path.is_file():
            raise ArtifactError(f"{run}: holds no report; expected the folder of a finished run")
        report = read_json(path)
        about = {"run": str(run), "digest": report["data"]["digest"]}
        found.append({**about, "protocol": report["protocol"], "models": report["models"]})
        if len(found) > 1:
            found[-1]["paired"] = {"with": str(runs[0])} | _paired(run, runs[0])
    return found


def comparison(found: Sequence[dict[str, Any]]) -> Group:
    """Draw the table, a row a model and run, and below it which run is better, model by model.

    Runs are called by the end of their paths, as far as it tells them apart.
    """
    names = _names([run["run"] for run in found])
    same = len({(run["digest"], str(run["protocol"])) for run in found}) == 1
    models = dict.fromkeys(name for run in found for name in run["models"])
    metrics = [
        name for name in SHOWN if any(name in of for r in found for of in r["models"].values())
    ]
    table = _table(["model", "run", *(name.replace("_", "\n") for name in metrics)], left=2)
    for model in models:
        shown = model
        for run in found:
            if model in run["models"]:
                values = run["models"][model]
                cells = [_short(values[name]) if name in values else "-" for name in metrics]
                table.add_row(shown, escape(names[run["run"]]), *cells)
                shown = ""
    lines: list[RenderableType] = [table]
    if not same:
        lines.append("\nThese runs are of different data or splits: not comparable.")
    return Group(*lines, *(part for run in found[1:] for part in _verdicts(run, names)))


def _verdicts(run: Mapping[str, Any], names: Mapping[str, str]) -> list[RenderableType]:
    """What is to be said of a run held against the first."""
    ours, paired = escape(names[run["run"]]), run["paired"]
    theirs = escape(names[paired["with"]])
    if "why_not" in paired:
        return [f"\n{ours} cannot be paired with {theirs}: {escape(paired['why_not'])}"]
    table = _table(["model", "verdict", "difference", "95 %", "p, Holm"], left=2)
    for model, pair in paired["models"].items():
        ends = f"{pair['low']:+.4f} to {pair['high']:+.4f}"
        figures = (f"{pair['difference']:+.4f}", ends, f"{pair['p_holm']:.4f}")
        table.add_row(escape(model), pair["verdict"], *figures)
    title = f"\n{ours} against {theirs} by {paired['metric']}, {paired['users']:,} users:"
    return [title, table]


def _table(headings: Sequence[str], left: int) -> Table:
    """An empty table; the first ``left`` columns hold words. What is too wide goes on below."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="left" if place < left else "right",
            no_wrap=place != 1,
            overflow="fold",
        )
    return table


def _names(runs: Sequence[str]) -> dict[str, str]:
    """Run -> as much of the end of its path as no other has."""
    parts = {run: Path(run).parts for run in runs}
    for n in range(1, max(map(len, parts.values())) + 1):
        names = {run: str(Path(*of[-n:])) for run, of in parts.items()}
        if len(set(names.values())) == len(parts):
            return names
    return {run: run for run in runs}


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _paired(run: Path, first: Path) -> dict[str, Any]:
    """The verdict on each model that both runs measured, or why there is none."""
    (metric, candidates), others = _asked(run), _asked(first)
    if (metric, candidates) != others:
        return {"why_not": f"{metric}, {candidates} candidates, there {others[0]}, {others[1]}"}
    for folder in (run, first):
        if not (folder / "data").is_dir() or not (folder / "report" / TRUTH).is_file():
            return {"why_not": f"{folder} lacks data/ (as a blend does) or report/{TRUTH}"}
    ids = [Dataset.load(folder / "data").item_ids.values for folder in (run, first)]
    item_ids = ItemIds.of(*ids)
    tables = [read_parquet(folder / "report" / TRUTH) for folder in (run, first)]
    user_ids = UserIds.of(*(table["user_id"].to_numpy() for table in tables))
    truth, other = (truth_rows(table, user_ids, item_ids) for table in tables)
    if not len(user_ids) or not _same(truth, other):
        return {
            "why_not": f"{len(truth.values):,} held-out rows, there {len(other.values):,}, "
            "and they are not the same: other data, another split or other users"
        }
    ours, theirs = (_measured(folder, user_ids, item_ids, truth, metric) for folder in (run, first))
    pairs = {}
    for model in [model for model in ours if model in theirs]:
        both = {"ours": ours[model], "theirs": theirs[model]}
        (pairs[model],) = certainty(both, [metric])[metric].pairs
    judged = zip(pairs, corrected(list(pairs.values())), strict=True)
    models = {model: pair.as_dict() for model, pair in judged}
    return {"metric": metric, "users": len(user_ids), "models": models}


def _asked(run: Path) -> tuple[str, str]:
    """The metric of a run's verdicts, and which items could be recommended."""
    report = read_json(run / "report" / METRICS_FILE)
    metric = report.get("certainty", {}).get("metric", "ndcg@10")  # an older report has none
    return metric, report["protocol"]["candidates"]


def _measured(
    run: Path, user_ids: UserIds, item_ids: ItemIds, truth: Ragged, metric: str
) -> Measured:
    """What the lists of a run are worth; the report must say the same."""
    lists: dict[str, Any] = {}
    for part in ("report", "baselines"):
        k = int(metric.split("@")[1])
        lists |= read_rankings(run / part / RANKINGS, user_ids, item_ids, k)
    measured = measure_lists(lists, truth, [metric])
    reported = {
        model: {int(seed): values for seed, values in found["per_seed"].items()}
        for model, found in read_json(run / "report" / METRICS_FILE)["models"].items()
    }
    for leak in wrong_figures(reported, measured, truth.lengths):
        raise ArtifactError(f"{run}: {leak}; evaluate again")
    return measured


def _same(ours: Ragged, theirs: Ragged) -> bool:
    return np.array_equal(ours.indptr, theirs.indptr) and np.array_equal(ours.values, theirs.values)
