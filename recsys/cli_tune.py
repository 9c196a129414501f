"""The command that searches settings on validation: tune."""

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import AsJson, ConfigFile, Out, Overrides, Quiet, Verbose
from recsys.errors import ConfigError

__all__ = ["add_tune_command"]

output = Console(highlight=False)
errors = Console(stderr=True)


def add_tune_command(app: typer.Typer, talk: Callable[..., None]) -> None:
    """Add it to the command line; ``talk`` sets up messages."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        trials: Annotated[
            int | None, typer.Option(min=1, help="In all, those of earlier calls included.")
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
        """Search settings on validation, the test part unseen: [tune] says which; goes on."""
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

    app.command("tune")(command)
