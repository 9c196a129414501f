"""The comparison table: models by metrics, mean and range over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

__all__ = [
    "BEYOND",
    "Against",
    "PerSeed",
    "Results",
    "comparison_markdown",
    "comparison_table",
    "models_summary",
    "trade_off_table",
]

PerSeed = Mapping[int, Mapping[str, float]]  # seed -> name such as "ndcg@10" -> value
Results = dict[str, dict[int, dict[str, float]]]  # model -> the same

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
BEYOND = (
    "ndcg@10",
    "novelty@10",
    "coverage@10",
    "gini@10",
    "arp_lift@10",
    "diversity@10",
    "serendipity@10",
    "calibration_kl@10",
    "new_items@10",
    "new_items_truth",
)
TRADE_OFF = BEYOND[:6]  # 80 columns


class Against(NamedTuple):
    """The column of verdicts: whether each model is better than one of them."""

    reference: str
    verdicts: Mapping[str, str]  # model -> "better", "worse", "same" or "cannot tell"

    @property
    def heading(self) -> str:
        """Above the column."""
        return f"vs {self.reference}"


def models_summary(results: Mapping[str, PerSeed]) -> dict[str, dict[str, Any]]:
    """The ``models`` of ``metrics.json``: for each model the means over seeds, and every seed.

    Args:
        results: model -> seed -> metrics and ``"fit_seconds"``. A model without randomness has one
            seed.

    Returns:
        ``{"two-tower": {"ndcg@10": mean, ..., "per_seed": {"0": {"ndcg@10": value, ...}}}}``. What
        is undefined for a seed (as may be beyond accuracy) has no mean.

    Raises:
        ValueError: a model has no seed, or its seeds have no metric in common.
    """
    return {model: _summary(model, per_seed) for model, per_seed in results.items()}


def comparison_table(
    results: Mapping[str, PerSeed],
    *,
    columns: Sequence[str] = NARROW,
    title: str | None = None,
    against: Against | None = None,
) -> Table:
    """The table for the terminal: means, below them the range over seeds; the best are bold.

    Args:
        results: model -> seed -> metrics and ``"fit_seconds"``.
        columns: in this order; one that no model has is left out.
        title: above the table.
        against: the last column; it takes the place of the coverage, lest 80 characters are full.
    """
    shown = [column for column in columns if _means(results, column)]
    if against is not None:
        shown = [column for column in shown if not column.startswith("coverage@")]
    best = {column: max(_means(results, column).values()) for column in shown if "@" in column}
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for column in shown:
        heading = column.replace("_", " " if against is None else "\n")
        table.add_column(heading, justify="right")
    if against is not None:
        table.add_column(against.heading.replace(" ", "\n"))
    for model, per_seed in results.items():
        cells = []
        for column in shown:
            mean, span = _cell(per_seed, column)
            wins = column in best and _means(results, column).get(model) == best[column]
            text = f"[bold]{mean}[/bold]" if wins else mean
            shows = span and "@" in column  # that of seconds would not fit and tells little
            cells.append(f"{text}\n[dim]{span}[/dim]" if shows else text)
        if against is not None:
            verdict = against.verdicts.get(model, "")
            cells.append(verdict.replace(" ", "\n") if len(per_seed) > 1 else verdict)
        table.add_row(model, *cells)
    return table


def trade_off_table(results: Mapping[str, PerSeed]) -> Table | None:
    """The second table for the terminal: accuracy beside what lies beyond, means over seeds.

    No value is marked as best: more novelty or coverage is not better by itself. Novelty is in
    bits, Gini 0 for equal shares, the lift of popularity 0 for lists as popular as what users took
    by themselves.

    Returns:
        The table, or None where nothing beyond accuracy was measured at 10.
    """
    shown = [column for column in TRADE_OFF if _means(results, column)]
    if set(shown) <= {"ndcg@10", "coverage@10"}:
        return None
    title = "Accuracy and beyond, at 10"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for column in shown:
        table.add_column(column.removesuffix("@10").replace("_", " "), justify="right")
    for model, per_seed in results.items():
        table.add_row(model, *(_cell(per_seed, column)[0] for column in shown))
    return table


def comparison_markdown(
    results: Mapping[str, PerSeed],
    *,
    columns: Sequence[str] = WIDE,
    against: Against | None = None,
) -> str:
    """The table in markdown, as the README and the report carry it; ranges in brackets."""
    shown = [column for column in columns if _means(results, column)]
    heads = ["model", *shown, *([] if against is None else [against.heading])]
    rules = ["---", *("---:" for _ in shown), *([] if against is None else ["---"])]
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join(rules) + "|"]
    for model, per_seed in results.items():
        cells = [_cell(per_seed, column) for column in shown]
        texts = [f"{mean} ({span})" if span else mean for mean, span in cells]
        texts += [] if against is None else [against.verdicts.get(model, "")]
        lines.append("| " + " | ".join((model, *texts)) + " |")
    return "\n".join(lines) + "\n"


def _summary(model: str, per_seed: PerSeed) -> dict[str, Any]:
    first, *others = (list(values) for values in per_seed.values()) if per_seed else ([],)
    names = [name for name in first if all(name in other for other in others)]
    if not names:
        raise ValueError(f"{model}: seeds must share metrics, got {[first, *others]}")
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
    joint = " to " if low[0] in "+-" else "-"
    return mean, f"{low}{joint}{high}" if len(values) > 1 else ""


def _text(value: float | np.floating[Any], column: str) -> str:
    if column == "fit_seconds":
        return f"{value:.1f}"
    if column.startswith("novelty"):
        return f"{value:.2f}"  # bits
    if column.startswith("arp_lift"):
        return f"{value:+.2f}"
    return f"{value:.4f}".removeprefix("0")
