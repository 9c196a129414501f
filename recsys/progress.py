"""Progress bars for all that takes more than a moment, on standard error."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["console", "progress_bar", "set_quiet", "track"]

T = TypeVar("T")

console = Console(stderr=True)  # messages and bars; standard output is for results


def set_quiet(quiet: bool) -> None:
    """Silence bars and messages (``-q``)."""
    console.quiet = quiet


def progress_bar() -> Progress:
    """Return a bar with a description, a share, a count and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )


def track(things: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield ``things`` while a bar shows how many of ``total`` are done."""
    with progress_bar() as bar:
        yield from bar.track(things, total=total, description=description)
