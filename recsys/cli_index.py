"""The command that builds the index and says what it finds and costs."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import (
    AsJson,
    ConfigFile,
    DryRun,
    Force,
    Out,
    Overrides,
    Quiet,
    Seeds,
    Verbose,
)

__all__ = ["add_index_command"]

output = Console(highlight=False)


def add_index_command(app: typer.Typer, one_stage: Callable[..., None]) -> None:
    """Add it; ``one_stage`` does a stage of a run."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        compare: Annotated[
            bool, typer.Option("--compare", help="With exact search and, if installed, hnswlib.")
        ] = False,
        out: Out = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        dry_run: DryRun = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        one_stage("index", config, overrides, out, seeds, as_json, dry_run, force, quiet, verbose)
        if not (dry_run or as_json or quiet):
            _show_costs(config, overrides, out, seeds, compare=compare)

    app.command("index", help="Build the index of item vectors, and measure recall and time.")(
        command
    )


def _show_costs(
    config: ConfigFile, overrides: Overrides, out: Out, seeds: Seeds, *, compare: bool
) -> None:
    from recsys.report.index_costs import compare_kinds, measure_stored, print_costs, write_costs
    from recsys.stages.command import Command

    run = Command.of(config, overrides or (), out, seeds).run
    costs = compare_kinds(run) if compare else measure_stored(run)
    k = run.config.index.recall_k
    print_costs(costs, k, output)
    output.print(f"plotted in {write_costs(costs, k, run.out)}", soft_wrap=True)
