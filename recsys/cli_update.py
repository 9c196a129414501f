"""The command that lets the towers of a finished run learn on: update."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli_options import AsJson, DryRun, Force, Quiet, Seeds, Verbose
from recsys.errors import ConfigError

__all__ = ["add_update_command"]

output = Console(highlight=False)


def add_update_command(app: typer.Typer, run: Callable[..., None]) -> None:
    """Add it to the command line; ``run`` is what ``recsys run`` calls."""

    def command(
        config: Annotated[
            Path, typer.Argument(metavar="CONFIG", help="A TOML file; its log has grown.")
        ],
        out: Annotated[Path, typer.Option(help="The new run's folder.")],
        overrides: Annotated[
            list[str] | None,
            typer.Argument(metavar="[KEY=VALUE]...", help="Such as update.replay=2."),
        ] = None,
        start: Annotated[
            Path | None,
            typer.Option(
                "--from", help="A finished run; else update.start, or runs/CONFIG's name."
            ),
        ] = None,
        seeds: Seeds = None,
        as_json: AsJson = False,
        dry_run: DryRun = False,
        force: Force = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Let a finished run learn on from what has come since, then index, recommend, evaluate."""
        from recsys.config_file import load_config

        words = list(overrides or ())
        if start is None and load_config(config, words).update.start is None:
            start = Path("runs") / config.stem
        if start is not None:
            words.append(f"update.start={start}")
        _check_start(load_config(config, words).update.start, out)  # before anything is written
        options: dict[str, Any] = {"force": force, "quiet": quiet, "verbose": verbose}
        run(config, words, out, seeds, as_json=as_json, dry_run=dry_run, **options)
        if not (as_json or dry_run or quiet):
            _tell(out)

    app.command("update")(command)


def _check_start(start: Path | None, out: Path) -> None:
    """Refuse what no update can start from.

    Raises:
        ConfigError: the folder holds no finished run, or is the new one itself.
    """
    if start is None or not (start / "towers" / "stage.json").is_file():
        raise ConfigError(
            f"{start}: holds no trained towers; give the folder of a finished run as --from"
        )
    if start.resolve() == out.resolve():
        raise ConfigError(f"{out}: an update cannot start from itself; choose another --out")


def _tell(out: Path) -> None:
    """Say what was new, and what the update changed for the others."""
    from recsys.stages.stage import read_record

    facts = read_record(out / "towers")["facts"]["update"]
    drift = facts["drift"]
    output.print(
        f"\nupdated from {facts['start']}: {facts['new_rows']:,} new rows, "
        f"{facts['new_users']:,} new users, {facts['new_items']:,} new items",
        soft_wrap=True,
    )
    output.print(
        f"old items moved by a cosine distance of {drift['mean']:.3f} (99 %: {drift['p99']:.3f}); "
        f"{drift['turned_mean']:.3f} ({drift['turned_p99']:.3f}) but for a rotation of them all",
        soft_wrap=True,
    )
    if drift["changed"] is not None:
        output.print(
            f"users without new rows: {drift['changed']:.0%} of their 20 best were not there "
            f"before ({drift['users']:,} asked)",
            soft_wrap=True,
        )
