"""The command that looks into a training that diverged: replay."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from recsys.cli_options import AsJson, Out, Overrides, Quiet, Seeds, Verbose
from recsys.errors import ArtifactError

if TYPE_CHECKING:
    from recsys.training.replay import Replayed

__all__ = ["add_replay_command"]

DIVERGED, CONTENT = "diverged", "content"
SHOWN = 5  # findings

output = Console(highlight=False)


def add_replay_command(app: typer.Typer, talk: Callable[..., None]) -> None:
    """Add it to the command line; ``talk`` sets up messages."""

    def command(
        place: Annotated[
            Path,
            typer.Argument(metavar="CONFIG-or-FOLDER", help="A TOML file, or what training named."),
        ],
        overrides: Overrides = None,
        out: Out = None,
        seeds: Seeds = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        as_json: AsJson = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Do the step again at which training stopped: which tensor is the first not finite?"""
        from recsys.content.saved import load_blocks
        from recsys.content.user_attributes import load_user_blocks
        from recsys.training.replay import replay

        folder = place if place.is_dir() else _of_config(place, overrides, out, seeds)
        talk(folder.parent, quiet=quiet, verbose=verbose)
        content = _content(folder)
        done = replay(folder, load_blocks(content), load_user_blocks(content), device)
        if as_json:
            output.print_json(json.dumps(_plain(asdict(done))))
        else:
            _print(done)

    app.command("replay")(command)


def _of_config(
    config: Path, overrides: list[str] | None, out: Path | None, seeds: str | None
) -> Path:
    """The folder of a run's first seed whose training diverged, in the first of its processes."""
    from recsys.stages.command import Command

    run = Command.of(config, overrides or (), out, seeds).run
    folders = [run.folder(DIVERGED, seed) for seed in run.seeds]
    for alone in folders:
        for folder in (alone, *sorted(alone.parent.glob(f"{DIVERGED}-[0-9]*"))):
            if folder.is_dir():
                return folder
    raise ArtifactError(f"{folders[0]}: is not there: no training of this run has diverged")


def _content(folder: Path) -> Path:
    """The content of the run that a folder lies in."""
    for parent in folder.resolve().parents[:3]:  # run, or run / seeds / number
        if (parent / CONTENT).is_dir():
            return parent / CONTENT
    raise ArtifactError(f"{folder}: lies in no run: there is no {CONTENT} above it")


def _plain(done: dict[str, Any]) -> dict[str, Any]:
    """As json has it: it knows no NaN."""
    norm = None if done["norm"] is None else str(done["norm"])
    return done | {"loss": str(done["loss"]), "norm": norm}


def _print(done: "Replayed") -> None:
    norm = "is not reached" if done.norm is None else f"has norm {done.norm:.6g}"
    output.print(
        f"epoch {done.epoch}, step {done.step}: the loss is {done.loss:.6g}, its gradient {norm}"
    )
    if not done.findings:
        output.print(
            "all is finite this time: hard negatives, a teacher, encoders that learn and dropout "
            "of another kind of device are not repeated"
        )
    for number, finding in enumerate(done.findings[:SHOWN]):
        output.print(escape(f"{'first: ' if not number else 'then:  '}{finding}"), soft_wrap=True)
    if len(done.findings) > SHOWN:
        output.print(f"and {len(done.findings) - SHOWN} more, which follow from these")
    if done.operation:
        output.print(f"in the backward pass, {done.operation} gave the first NaN")
