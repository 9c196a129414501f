"""Interactions as arrays on disk, which are looked at rather than loaded."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.errors import ArtifactError, DataError

__all__ = ["LOG_KINDS", "ArrayWriter", "LogWriter", "load_array", "load_log", "log_writer"]

LOG_KINDS: dict[str, Any] = {
    "users": np.int32,
    "items": np.int32,
    "times": np.int64,
    "weights": np.float32,
    "rows": np.int64,
}


class ArrayWriter:
    """An .npy file ``(n,)`` that grows; ``n`` is known at the end."""

    def __init__(self, file: IO[bytes], kind: Any) -> None:
        """Begin with nothing."""
        self._file, self._kind, self.n = file, np.dtype(kind), 0
        self._write_head()

    def _write_head(self) -> None:
        """The head leaves room for an ``n`` of any length (numpy.lib.format)."""
        head = {"descr": self._kind.str, "fortran_order": False, "shape": (self.n,)}
        np.lib.format.write_array_header_1_0(self._file, head)

    def add(self, values: NDArray[Any]) -> None:
        """Put values ``(m,)`` behind those that are there."""
        values.astype(self._kind, copy=False).tofile(self._file)
        self.n += len(values)

    def close(self) -> None:
        """Say how many there are."""
        self._file.seek(0)
        self._write_head()
        self._file.close()


class LogWriter:
    """Interactions in a folder, one file a column; weights that are all 1 are left out."""

    def __init__(self, columns: Mapping[str, ArrayWriter]) -> None:
        """Take a writer for each column."""
        self._columns = columns

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Put rows behind those that are there."""
        for name, writer in self._columns.items():
            writer.add(columns[name])

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self._columns["users"].n


@contextmanager
def log_writer(folder: Path, *, weighed: bool) -> Iterator[LogWriter]:
    """Open a folder for interactions."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        columns = {}
        for name, kind in LOG_KINDS.items():
            if name != "weights" or weighed:
                file = stack.enter_context((folder / f"{name}.npy").open("w+b"))
                columns[name] = ArrayWriter(file, kind)
        yield LogWriter(columns)
        for writer in columns.values():
            writer.close()


def load_array(path: Path, kind: Any, n: int) -> NDArray[Any]:
    """Map an array of ``n`` values.

    Raises:
        ArtifactError: the file is missing, damaged, or of another array.
    """
    try:
        # an empty file cannot be mapped; a plain view of the map is faster to index than a memmap
        array = np.asarray(np.load(path, mmap_mode="r" if n else None, allow_pickle=False))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run the stage that writes it") from None
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: is damaged ({reason}); run its stage again") from None
    if array.dtype != np.dtype(kind) or array.shape != (n,):
        raise ArtifactError(
            f"{path}: holds {array.dtype} {array.shape}, expected {np.dtype(kind)} ({n},); run its "
            "stage again"
        )
    return array


def load_log(folder: Path, n: int, n_users: int, n_items: int) -> Interactions:
    """Map the interactions of a folder.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not fit together.
    """
    columns: dict[str, NDArray[Any]] = {
        name: load_array(folder / f"{name}.npy", kind, n)
        for name, kind in LOG_KINDS.items()
        if name != "weights" or (folder / "weights.npy").exists()
    }
    columns.setdefault("weights", np.broadcast_to(np.float32(1), n))
    try:
        return Interactions(**columns, n_users=n_users, n_items=n_items)
    except DataError as error:
        raise ArtifactError(f"{folder}: is damaged ({error}); run its stage again") from None
