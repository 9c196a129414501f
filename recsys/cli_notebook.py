"""The command that executes the notebooks: notebook."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from recsys.errors import ConfigError

__all__ = ["add_notebook_command"]

output = Console(highlight=False)


def add_notebook_command(app: typer.Typer) -> None:
    """Add it to the command line."""

    def command(
        names: Annotated[
            list[str] | None,
            typer.Argument(metavar="[NAME]...", help="Such as 4_index, or 4; else all."),
        ] = None,
        execute: Annotated[
            bool, typer.Option("--execute", help="Execute them; else their questions are listed.")
        ] = False,
        config: Annotated[
            Path | None, typer.Option(help="A TOML file instead of each notebook's own.")
        ] = None,
        overrides: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="Such as training.epochs=3."),
        ] = None,
        out: Annotated[
            Path, typer.Option(help="Gets a page of HTML for each, and the runs they look at.")
        ] = Path("runs/notebooks"),
        folder: Annotated[Path, typer.Option(help="Where the notebooks are.")] = Path("notebooks"),
    ) -> None:
        """List the notebooks with their questions, or execute them into pages of HTML."""
        from recsys.report.execute import execute_notebook, find_notebooks, question_of

        found = find_notebooks(folder, names or ())
        if config is not None and not config.is_file():
            raise ConfigError(f"{config}: no such file; `recsys init FILE...` writes a config")
        if not execute:
            for path in found:
                output.print(f"[bold]{path.stem}[/bold]  {escape(question_of(path))}")
            output.print("\nrecsys notebook --execute [NAME ...]")
            return
        values: dict[str, Any] = {"OUT": str(out.resolve())}
        if config is not None:
            values["CONFIG"] = str(config.resolve())
        if overrides:
            values["OVERRIDES"] = list(overrides)
        for path in found:
            started = time.perf_counter()
            page = execute_notebook(path, out, values)
            output.print(f"{time.perf_counter() - started:7.1f} s  {page}", soft_wrap=True)

    app.command("notebook")(command)
