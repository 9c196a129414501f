"""All contents side by side: the table of ``recsys probe``, for the terminal and in markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["TASKS", "explained", "print_probe", "probe_markdown", "probe_table", "word_table"]

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
    "copies": "copies",
    "pairs": "pairs",
}
# On a terminal of 80 columns there is room for six.
NARROW = ("lift", "linear", "svm", "knn", "kmeans_cosine", "dbscan_cosine", "copies", "pairs")
MOST_NARROW = 6
GO_FIRST = ("dbscan_cosine", "svm")
WORD_TESTS = {"wordsim353": "WordSim353", "simlex999": "SimLex-999", "analogies": "analogies"}

Report = Mapping[str, Any]  # what probe.json holds


def probe_table(report: Report) -> Table:
    """The table for the terminal: figures, below them their 95 % intervals."""
    columns = _narrow(report)
    table = _table("items", [TASKS[column] for column in columns])
    for name, about in report["contents"].items():
        cells = [_cell(about["figures"].get(column), digits=2) for column in columns]
        texts = [f"{value}\n[dim]{span}[/dim]" if span else value for value, span in cells]
        table.add_row(escape(_name(name, about)), f"{about['items']:,}", *texts)
    table.add_section()
    table.add_row("chance", "", *(_chance(report, column) for column in columns), style="dim")
    return table


def word_table(report: Report) -> Table:
    """The words of those contents that have any, below each figure what could be asked."""
    tests = _word_tests(report)
    table = _table("words", [WORD_TESTS[test] for test in tests])
    for name, about in report["words"].items():
        texts = []
        for test in tests:
            value, span = _cell(about[test]["figure"], digits=2)
            asked = f"{about[test]['known']:,} of {about[test]['asked']:,}"
            texts.append(f"{value}\n[dim]{span}\n{asked}[/dim]" if span else f"-\n{asked}")
        table.add_row(escape(name), f"{about['vocabulary']:,}", *texts)
    table.add_section()
    table.add_row("chance", "", *(_word_chance(report, test) for test in tests), style="dim")
    return table


def print_probe(report: Report, console: Console) -> None:
    """Print the tables and what their columns mean."""
    console.print(probe_table(report))
    if _word_tests(report):
        console.print()
        console.print(word_table(report))
    console.print()
    for line in explained(report):
        console.print(f"[dim]{escape(line)}[/dim]")
    left_out = [column for column in _columns(report, NARROW) if column not in _narrow(report)]
    if left_out:
        names = ", ".join(TASKS[column] for column in left_out)
        console.print(f"[dim]{names}: in probe/probe.md of the run.[/dim]")


def probe_markdown(report: Report) -> str:
    """The tables in markdown, all tasks, with what the columns mean below them."""
    columns = _columns(report, tuple(TASKS))
    lines = _heading("items", [TASKS[column] for column in columns])
    for name, about in report["contents"].items():
        cells = [_cell(about["figures"].get(column)) for column in columns]
        texts = (f"{value} ({span})" if span else value for value, span in cells)
        lines.append(_row(_name(name, about), f"{about['items']:,}", *texts))
    lines.append(_row("*chance*", "", *(_chance(report, column) for column in columns)))
    tests = _word_tests(report)
    if tests:
        lines += ["", *_heading("words", [WORD_TESTS[test] for test in tests])]
        for name, about in report["words"].items():
            lines.append(_row(name, f"{about['vocabulary']:,}", *_word_cells(about, tests)))
        lines.append(_row("*chance*", "", *(_word_chance(report, test) for test in tests)))
    return "\n".join([*lines, "", *(f"- {line}" for line in explained(report))]) + "\n"


def explained(report: Report) -> list[str]:
    """What the columns of the tables mean, a line each, and what there is to note."""
    lines = [
        f"lift: mean co-interaction cosine of an item's 10 nearest by content over that of random "
        f"pairs, {report['rows']} rows. Spans are 95 % intervals: of shares Wilson's, else by the "
        "bootstrap over items."
    ]
    if _columns(report, ("linear",)):
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
    if _columns(report, ("copies",)):
        figures = [about["figures"].get("copies") for about in report["contents"].values()]
        most = max(of["n"] for of in figures if of is not None)
        lines.append(
            f"copies: share of {most:,} altered copies (texts less a fifth of their words; images "
            "cropped, mirrored, recoloured; sounds with noise, louder or softer) whose nearest of "
            "all the content's vectors is their original."
        )
    if _columns(report, ("pairs",)):
        lines.append(
            f"pairs: Spearman's correlation of the encoder's cosines with {report['pairs']:,} "
            "scores of pairs of texts."
        )
    if _word_tests(report):
        lines.append(
            "WordSim353, SimLex-999: Spearman's correlation of words' cosines with people's "
            "scores; analogies: share solved among the 30,000 most frequent words; below them, how "
            "many had all their words known. Different words, different test."
        )
    return [*lines, *report["notes"]]


def _table(count: str, headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("content", overflow="fold", min_width=8)
    for heading in (count, *headings):
        table.add_column(heading, justify="right")
    return table


def _heading(count: str, headings: Sequence[str]) -> list[str]:
    return [_row("content", count, *headings), "|---" + "|---:" * (1 + len(headings)) + "|"]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _columns(report: Report, wanted: Sequence[str]) -> list[str]:
    """Those that any content has."""
    return [
        column
        for column in wanted
        if any(column in about["figures"] for about in report["contents"].values())
    ]


def _narrow(report: Report) -> list[str]:
    """Those that a terminal has room for."""
    columns = _columns(report, NARROW)
    excess = max(0, len(columns) - MOST_NARROW)
    return [column for column in columns if column not in GO_FIRST[:excess]]


def _word_tests(report: Report) -> list[str]:
    return [test for test in WORD_TESTS if any(test in of for of in report["words"].values())]


def _word_cells(about: Report, tests: Sequence[str]) -> list[str]:
    """Figure, interval, and what could be asked: ``.431 (.302-.548), 128 of 353``."""
    texts = []
    for test in tests:
        value, span = _cell(about[test]["figure"])
        asked = f"{about[test]['known']:,} of {about[test]['asked']:,}"
        texts.append(f"{value} ({span}), {asked}" if span else f"{value}, {asked}")
    return texts


def _name(name: str, about: Report) -> str:
    return f"{name} *" if about["reads_label"] else name


def _chance(report: Report, column: str) -> str:
    """What vectors that know nothing get."""
    return _most_chance([about["figures"].get(column) for about in report["contents"].values()])


def _word_chance(report: Report, test: str) -> str:
    return _most_chance([about[test]["figure"] for about in report["words"].values()])


def _most_chance(figures: Sequence[Report | None]) -> str:
    """Of several contents the most."""
    chances = [of["chance"] for of in figures if of is not None and of["chance"] is not None]
    if not chances:
        return "-"
    return "<.001" if 0 < max(chances) < 0.0005 else _text(max(chances))


def _cell(figure: Report | None, digits: int = 3) -> tuple[str, str]:
    """The figure and its interval: ``(".879", ".869-.888")``, or ``".87-.89"`` by 2 digits."""
    if figure is None:
        return "-", ""
    low, high = (_text(figure[key], digits) for key in ("low", "high"))
    return _text(figure["value"]), f"{low} to {high}" if low.startswith("-") else f"{low}-{high}"


def _text(value: float, digits: int = 3) -> str:
    if abs(value) >= 0.995:
        return f"{value:.2f}"
    return f"{value:.{digits}f}".replace("0.", ".", 1)
