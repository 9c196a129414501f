"""The command that tries weights of re-ranking: rerank."""

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli_options import AsJson, ConfigFile, Force, Out, Overrides, Quiet, Seeds, Verbose
from recsys.errors import ConfigError

__all__ = ["add_rerank_command"]

output = Console(highlight=False)

Values = Annotated[str | None, typer.Option(help="Such as 0.1,0.3; none: leave it out.")]


def add_rerank_command(app: typer.Typer, talk: Callable[..., None]) -> None:
    """Add it to the command line; ``talk`` sets up messages."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        diversity: Values = None,
        dampening: Values = None,
        freshness: Values = None,
        per_category: Annotated[
            str | None, typer.Option(help="Such as 5,3; none: leave it out.")
        ] = None,
        out: Out = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Try weights of re-ranking on validation: what each costs in NDCG, and what it gains."""
        from recsys.evaluation.reranking import reranking_table
        from recsys.stages.command import Command, tell
        from recsys.stages.rerank_weights import FOLDER, GRID, rerank_weights

        given = {
            "diversity": diversity,
            "dampening": dampening,
            "freshness": freshness,
            "per_category": per_category,
        }
        grid = {
            name: GRID[name] if words is None else _values(name, words)
            for name, words in given.items()
        }
        run = Command.of(config, overrides or (), out, seeds).run
        talk(run.out, quiet=quiet, verbose=verbose)
        rows = rerank_weights(run, grid, force=force, tell=tell)
        if as_json:
            output.print_json(json.dumps(rows))
            return
        output.print(reranking_table(rows))
        output.print(f"\n{run.out / FOLDER / 'table.md'}", soft_wrap=True)

    app.command("rerank")(command)


def _values(name: str, words: str) -> tuple[float, ...]:
    if words == "none":
        return ()
    whole = name == "per_category"
    try:
        values = tuple(float(word) for word in words.split(","))
    except ValueError:
        values = (-1.0,)
    if any(not 0 < value < 1_000 or (whole and value % 1) for value in values):
        wanted = "whole numbers such as 3,2" if whole else "numbers above 0 such as 0.1,0.3"
        option = name.replace("_", "-")
        raise ConfigError(f"--{option} {words}: expected {wanted}, or none")
    return values
