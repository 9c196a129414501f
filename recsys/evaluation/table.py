"""The comparison table: models by metrics, mean and range over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

__all__ = ["PerSeed", "comparison_markdown", "comparison_table", "models_summary"]

PerSeed = Mapping[int, Mapping[str, float]]  # seed -> name such as "ndcg@10" -> value

NARROW = ("ndcg@10", "recall_capped@20", "hr@10", "coverage@10", "fit_seconds")  # 80 columns
WIDE = (
    "ndcg@10",
    "recall@20",
    "recall_capped@20",
    "hr@10",
    "mrr@10",
    "map@10",
    "coverage@10",
    "fit_seconds",
)


def models_summary(results: Mapping[str, PerSeed]) -> dict[str, dict[str, Any]]:
    """The ``models`` of ``metrics.json``: for each model the means over seeds, and every seed.

    Args:
        results: model -> seed -> metrics and ``"fit_seconds"``. A model without randomness has one
            seed.

    Returns:
        ``{"two-tower": {"ndcg@10": mean, ..., "per_seed": {"0": {"ndcg@10": value, ...}}}}``.

    Raises:
        ValueError: a model has no seed, or its seeds differ in what was measured.
    """
    return {model: _summary(model, per_seed) for model, per_seed in results.items()}


def comparison_table(
    results: Mapping[str, PerSeed], *, columns: Sequence[str] = NARROW, title: str | None = None
) -> Table:
    """The table for the terminal: means, below them the range over seeds; the best are bold.

    Args:
        results: model -> seed -> metrics and ``"fit_seconds"``.
        columns: in this order; one that no model has is left out.
        title: above the table.
    """
    shown = [column for column in columns if _means(results, column)]
    best = {column: max(_means(results, column).values()) for column in shown if "@" in column}
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for column in shown:
        table.add_column(column.replace("_", " "), justify="right")
    for model, per_seed in results.items():
        cells = []
        for column in shown:
            mean, span = _cell(per_seed, column)
            wins = column in best and _means(results, column).get(model) == best[column]
            text = f"[bold]{mean}[/bold]" if wins else mean
            cells.append(f"{text}\n[dim]{span}[/dim]" if span else text)
        table.add_row(model, *cells)
    return table


def comparison_markdown(results: Mapping[str, PerSeed], *, columns: Sequence[str] = WIDE) -> str:
    """The table in markdown, as the README and the report carry it; ranges in brackets."""
    shown = [column for column in columns if _means(results, column)]
    lines = [
        "| " + " | ".join(("model", *shown)) + " |",
        "|" + "|".join(("---", *("---:" for _ in shown))) + "|",
    ]
    for model, per_seed in results.items():
        cells = [_cell(per_seed, column) for column in shown]
        texts = (f"{mean} ({span})" if span else mean for mean, span in cells)
        lines.append("| " + " | ".join((model, *texts)) + " |")
    return "\n".join(lines) + "\n"


def _summary(model: str, per_seed: PerSeed) -> dict[str, Any]:
    names, *others = (list(values) for values in per_seed.values()) if per_seed else ([],)
    if not names or any(set(other) != set(names) for other in others):
        raise ValueError(f"{model}: seeds must share one set of metrics, got {[names, *others]}")
    return {
        **{name: float(np.mean(_over_seeds(per_seed, name))) for name in names},
        "per_seed": {str(seed): dict(values) for seed, values in per_seed.items()},
    }


def _means(results: Mapping[str, PerSeed], column: str) -> dict[str, float]:
    values = {model: _over_seeds(per_seed, column) for model, per_seed in results.items()}
    return {model: float(np.mean(of)) for model, of in values.items() if of}


def _over_seeds(per_seed: PerSeed, column: str) -> list[float]:
    return [values[column] for values in per_seed.values() if column in values]


def _cell(per_seed: PerSeed, column: str) -> tuple[str, str]:
    """The mean, and the range if there are several seeds: ``(".1563", ".1551-.1570")``."""
    values = _over_seeds(per_seed, column)
    if not values:
        return "-", ""
    mean, low, high = (
        _text(value, column) for value in (np.mean(values), min(values), max(values))
    )
    return mean, f"{low}-{high}" if len(values) > 1 else ""


def _text(value: float | np.floating[Any], column: str) -> str:
    if column == "fit_seconds":
        return f"{value:.1f}"
    return f"{value:.4f}".removeprefix("0")
