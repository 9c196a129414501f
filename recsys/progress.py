"""Progress bars for all that takes more than a moment, on standard error."""

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["console", "progress_bar", "set_quiet", "track"]

T = TypeVar("T")

EVERY = 30.0  # seconds between the lines in a file

console = Console(stderr=True)  # messages and bars; standard output is for results


def set_quiet(quiet: bool) -> None:
    """Silence bars and messages (``-q``)."""
    console.quiet = quiet


class _Lines(Progress):
    """The same for a file: a plain line now and then instead of a bar that is drawn again."""

    def __init__(self, unit: str | None = None, every: float = EVERY) -> None:
        super().__init__(console=console, disable=True)
        self.unit, self.every, self.said = unit, every, time.monotonic()

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
        speed = "" if self.unit is None else f", {_speed(task, self.unit)}, {_left(task)}"
        line = f"{task.description}: {task.completed:,.0f}{total}{speed}"
        console.print(line, soft_wrap=True)


class _Speed(ProgressColumn):
    """How many a second, in the last half a minute."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(_speed(task, self.unit))


def _speed(task: Task, unit: str) -> str:
    speed = task.finished_speed or task.speed
    return f"? {unit}/s" if speed is None else f"{speed:,.0f} {unit}/s"


def _left(task: Task) -> str:
    left = task.time_remaining
    return "time left not known" if left is None else f"{timedelta(seconds=round(left))} left"


def progress_bar(unit: str | None = None) -> Progress:
    """Return a bar with a description, a share, a count and the time left.

    Where standard error is no terminal (a file, a log), it is a line every half a minute.

    Args:
        unit: what is counted: so many a second are shown; None: nothing of the kind is.
    """
    if not (console.is_terminal or console.is_jupyter):
        return _Lines(unit)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        *([] if unit is None else [_Speed(unit)]),
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
