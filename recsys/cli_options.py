"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "AsJson",
    "ConfigFile",
    "DryRun",
    "EngineName",
    "Force",
    "Out",
    "Overrides",
    "Quiet",
    "RunFolder",
    "Seeds",
    "Verbose",
]

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as training.epochs=3.")
]
Out = Annotated[Path | None, typer.Option(help="The run's folder; runs/CONFIG's name if absent.")]
Seeds = Annotated[str | None, typer.Option(help="Such as 0,1,2; the first one recommends.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as json.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="ray: workers of RAY_ADDRESS, or of this machine."),
]
Force = Annotated[bool, typer.Option("--force", help="Do it even where nothing has changed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors and results only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", help="A run's folder; the newest in runs/ if absent.")
]
