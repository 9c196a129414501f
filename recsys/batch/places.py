"""Where part files go: a folder, or any store that fsspec knows."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recsys.errors import ConfigError
from recsys.files import sync

__all__ = ["Folder", "Place", "Store", "open_place"]

PARTS = "part-*"


class Place(Protocol):
    """Holds files that are whole or absent."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of one of the same name; when this returns it is kept."""
        ...

    def sizes(self) -> dict[str, int]:
        """The bytes of every part file by name."""
        ...

    def open(self, name: str) -> Any:
        """Open a file for reading bytes."""
        ...

    def sweep(self) -> None:
        """Remove what killed writers left unfinished."""
        ...

    def clear(self) -> None:
        """Remove all part files."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder on this machine, or one that several machines see."""

    path: Path

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.path)

    def write(self, name: str, content: bytes) -> None:
        """Write beside, wait for the disk, rename; others may write the same part at once."""
        partial = self.path / f".{name}.{os.uname().nodename}.{os.getpid()}.partial"
        partial.write_bytes(content)
        sync(partial)
        partial.replace(self.path / name)
        sync(self.path)

    def sizes(self) -> dict[str, int]:
        """The bytes of every part file by name."""
        return {path.name: path.stat().st_size for path in self.path.glob(PARTS)}

    def open(self, name: str) -> Any:
        """Open a file for reading bytes."""
        return (self.path / name).open("rb")

    def sweep(self) -> None:
        """Remove what killed writers left unfinished."""
        for path in self.path.glob(f".{PARTS}.partial"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all part files."""
        self.sweep()
        for path in self.path.glob(PARTS):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """A folder of a file system of fsspec, where a file appears when its writer closes it."""

    files: Any  # fsspec's AbstractFileSystem
    root: str

    @property
    def name(self) -> str:
        """For messages."""
        return self.root

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one go."""
        self.files.pipe_file(f"{self.root}/{name}", content)

    def sizes(self) -> dict[str, int]:
        """The bytes of every part file by name."""
        self.files.invalidate_cache()  # others write here
        found = self.files.glob(f"{self.root}/{PARTS}", detail=True)
        return {name.rpartition("/")[2]: int(about["size"]) for name, about in found.items()}

    def open(self, name: str) -> Any:
        """Open a file for reading bytes."""
        return self.files.open(f"{self.root}/{name}", "rb")

    def sweep(self) -> None:
        """Nothing: a file that was not closed is not there."""

    def clear(self) -> None:
        """Remove all part files."""
        for name in self.sizes():
            self.files.rm_file(f"{self.root}/{name}")


def open_place(where: str | Path) -> Place:
    """Return the place of a path or url (``s3://bucket/folder``, ``memory://folder``).

    Raises:
        ConfigError: the library for such urls is not here, or the url cannot be used.
    """
    if isinstance(where, Path) or "://" not in where:
        return _folder(Path(where))
    try:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        files, root = fsspec.core.url_to_fs(where)
        if isinstance(files, LocalFileSystem):
            return _folder(Path(root))
        files.makedirs(root, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(f"--to {where}: cannot be used ({error})") from None
    return Store(files, root.rstrip("/"))


def _folder(path: Path) -> Place:
    path.mkdir(parents=True, exist_ok=True)
    return Folder(path)
