"""Files that are whole or absent: atomic and resumed folders, json, digests.

A killed process must leave nothing half-made, and a file must be recognisable by its content.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from recsys.errors import ArtifactError

__all__ = [
    "JOURNAL",
    "FileFacts",
    "alone",
    "atomic_file",
    "atomic_folder",
    "check_file",
    "describe_file",
    "digest_file",
    "digest_files",
    "digest_json",
    "locked",
    "read_json",
    "remove_folder",
    "restore_folder",
    "resumed_folder",
    "sync",
    "write_json",
]

BLOCK = 1 << 20  # bytes read at a time while hashing
READERS = 2  # files that are hashed at a time
TICK = 0.02  # seconds; when a file was changed is noted by clocks that tick every 10 ms or sooner
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: paths as they are; swap them
JOURNAL = ".journal.jsonl"  # what an unfinished folder knows of itself; none is in a finished one


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes its place when the block ends well.

    An exception leaves the old ``path`` as it was, and so does a kill: the two folders change
    places in one step. Where the system cannot do that, there are two renames, and a kill between
    them leaves nothing at ``path`` until the next call, or `restore_folder`, puts the old one back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(path)
    remove_folder(_set_aside(path))
    _remove_leftovers(path)
    # Another process may be writing the same folder: each has a partial one of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        remove_folder(partial)
        raise
    _put(partial, path)


@contextmanager
def resumed_folder(path: Path, key: str, *, afresh: bool = False) -> Iterator[Path]:
    """Yield what an unfinished call with the same key left, or an empty folder.

    It takes the place of ``path`` when the block ends well, without its ``JOURNAL``. An exception
    or a kill leaves it for the next call, if it holds a ``JOURNAL``: without one it may be what
    lay at ``path`` before, left by a kill after the two changed places. That, and what was begun
    with another key, is removed. One process at a time.

    Args:
        path: of the finished folder.
        key: of all that the files depend on, hex.
        afresh: begin with an empty folder all the same.

    Raises:
        ArtifactError: another process is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        restore_folder(path)
        remove_folder(_set_aside(path))
        unfinished = path.with_name(f".{path.name}.{key[:16]}.unfinished")
        for begun in path.parent.glob(f".{path.name}.*.unfinished"):
            if begun != unfinished or afresh or not (begun / JOURNAL).exists():
                remove_folder(begun)
        unfinished.mkdir(exist_ok=True)
        for half in unfinished.glob("*.partial"):  # a file that was being written
            half.unlink()
        yield unfinished
        (unfinished / JOURNAL).unlink(missing_ok=True)
        _put(unfinished, path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lock the folder that ``path`` lies in; the system lets go of it when a process dies."""
    import fcntl  # here: Windows has none

    opened = os.open(path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(
                f"{path}: another process is writing it; wait until it is done, or take another "
                "--out"
            ) from None
        yield
    finally:
        os.close(opened)


def _set_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _put(folder: Path, path: Path) -> None:
    """Let a folder take the place of ``path``."""
    if path.exists() and _exchange(folder, path):
        remove_folder(folder)  # the old one
        return
    old = _set_aside(path)
    if path.exists():
        path.rename(old)
    folder.rename(path)
    remove_folder(old)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places at once; whether the system could (Linux's renameat2)."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, TypeError, AttributeError):  # another system, or an old C library
        return False
    done: int = rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return done == 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of a name, and hold it; a kill lets it go."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_leftovers(path: Path) -> None:
    """Remove the partial folders of processes that were killed, and this one's own."""
    for leftover in path.parent.iterdir():
        found = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.partial", leftover.name)
        if found and (int(found[1]) == os.getpid() or not _is_alive(int(found[1]))):
            remove_folder(leftover)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def restore_folder(path: Path) -> None:
    """Put back the folder that `atomic_folder` had set aside when it was killed."""
    old = _set_aside(path)
    if old.exists() and not path.exists():
        old.rename(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; it need not be there."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; it takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another process may be writing the same file: each has a partial one of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    yield partial
    partial.replace(path)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def digest_file(path: Path) -> str:
    """Return the sha256 of the file's bytes, as hex; a file is not read twice in vain."""
    about = path.stat()
    # Not the name: a folder that was written beside its place and has moved there is the same.
    key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key not in _DIGESTS:
        # Changed once more within the tick, it would look as it does now.
        time.sleep(min(max(about.st_ctime + TICK - time.time(), 0.0), TICK))
        _DIGESTS[key] = _digest_bytes(path)
    return _DIGESTS[key]


_DIGESTS: dict[tuple[int, ...], str] = {}  # of files that were read


def _digest_bytes(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


class FileFacts(BaseModel):
    """What a file must be, as a card beside it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int  # bytes
    sha256: str


def describe_file(path: Path) -> FileFacts:
    """What a file is now."""
    return FileFacts(size=path.stat().st_size, sha256=digest_file(path))


def check_file(path: Path, expected: FileFacts, card: str, again: str) -> None:
    """Refuse a file that is not what a card says.

    Args:
        path: of the file.
        expected: what it must be.
        card: the name of what says so.
        again: what to do about a file that is not.

    Raises:
        ArtifactError: it is missing, of another size, or of another content.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file, but {card} names it; {again}")
    size = path.stat().st_size
    if size != expected.size:
        raise ArtifactError(f"{path}: {size:,} bytes, expected {expected.size:,}; {again}")
    if digest_file(path) != expected.sha256:
        raise ArtifactError(f"{path}: the content is not what {card} says; {again}")


def digest_files(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return ``{relative name: sha256}`` of all files below ``folder``, sorted by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    wanted = [name for name in names if name not in leave_out]
    with ThreadPoolExecutor(READERS) as pool:  # hashing lets other threads run
        digests = pool.map(digest_file, [names[name] for name in wanted])
        return dict(zip(wanted, digests, strict=True))


def digest_json(value: Any) -> str:
    """Return the sha256 of a json-able value in canonical form, as hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented json, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read json that this project wrote.

    Raises:
        ArtifactError: the file is missing or is not json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run the stage that writes it") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: is not json ({error}); run its stage again") from None
