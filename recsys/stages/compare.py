"""Several runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from recsys.errors import ArtifactError
from recsys.files import read_json
from recsys.stages.evaluate import METRICS_FILE

__all__ = ["compare_runs", "comparison"]

SHOWN = ("ndcg@10", "recall_capped@20", "hr@10", "mrr@10", "coverage@10")


def compare_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the figures of runs: folder, data digest, protocol, models.

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
    return found


def comparison(found: Sequence[dict[str, Any]]) -> Table:
    """Draw the table: a row a model and run; it says when runs are of different data."""
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
    return table
