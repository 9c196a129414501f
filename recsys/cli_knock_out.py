"""The command that asks what each content is worth: knock-out."""

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import AsJson, ConfigFile, Force, Out, Overrides, Quiet, Verbose

__all__ = ["add_knock_out_command"]

output = Console(highlight=False)


def add_knock_out_command(app: typer.Typer, talk: Callable[..., None]) -> None:
    """Add it to the command line; ``talk`` sets up messages."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        only: Annotated[
            str | None, typer.Option(help="Such as text,poster,users.job; else all.")
        ] = None,
        out: Out = None,
        seeds: Annotated[
            str | None, typer.Option(help="Such as 0,1,2: towers are trained with each.")
        ] = None,
        as_json: AsJson = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Train with each content real, shuffled, constant and absent: does it help?"""
        from recsys.stages.command import Command, tell
        from recsys.stages.knock_out import FOLDER, knock_out, knock_out_table

        run = Command.of(config, overrides or (), out, seeds).run
        talk(run.out, quiet=quiet, verbose=verbose)
        rows = knock_out(run, only=only.split(",") if only else (), force=force, tell=tell)
        if as_json:
            output.print_json(json.dumps(rows))
            return
        output.print(knock_out_table(rows))
        output.print(f"\n{run.out / FOLDER / 'table.md'}", soft_wrap=True)

    app.command("knock-out")(command)
