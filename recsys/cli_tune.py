"""The commands that look for settings: tune (on validation) and lr-find."""

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import AsJson, ConfigFile, Out, Overrides, Quiet, Verbose
from recsys.errors import ConfigError

__all__ = ["add_tune_commands"]

output = Console(highlight=False)
errors = Console(stderr=True)


def add_tune_commands(app: typer.Typer, talk: Callable[..., None]) -> None:
    """Add them to the command line; ``talk`` sets up messages."""

    def tune_command(
        config: ConfigFile,
        overrides: Overrides = None,
        trials: Annotated[
            int | None,
            typer.Option(
                min=1, help="In all, those of earlier calls included; absent: tune.trials (40)."
            ),
        ] = None,
        timeout: Annotated[
            float | None, typer.Option(min=0.001, help="Seconds after which no trial is begun.")
        ] = None,
        processes: Annotated[
            int | None, typer.Option(min=1, help="That try settings side by side.")
        ] = None,
        out: Out = None,
        as_json: AsJson = False,
        force: Annotated[
            bool, typer.Option("--force", help="Begin anew, without the trials of earlier calls.")
        ] = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Search settings by their validation score, as [tune] says; goes on after a stop."""
        from recsys.stages.command import Command, tell

        given = {"trials": trials, "timeout": timeout, "processes": processes}
        words = [f"tune.{name}={value}" for name, value in given.items() if value is not None]
        run = Command.of(config, [*(overrides or ()), *words], out).run
        try:
            from recsys.stages.tune.results import print_results
            from recsys.stages.tune.search import FOLDER, search
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise ConfigError("tune needs optuna: pip install 'recsys[tune]'") from None
        talk(run.out, quiet=quiet, verbose=verbose)
        try:
            results = search(run, force=force, tell=tell)
        except KeyboardInterrupt:
            errors.print(f"stopped; what there is lies in {run.out / FOLDER}, and the same command "
                         "goes on from there", soft_wrap=True)  # fmt: skip
            raise
        if as_json:
            output.print_json(json.dumps(results.as_dict()))
        else:
            print_results(results, run.out / FOLDER, output)

    def lr_find_command(
        config: ConfigFile,
        overrides: Overrides = None,
        steps: Annotated[int, typer.Option(min=40, help="From the first rate to the last.")] = 200,
        low: Annotated[float, typer.Option(min=1e-12, help="The first rate.")] = 1e-6,
        high: Annotated[float, typer.Option(max=100.0, help="The last rate.")] = 1.0,
        out: Out = None,
        as_json: AsJson = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Let the learning rate rise: at which does the loss fall fastest? Nothing is kept."""
        from recsys.stages.command import Command, tell
        from recsys.stages.lr_find import CHART, CURVE, lr_find

        if low >= high:
            raise ConfigError(f"--low {low:g} --high {high:g}: the first has to be the smaller")
        run = Command.of(config, overrides or (), out).run
        talk(run.out, quiet=quiet, verbose=verbose)
        found = lr_find(run, steps=steps, low=low, high=high, tell=tell)
        suggested = {
            "steepest": found.steepest,
            "tenth_of_minimum": found.tenth if found.burst else None,
        }
        if as_json:
            output.print_json(json.dumps(suggested | {"steps": len(found.rates)}))
            return
        output.print(f"steepest descent of the loss      {found.steepest:.2g}")
        if found.burst:
            output.print(f"a tenth of the minimum's rate     {found.tenth:.2g}")
        else:
            output.print(
                f"the loss bears rates up to {found.rates[-1]:.2g}: no minimum to keep away from"
            )
        output.print(f"training.learning_rate is         {run.config.training.learning_rate:.2g}")
        for name in (CHART, CURVE):
            output.print(str(run.out / name), soft_wrap=True)

    app.command("tune")(tune_command)
    app.command("lr-find")(lr_find_command)
