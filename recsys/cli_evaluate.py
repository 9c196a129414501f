"""The command that measures: under the config's own split, under several protocols, or folds."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

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
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from recsys.stages.command import Command

__all__ = ["add_evaluate_command"]

output = Console(highlight=False)


def add_evaluate_command(
    app: typer.Typer, one_stage: Callable[..., None], talk: Callable[..., None]
) -> None:
    """Add it; ``one_stage`` does a stage of a run, ``talk`` sets up messages."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        protocols: Annotated[
            str | None,
            typer.Option(help="all, or some such as user-time,leave-last-out: towers for each."),
        ] = None,
        folds: Annotated[
            int | None, typer.Option(help="Windows by time; towers for each (rolling origin).")
        ] = None,
        out: Out = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        dry_run: DryRun = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Measure the towers beside tuned baselines, under one split or several."""
        if protocols is None and folds is None:
            one_stage(
                "evaluate", config, overrides, out, seeds, as_json, dry_run, force, quiet, verbose
            )
            return
        if protocols is not None and folds is not None:
            raise ConfigError("evaluate: give --protocols or --folds, not both")
        from recsys.stages.command import Command, tell
        from recsys.stages.protocols import (
            fold_runs,
            measure_all,
            parse_protocols,
            protocol_runs,
        )

        base = Command.of(config, overrides or (), out, seeds)
        telling = None if dry_run else tell
        if not dry_run:
            talk(base.out, quiet=quiet, verbose=verbose)
        if folds is not None:
            runs, left_out = fold_runs(base.run, folds, telling), dict[str, str]()
            folder = base.out / f"folds-{folds}"
        else:
            names = parse_protocols(str(protocols), base.run.config.split.protocol)
            runs, left_out = protocol_runs(base.run, names, telling)
            folder = base.out / "protocols"
        if dry_run:
            _print_plans(runs, left_out, as_json=as_json)
            return
        found = measure_all(runs, left_out, folder, folds=folds is not None, force=force)
        if as_json:
            output.print_json(json.dumps(found.as_dict()))
            return
        output.print(found.table(folds=folds is not None))
        if found.note and folds is None:
            output.print(f"\n{found.note}")
        _print_left_out(left_out)
        output.print(f"\n{folder / 'table.md'}", soft_wrap=True)

    app.command("evaluate")(command)


def _print_plans(
    runs: Mapping[str, "Command"], left_out: Mapping[str, str], *, as_json: bool
) -> None:
    """Say what would be done of each run; nothing is written."""
    from recsys.stages.pipeline import plan
    from recsys.stages.protocols import ASKED

    if as_json:
        plans = {name: [p._asdict() for p in plan(of.run, ASKED)] for name, of in runs.items()}
        output.print_json(json.dumps({"runs": plans, "left_out": dict(left_out)}))
        return
    for command in runs.values():
        command.print_plan(output, ASKED)
    _print_left_out(left_out)


def _print_left_out(left_out: Mapping[str, str]) -> None:
    for name, why in left_out.items():
        output.print(f"left out: {name}: {escape(why)}", soft_wrap=True)
