"""Progress bars for all that takes more than a moment, on standard error."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["console", "progress_bar", "set_quiet", "track"]

T = TypeVar("T")

EVERY = 30.0  # seconds between the lines in a file

console = Console(stderr=True)  # messages and bars; standard output is for results


def set_quiet(quiet: bool) -> None:
    """Silence bars and messages (``-q``)."""
    console.quiet = quiet


class _Lines(Progress):
    """The same for a file: a plain line now and then instead of a bar that is drawn again."""

    def __init__(self, every: float = EVERY) -> None:
        super().__init__(console=console, disable=True)
        self.every, self.said = every, time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        if time.monotonic() - self.said < self.every:
            return
        self.said = time.monotonic()
        task = next(task for task in self.tasks if task.id == task_id)
        total = "" if task.total is None else f" of {task.total:,.0f}"
        console.print(f"{task.description}: {task.completed:,.0f}{total}", soft_wrap=True)


def progress_bar() -> Progress:
    """Return a bar with a description, a share, a count and the time left.

    Where standard error is no terminal (a file, a log), it is a line every half a minute.
    """
    if not (console.is_terminal or console.is_jupyter):
        return _Lines()
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
        task = bar.add_task(description, total=total)
        for thing in things:
            yield thing
            bar.advance(task)
