"""What shows how far things are: bars for a terminal, a line now and then for a file."""

import io

import pytest
from rich.console import Console

from recsys import progress


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a file as standard error gets."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=file, width=80))
    return file


def test_a_file_gets_no_bars(written: io.StringIO) -> None:
    assert list(progress.track(range(1_000), "encoding", 1_000)) == list(range(1_000))
    assert written.getvalue() == ""


def test_a_file_gets_a_line_every_half_minute(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))  # ten seconds a step
    monkeypatch.setattr(
        "recsys.progress.time.monotonic", lambda: next(clock) / 2
    )  # two looks a step
    list(progress.track(range(12), "encoding", 12))
    lines = written.getvalue().splitlines()
    assert 1 < len(lines) < 6
    assert lines[0].startswith("encoding: ") and lines[0].endswith(" of 12")


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=file, force_terminal=True))
    list(progress.track(range(3), "encoding", 3))
    assert "3/3" in file.getvalue()


def test_a_file_is_told_the_speed_and_the_time_left(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("recsys.progress.time.monotonic", lambda: now[0])
    with progress.progress_bar("users") as bar:
        bar.get_time = lambda: now[0]
        task = bar.add_task("recommending", total=100_000, completed=50_000)
        for _ in range(8):  # a hundred users a second, after the half that was there already
            now[0] += 10.0
            bar.advance(task, 1_000)
    lines = written.getvalue().splitlines()
    assert lines[0] == "recommending: 53,000 of 100,000, 100 users/s, 0:07:50 left"


def test_a_terminal_is_told_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=file, force_terminal=True, width=120))
    with progress.progress_bar("users") as bar:
        bar.advance(bar.add_task("recommending", total=3), 3)
    assert "users/s" in file.getvalue()
