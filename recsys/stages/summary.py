"""What a run says when it ends: the comparison, three users, and where everything lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.evaluation.reranking import reranking_table
from recsys.evaluation.table import Against, comparison_table, trade_off_table
from recsys.files import read_json
from recsys.recommenders.recommender import Recommender
from recsys.stages.embed import print_stats
from recsys.stages.evaluate import METRICS_FILE
from recsys.stages.recommend import load_recommender
from recsys.stages.run import Run

__all__ = ["SHOWN_USERS", "print_models", "print_summary", "similar_table", "user_table"]

GENERATED = "The data are generated, not real: "
SHOWN_USERS = 3
SHOWN_ITEMS = 5


def print_summary(
    run: Run, console: Console, mlflow_uri: str | None, users: int = SHOWN_USERS
) -> None:
    """Print the results of a run that is done, with the answers to some users."""
    report = read_json(run.folder("report") / METRICS_FILE)
    if report["data"]["generated"]:
        console.print(f"[bold]{GENERATED}figures say nothing about people.[/bold]\n")
    _print_data(report["data"], console)
    if run.config.content:
        print_stats(run, console, SHOWN_ITEMS)
        console.print()
    print_models(report, console)
    recommender = load_recommender(run)
    for user in _some_users(recommender, users):
        console.print(user_table(recommender, user, SHOWN_ITEMS))
    _print_places(run, console, mlflow_uri)


def user_table(recommender: Recommender, user_id: Any, k: int) -> Table:
    """A user's latest items beside what the user gets."""
    (number,) = recommender.user_ids.numbers([user_id])
    past = recommender.item_ids.ids(recommender.histories[int(number)][::-1][:k])
    table = recommender.recommend([user_id], k=k)
    past_labels, new_labels = recommender.label(past), recommender.label(table["item_id"])
    n = len(recommender.histories[int(number)])
    title = f"user {escape(str(user_id))}: {n:,} items so far"
    shown = Table(title=title, title_justify="left", expand=False)
    shown.add_column("took last")
    shown.add_column("gets")
    shown.add_column("cosine", justify="right")
    for row in range(max(len(past_labels), len(new_labels))):
        took = past_labels[row] if row < len(past_labels) else ""
        gets = new_labels[row] if row < len(new_labels) else ""
        score = f"{table['score'].iloc[row]:.3f}" if row < len(new_labels) else ""
        shown.add_row(escape(took), escape(gets), score)
    return shown


def similar_table(recommender: Recommender, item_id: Any, k: int) -> Table:
    """The items nearest to an item."""
    found = recommender.similar(item_id, k)
    (name,) = recommender.label([item_id])
    shown = Table(title=f"nearest to {escape(name)}", title_justify="left", expand=False)
    shown.add_column("item")
    shown.add_column("title")
    shown.add_column("cosine", justify="right")
    labels = recommender.label(found["item_id"])
    for near, label, score in zip(found["item_id"], labels, found["score"], strict=True):
        shown.add_row(escape(str(near)), escape(label), f"{score:.3f}")
    return shown


def _some_users(recommender: Recommender, n: int) -> list[Any]:
    """Users with something to show, spread over the whole list; the same ones every time."""
    lengths = recommender.histories.lengths
    able = np.flatnonzero(lengths >= min(SHOWN_ITEMS, lengths.max()))
    places = np.linspace(0, len(able) - 1, n + 2).astype(int)[1:-1]
    return list(recommender.user_ids.ids(able[np.unique(places)]))


def _print_data(data: Mapping[str, Any], console: Console) -> None:
    rejected = sum(data["rejected"].values())
    console.print(
        f"[bold]Data[/bold]  {data['read']:,} rows read = {data['kept']:,} kept + {rejected:,} "
        f"rejected; {data['users']:,} users, {data['items']:,} items; "
        f"{data['train']:,} train, {data['validation']:,} validation, {data['test']:,} test"
    )
    for reason, rows in data["rejected"].items():
        console.print(f"      {rows:,} rejected: {escape(reason)}")
    for note in data["notes"]:
        console.print(f"      {escape(note)}")
    dropped = {reason: n for reason, n in data["dropped"].items() if n}
    if dropped:
        named = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
        console.print(f"      test rows that nobody could answer: {named}")
    console.print()


def print_models(report: Mapping[str, Any], console: Console) -> None:
    """Print what a report says of the models: figures, verdicts, beyond accuracy, alarms."""
    if not report["models"]:
        console.print("No user could be evaluated: the test part holds nothing to be guessed.\n")
        return
    results = {
        name: {int(seed): values for seed, values in model["per_seed"].items()}
        for name, model in report["models"].items()
    }
    users = report["data"]["evaluated_users"]
    protocol = report["protocol"]["protocol"]
    about = report.get("certainty")  # an older report has none
    title = f"{users:,} users, {protocol} split"
    if len(report["seeds"]) > 1:
        title += f"; below a mean: the least and the most of {len(report['seeds'])} seeds"
    console.print(comparison_table(results, title=title, against=_against(report)))
    if about is not None:
        console.print(
            f"Verdicts are by {about['metric']}: paired bootstrap over users and seeds, "
            f"{1 - about['level']:.2f} after Holm over these models.\n"
        )
    if (beyond := trade_off_table(results)) is not None:
        console.print(beyond)
    if "reranking" in report:
        console.print("\nRe-ranked as [recommend.rerank] says:", markup=False)
        console.print(reranking_table(report["reranking"]))
    _print_tuning(report["tuning"], console)
    _print_doubts(report, console)
    index = report.get("index")  # a blend has none of its own
    if index is None:
        return
    console.print(
        f"The index finds {index['recall']:.1%} of exact search's top {index['k']} while it "
        f"inspects {index['inspected']:.1%} of the items.\n"
    )


def _print_doubts(report: Mapping[str, Any], console: Console) -> None:
    """Leak alarms, and whom the towers serve worst."""
    for leak in report.get("leaks", ()):
        line = f"{leak['what']}: {leak['n']:,} ({', '.join(leak['examples'])})"
        console.print(f"[bold yellow]Leak alarm[/bold yellow]  {escape(line)}\n")
    if "worst_slice" in report:
        console.print(f"{escape(report['worst_slice'])} All slices: report/slices.md.\n")


def _against(report: Mapping[str, Any]) -> Against | None:
    """The verdicts by the main metric."""
    about = report.get("certainty")
    if about is None:
        return None
    verdicts = {
        model: by_metric[about["metric"]]["verdict"]
        for model, by_metric in report["verdicts"].items()
    }
    return Against(about["reference"], verdicts)


def _print_tuning(tuning: Mapping[str, Sequence[Mapping[str, float]]], console: Console) -> None:
    chosen = []
    for name, trials in tuning.items():
        if trials:
            metric = next(key for key in trials[0] if "@" in key)
            best = max(trials, key=lambda trial, metric=metric: trial[metric])  # type: ignore[misc]
            values = ", ".join(f"{key} {value:g}" for key, value in best.items() if key != metric)
            chosen.append(f"{name} ({values}; best of {len(trials)})")
    if chosen:
        console.print(f"Baselines tuned on validation: {'; '.join(chosen)}.")


def _print_places(run: Run, console: Console, mlflow_uri: str | None) -> None:
    places = {
        "recommendations": "everybody's top k, as parquet parts",
        "report/metrics.json": "all figures; report/rankings holds the lists they are of",
        "report/slices.md": "by popularity, history, content and columns, with gaps",
        "data": "the log as it was used, with rejected.parquet",
        "towers": "the trained towers",
        "index": "the index they are served from",
        "recsys.log": "what happened when",
    }
    out = _short(run.out)
    table = Table(title="Where it lies", title_justify="left", show_header=False, box=None)
    for name, what in places.items():
        table.add_row(f"{out}/{name}", what)
    console.print(table)
    console.print("\nOne user's history beside the answers, and the record of all runs:")
    console.print(f"  recsys show --user ID --run {out}", soft_wrap=True)
    if mlflow_uri is not None and mlflow_uri.startswith("http"):
        console.print(f"  {mlflow_uri}", soft_wrap=True)
    elif mlflow_uri is not None:
        console.print(f"  mlflow ui --backend-store-uri {mlflow_uri}", soft_wrap=True)


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
