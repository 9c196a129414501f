"""Files that are whole or absent: atomic folders, json, digests.

A killed process must leave nothing half-made, and a file must be recognisable by its content.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from recsys.errors import ArtifactError

__all__ = [
    "atomic_file",
    "atomic_folder",
    "digest_file",
    "digest_files",
    "digest_json",
    "locked",
    "read_json",
    "remove_folder",
    "restore_folder",
    "write_json",
]

BLOCK = 1 << 20  # bytes read at a time while hashing
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: paths as they are; swap them


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes its place when the block ends well.

    An exception leaves the old ``path`` as it was, and so does a kill: the two folders change
    places in one step. Where the system cannot do that, there are two renames, and a kill between
    them leaves nothing at ``path`` until the next call, or `restore_folder`, puts the old one back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(path)
    old = path.with_name(f".{path.name}.old")
    remove_folder(old)
    _remove_leftovers(path)
    # Another process may be writing the same folder: each has a partial one of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        remove_folder(partial)
        raise
    if path.exists() and _exchange(partial, path):
        remove_folder(partial)  # the old one
        return
    if path.exists():
        path.rename(old)
    partial.rename(path)
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
    import fcntl  # here: Windows has none

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
    old = path.with_name(f".{path.name}.old")
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


def digest_file(path: Path) -> str:
    """Return the sha256 of the file's bytes, as hex; a file is not read twice in vain."""
    about = path.stat()
    return _digest_bytes(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _digest_bytes(path: Path, size: int, changed: int) -> str:  # noqa: ARG001  (of the cache's key)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest_files(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return ``{relative name: sha256}`` of all files below ``folder``, sorted by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: digest_file(path) for name, path in names.items() if name not in leave_out}


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
