"""The commands that look at finished runs: show, why, similar, search, summary, compare."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from recsys.cli_options import AsJson, RunFolder
from recsys.errors import ConfigError

__all__ = ["add_look_commands"]

output = Console(highlight=False)


def add_look_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    for name, command in (
        ("show", _show),
        ("why", _why),
        ("similar", _similar),
        ("search", _search),
        ("summary", _summary),
        ("compare", _compare),
    ):
        app.command(name)(command)


def _show(
    user: Annotated[str, typer.Option(help="A user id.")],
    run: RunFolder = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")] = 10,
) -> None:
    """Show a user's history beside the recommendations."""
    from recsys.recommenders.recommender import Recommender
    from recsys.stages.summary import user_table

    output.print(user_table(Recommender.load(_newest(run)), user, k))


def _why(
    user: Annotated[str, typer.Option(help="A user id.")],
    item: Annotated[str, typer.Option(help="An item id.")],
    run: RunFolder = None,
    past: Annotated[
        list[str] | None, typer.Option(help="Only this item of the history; may be repeated.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many past items.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what a user's score of an item is made of."""
    from recsys.recommenders.explain import explain
    from recsys.recommenders.recommender import Recommender
    from recsys.stages.why import why_json, why_tables

    recommender = Recommender.load(_newest(run))
    found = explain(recommender, user, item, past=past or None, k=k)
    if as_json:
        output.print_json(json.dumps(why_json(recommender, found)))
    else:
        output.print(why_tables(recommender, found))


def _similar(
    item: Annotated[str, typer.Option(help="An item id.")],
    run: RunFolder = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")] = 10,
) -> None:
    """Show the items nearest to an item."""
    from recsys.recommenders.recommender import Recommender
    from recsys.stages.summary import similar_table

    output.print(similar_table(Recommender.load(_newest(run)), item, k))


def _search(
    query: Annotated[str, typer.Argument(help='Such as "dark space opera", or a file.')],
    run: RunFolder = None,
    content: Annotated[str | None, typer.Option(help="A content of the run, by its NAME.")] = None,
    file: Annotated[bool, typer.Option("--file", help="The query is an image or sound.")] = False,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")] = 10,
) -> None:
    """Show the items whose content is nearest to a text, or to a file."""
    from recsys.stages.search import search_table

    asked = Path(query) if file else query
    output.print(search_table(_newest(run), asked, content, k))


def _summary(runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")]) -> None:
    """Print the results of finished runs, one after the other."""
    from recsys.stages.command import Command

    for run in runs:
        if len(runs) > 1:
            output.rule(f"[bold]{escape(run.name)}[/bold]")
        Command.finished(run).print_summary(output)


def _compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")], as_json: AsJson = False
) -> None:
    """Show the figures of several runs side by side."""
    from recsys.stages.compare import compare_runs, comparison

    found = compare_runs(runs)
    if as_json:
        output.print_json(json.dumps(found))
    else:
        output.print(comparison(found))


def _newest(run: Path | None) -> Path:
    if run is not None:
        return run
    found = sorted(Path("runs").glob("*/index/stage.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError("no run in runs/; say which with --run FOLDER, or start with recsys run")
    return found[-1].parents[1]
