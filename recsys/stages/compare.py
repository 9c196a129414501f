"""Several runs side by side, and whether one is better than the first on the same users."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from recsys.data.arrow import read_parquet
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.evaluation.certainty import certainty, holm
from recsys.evaluation.saved_lists import measure_lists, read_rankings
from recsys.evaluation.slices import Lists
from recsys.files import read_json
from recsys.stages.baselines import RANKINGS
from recsys.stages.evaluate import METRICS_FILE, TRUTH

__all__ = ["compare_runs", "comparison"]

SHOWN = ("ndcg@10", "recall_capped@20", "hr@10", "mrr@10", "coverage@10")


def compare_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the figures of runs: folder, data digest, protocol, models.

    Every run after the first is also held against it: ``paired`` says with which run, and of each
    model that both have the verdict with the paired interval (Holm over these models), or under
    ``why_not`` why their users cannot be paired.

    Raises:
        ArtifactError: a folder holds no report.
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
    """Draw the table, a row a model and run, and say below it which run is better."""
    same = len({(run["digest"], str(run["protocol"])) for run in found}) == 1
    caption = None if same else "These runs are of different data or splits: not comparable."
    table = Table(caption=caption)
    for heading in ("model", "run", *SHOWN):
        table.add_column(heading, justify="left" if heading in ("model", "run") else "right")
    models = dict.fromkeys(name for run in found for name in run["models"])
    for model in models:
        for run in found:
            if model in run["models"]:
                values = run["models"][model]
                shown = [f"{values[name]:.4f}" if name in values else "-" for name in SHOWN]
                table.add_row(model, escape(run["run"]), *shown)
        table.add_section()
    return Group(table, *(line for run in found[1:] for line in _lines(run)))


def _lines(run: Mapping[str, Any]) -> list[str]:
    """What is to be said of a run held against the first."""
    ours, paired = escape(run["run"]), run["paired"]
    theirs = escape(paired["with"])
    if "why_not" in paired:
        return [f"{ours} cannot be paired with {theirs}: {escape(paired['why_not'])}"]
    lines = [f"{ours} against {theirs} by {paired['metric']}, {paired['users']:,} users:"]
    for model, pair in paired["models"].items():
        verdict = f"[bold]{pair['verdict']}[/bold]"
        span = f"({pair['low']:+.4f} to {pair['high']:+.4f}), p {pair['p_holm']:.4f} after Holm"
        lines.append(f"  {escape(model)}: {verdict}, {pair['difference']:+.4f} {span}")
    return lines


def _paired(run: Path, first: Path) -> dict[str, Any]:
    """The verdict on each model that both runs measured, or why there is none."""
    (metric, candidates), others = _asked(run), _asked(first)
    if (metric, candidates) != others:
        return {"why_not": f"{metric}, {candidates} candidates, there {others[0]}, {others[1]}"}
    for folder in (run, first):
        if not (folder / "data").is_dir() or not (folder / "report" / TRUTH).is_file():
            return {"why_not": f"{folder} lacks data or report/{TRUTH} (a blend, or an older run)"}
    ids = [Dataset.load(folder / "data").item_ids.values for folder in (run, first)]
    item_ids = ItemIds.of(*ids)
    tables = [read_parquet(folder / "report" / TRUTH) for folder in (run, first)]
    user_ids = UserIds.of(*(table["user_id"].to_numpy() for table in tables))
    truth, other = (_truth(table, user_ids, item_ids) for table in tables)
    if not len(user_ids) or not _same(truth, other):
        return {
            "why_not": f"{len(truth.values):,} held-out rows, there {len(other.values):,}, "
            "and they are not the same: other data, another split or other users"
        }
    k = int(metric.split("@")[1])
    ours, theirs = (_lists(folder, user_ids, item_ids, k) for folder in (run, first))
    pairs = {}
    for model in [model for model in ours if model in theirs]:
        both = {"ours": ours[model], "theirs": theirs[model]}
        (pairs[model],) = certainty(measure_lists(both, truth, [metric]), [metric])[metric].pairs
    corrected = holm([pair.p for pair in pairs.values()])
    ranks = holm([pair.wilcoxon for pair in pairs.values()])
    models = {
        model: pair._replace(holm=p, wilcoxon_holm=w).as_dict()
        for (model, pair), p, w in zip(pairs.items(), corrected, ranks, strict=True)
    }
    return {"metric": metric, "users": len(user_ids), "models": models}


def _asked(run: Path) -> tuple[str, str]:
    """The metric of a run's verdicts, and which items could be recommended."""
    report = read_json(run / "report" / METRICS_FILE)
    metric = report.get("certainty", {}).get("metric", "ndcg@10")  # an older report has none
    return metric, report["protocol"]["candidates"]


def _truth(table: Any, user_ids: UserIds, item_ids: ItemIds) -> Ragged:
    """The held-out items of every user in order, one row a user."""
    users = user_ids.numbers(table["user_id"].to_numpy())
    items = item_ids.numbers(table["item_id"].to_numpy())
    order = np.lexsort((items, users))
    lengths = np.bincount(users, minlength=len(user_ids))
    return Ragged(np.concatenate([[0], np.cumsum(lengths)]), items[order])


def _lists(run: Path, user_ids: UserIds, item_ids: ItemIds, k: int) -> Lists:
    found: dict[str, Any] = {}
    for part in ("report", "baselines"):
        found |= read_rankings(run / part / RANKINGS, user_ids, item_ids, k)
    return found


def _same(ours: Ragged, theirs: Ragged) -> bool:
    return np.array_equal(ours.indptr, theirs.indptr) and np.array_equal(ours.values, theirs.values)
