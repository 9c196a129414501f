"""All contents side by side: the table of ``recsys probe``, for the terminal and in markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["TASKS", "explained", "print_probe", "probe_markdown", "probe_table"]

# Name in probe.json -> heading.
TASKS = {
    "lift": "lift",
    "near": "cosine of neighbours",
    "linear": "linear probe",
    "svm": "SVM",
    "knn": "kNN",
    "kmeans_cosine": "k-means",
    "dbscan_cosine": "DBSCAN",
    "kmeans_euclidean": "k-means, Euclidean",
    "dbscan_euclidean": "DBSCAN, Euclidean",
}
NARROW = ("lift", "linear", "svm", "knn", "kmeans_cosine", "dbscan_cosine")  # 80 columns

Report = Mapping[str, Any]  # what probe.json holds


def probe_table(report: Report) -> Table:
    """The table for the terminal: figures, below them their 95 % intervals."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    columns = _columns(report, NARROW)
    table.add_column("content", no_wrap=True)
    table.add_column("items", justify="right")
    for column in columns:
        table.add_column(TASKS[column], justify="right")
    for name, about in report["contents"].items():
        cells = [_cell(about["figures"].get(column), digits=2) for column in columns]
        texts = [f"{value}\n[dim]{span}[/dim]" if span else value for value, span in cells]
        table.add_row(escape(_name(name, about)), f"{about['items']:,}", *texts)
    table.add_section()
    table.add_row("chance", "", *(_chance(report, column) for column in columns), style="dim")
    return table


def print_probe(report: Report, console: Console) -> None:
    """Print the table and what its columns mean."""
    console.print(probe_table(report))
    for line in explained(report):
        console.print(f"[dim]{escape(line)}[/dim]")


def probe_markdown(report: Report) -> str:
    """The table in markdown, all tasks, with what the columns mean below it."""
    columns = _columns(report, tuple(TASKS))
    lines = [
        "| " + " | ".join(("content", "items", *(TASKS[column] for column in columns))) + " |",
        "|---" + "|---:" * (1 + len(columns)) + "|",
    ]
    for name, about in report["contents"].items():
        cells = [_cell(about["figures"].get(column)) for column in columns]
        texts = (f"{value} ({span})" if span else value for value, span in cells)
        lines.append("| " + " | ".join((_name(name, about), f"{about['items']:,}", *texts)) + " |")
    chances = (_chance(report, column) for column in columns)
    lines.append("| " + " | ".join(("*chance*", "", *chances)) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in explained(report))]) + "\n"


def explained(report: Report) -> list[str]:
    """What the columns of the table mean, a line each, and what there is to note."""
    lines = [
        f"lift: mean co-interaction cosine of an item's 10 nearest by content over that of random "
        f"pairs, {report['rows']} rows; in brackets 95 % bootstrap intervals over items."
    ]
    if any("linear" in about["figures"] for about in report["contents"].values()):
        lines += [
            f"linear probe, SVM, kNN: macro-AUC over {report['label']}, labels with at least 20 "
            "items, 5 folds.",
            f"k-means, DBSCAN: normalised mutual information with an item's rarest "
            f"{report['label']}, by cosine unless said otherwise.",
        ]
        if any(about["reads_label"] for about in report["contents"].values()):
            lines.append(
                f"* reads {report['label']} itself: what it tells of it is no achievement."
            )
    return [*lines, *report["notes"]]


def _columns(report: Report, wanted: Sequence[str]) -> list[str]:
    """Those that any content has."""
    return [
        column
        for column in wanted
        if any(column in about["figures"] for about in report["contents"].values())
    ]


def _name(name: str, about: Report) -> str:
    return f"{name} *" if about["reads_label"] else name


def _chance(report: Report, column: str) -> str:
    """What vectors that know nothing get: of several contents the most."""
    figures = [about["figures"].get(column) for about in report["contents"].values()]
    chances = [of["chance"] for of in figures if of is not None and of["chance"] is not None]
    return _text(max(chances)) if chances else "-"


def _cell(figure: Report | None, digits: int = 3) -> tuple[str, str]:
    """The figure and its interval: ``(".879", ".869-.888")``, or ``".87-.89"`` by 2 digits."""
    if figure is None:
        return "-", ""
    low, high = (_text(figure[key], digits) for key in ("low", "high"))
    return _text(figure["value"]), f"{low}-{high}"


def _text(value: float, digits: int = 3) -> str:
    return f"{value:.2f}" if value >= 0.995 else f"{value:.{digits}f}".removeprefix("0")
