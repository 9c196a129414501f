"""The command that lets several runs vote: blend."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import AsJson, Force, Quiet

__all__ = ["add_blend_command"]

output = Console(highlight=False)


def add_blend_command(app: typer.Typer) -> None:
    """Add it to the command line."""

    def command(
        runs: Annotated[list[Path], typer.Argument(help="Folders of runs of the same split.")],
        baselines: Annotated[
            str, typer.Option("--with", help="Baselines of the first run, such as ease,item-knn.")
        ] = "",
        out: Annotated[Path, typer.Option(help="The blend's folder.")] = Path("runs/blend"),
        as_json: AsJson = False,
        force: Force = False,
        quiet: Quiet = False,
    ) -> None:
        """Fuse the lists of several runs, by rank and by weights learnt on validation."""
        from recsys.progress import set_quiet
        from recsys.stages.blend import blend
        from recsys.stages.command import tell
        from recsys.stages.summary import print_models

        set_quiet(quiet)
        names = tuple(filter(None, baselines.split(",")))
        report = blend(runs, out.resolve(), baselines=names, force=force, tell=tell)
        if as_json:
            output.print_json(json.dumps(report))
            return
        print_models(report, output)
        for seed, weights in report["weights"].items():
            named = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
            output.print(f"weights learnt on validation, seed {seed}: {named}")
        output.print(f"\n{out / 'report'}", soft_wrap=True)

    app.command("blend")(command)
