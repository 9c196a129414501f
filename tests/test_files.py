"""Files are whole or absent."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from recsys import files
from recsys.errors import ArtifactError
from recsys.files import (
    JOURNAL,
    atomic_file,
    atomic_folder,
    digest_file,
    digest_files,
    digest_json,
    locked,
    read_json,
    resumed_folder,
    write_json,
)


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with atomic_folder(target) as folder:
        (folder / "one").write_text("1")
        assert not target.exists()
    assert (target / "one").read_text() == "1"
    with pytest.raises(ValueError, match="killed"), atomic_folder(target) as folder:
        (folder / "two").write_text("2")
        raise ValueError("killed")
    assert [path.name for path in target.iterdir()] == ["one"]
    with atomic_folder(target) as folder:
        assert not any(folder.iterdir()), "what a killed block left behind must be gone"
        (folder / "three").write_text("3")
    assert [path.name for path in target.iterdir()] == ["three"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_file_that_was_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="killed"), atomic_file(path) as partial:
        partial.write_text("half")
        raise ValueError("killed")
    assert path.read_text() == "old"


def test_json_refuses_nan_and_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert not (tmp_path / "a.json").exists()
    with pytest.raises(ArtifactError, match="no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ArtifactError, match="is not json"):
        read_json(tmp_path / "b.json")


def test_digests_see_content_and_names_not_order(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("x")
    (tmp_path / "a").write_text("x")
    before = digest_files(tmp_path)
    assert list(before) == ["a", "b"]
    (tmp_path / "b").write_text("y")
    after = digest_files(tmp_path)
    assert (before["a"], before["b"]) == (after["a"], before["a"])
    assert after["b"] != before["b"]
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1}) != digest_json({"a": 1})


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with atomic_folder(target) as folder:
        (folder / "one").write_text("1")
    target.rename(tmp_path / ".made.old")  # as far as the killed call had come
    with pytest.raises(ValueError, match="again"), atomic_folder(target):
        raise ValueError("again")
    assert (target / "one").read_text() == "1"


def test_a_changed_file_has_another_digest_in_the_same_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    before = digest_file(path)
    path.write_text("two")
    assert digest_file(path) != before


def test_what_has_moved_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "made") as folder:
        (folder / "long").write_text("content")
        before = digest_files(folder)
    monkeypatch.setattr(files, "_digest_bytes", lambda _: "read")
    assert digest_files(tmp_path / "made") == before
    (tmp_path / "made" / "long").write_text("Content")
    assert digest_files(tmp_path / "made") == {"long": "read"}


def test_a_file_is_read_when_a_later_change_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within one tick of the system's clock leave the same times."""
    read_at: list[float] = []

    def read(_: Path) -> str:
        read_at.append(time.time())
        return "read"

    monkeypatch.setattr(files, "_digest_bytes", read)
    path = tmp_path / "file"
    path.write_text("one")
    digest_file(path), digest_file(path)
    assert len(read_at) == 1
    assert read_at[0] >= path.stat().st_ctime + 0.01
    os.utime(path, (2**33, 2**33))  # a clock that went wrong costs no more
    digest_file(path)
    assert read_at[1] - path.stat().st_ctime < 1


def test_two_writers_of_a_folder_do_not_touch_each_others(tmp_path: Path) -> None:
    path = tmp_path / "run"
    killed = tmp_path / ".run.999999999.partial"
    killed.mkdir()
    other = tmp_path / f".run.{os.getppid()}.partial"
    other.mkdir()
    with atomic_folder(path) as partial:
        (partial / "a").touch()
    assert other.exists() and not killed.exists() and (path / "a").exists()
    with pytest.raises(ValueError, match="failed"), atomic_folder(path) as partial:
        raise ValueError("failed")
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "run"]


def test_a_folder_and_the_new_one_change_places_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Linux's renameat2 there is no moment without the folder; without it all goes as well."""
    target = tmp_path / "made"
    missed = []
    rename = Path.rename

    def watched(path: Path, to: Path) -> Path:
        done = rename(path, to)
        missed.append(not target.exists())
        return done

    monkeypatch.setattr(Path, "rename", watched)
    for number, system in enumerate(("linux", "other"), 1):
        if system == "other":
            monkeypatch.setattr(files, "_exchange", lambda *_: False)
        for text in ("old", "new"):
            with atomic_folder(target) as folder:
                (folder / "one").write_text(text)
        assert (target / "one").read_text() == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
        assert any(missed) == (number == 2) or sys.platform != "linux"


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    order = []

    def wait() -> None:
        with locked(tmp_path / "b"):
            order.append("second")

    with locked(tmp_path / "b"):
        other = threading.Thread(target=wait)  # flock is of the opened file, so threads wait too
        other.start()
        time.sleep(0.05)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_what_a_kill_after_the_exchange_left_is_not_gone_on_with(tmp_path: Path) -> None:
    key, path = "0" * 64, tmp_path / "made"
    path.mkdir()
    (path / "old").touch()
    with resumed_folder(path, key) as folder:
        (folder / "new").touch()
        (folder / JOURNAL).touch()
    assert [one.name for one in path.iterdir()] == ["new"]
    left = tmp_path / f".made.{key[:16]}.unfinished"  # as if it had not been removed yet
    left.mkdir()
    (left / "old").touch()
    with resumed_folder(path, key) as folder:
        assert folder == left and not list(folder.iterdir())
        (folder / JOURNAL).touch()
    with pytest.raises(BlockingIOError), resumed_folder(path, key):
        raise BlockingIOError  # of the work, not of the lock
