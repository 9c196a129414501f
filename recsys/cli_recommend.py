"""The command that writes everybody's recommendations."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from recsys.cli_options import (
    AsJson,
    ConfigFile,
    DryRun,
    EngineName,
    Force,
    Out,
    Overrides,
    Quiet,
    Seeds,
    Verbose,
)

__all__ = ["add_recommend_command"]


def add_recommend_command(app: typer.Typer, one_stage: Callable[..., None]) -> None:
    """Add it; ``one_stage`` does a stage of a run."""

    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        users: Annotated[Path | None, typer.Option(help="A file of user ids; else all.")] = None,
        exclude: Annotated[
            Path | None, typer.Option(help="Items for nobody; or rows of user_id and item_id.")
        ] = None,
        candidates: Annotated[
            Path | None, typer.Option(help="A file of the items allowed.")
        ] = None,
        where: Annotated[
            str | None, typer.Option(help='What items must meet: "in_stock and price < 20".')
        ] = None,
        file_format: Annotated[
            str | None, typer.Option("--format", help="parquet, csv or jsonl.")
        ] = None,
        to: Annotated[
            str | None,
            typer.Option(help="A folder or url for the parts, such as s3://bucket/folder."),
        ] = None,
        engine: EngineName = "local",
        out: Out = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        dry_run: DryRun = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Write the top k of everybody, or of the users in a file, in place of what was written."""
        words = [*(overrides or ()), *([f"recommend.format={file_format}"] if file_format else [])]
        one_stage(
            "recommend", config, words, out, seeds, as_json, dry_run, force, quiet, verbose,
            users=users, exclude=exclude, candidates=candidates, where=where, to=to, engine=engine,
        )  # fmt: skip

    app.command("recommend")(command)
