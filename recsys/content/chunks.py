"""The files of a vector store: chunks of records, written once and never changed."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import MISSING, Encoded
from recsys.errors import ArtifactError, DataError

__all__ = ["Keys", "Places", "Precision", "find", "folder_name", "read", "write"]

FORMAT = 2  # of the files; another one lies in folders of its own
REASON = 64  # bytes of a reason that are kept

Precision = Literal["float32", "float16"]
Keys = NDArray[np.bytes_]  # sha256 as 64 hex digits


def folder_name(encoder: str, precision: Precision) -> str:
    """A name that any file system takes, distinct for distinct encoders."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", encoder)[:80]
    key = f"{encoder} {precision} {FORMAT}"
    return f"{readable}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def write(
    folder: Path,
    encoder: str,
    precision: Precision,
    keys: Keys,
    made: Encoded,
    rows: NDArray[np.intp],
) -> None:
    """Write some rows of a chunk with keys ``(c,)``: records in order of keys.

    Raises:
        DataError: float16 cannot hold what the encoder made.
    """
    record = _record(made.vectors.shape[1], precision)
    records = np.zeros(len(rows), dtype=record)
    order = rows[np.argsort(keys[rows])]
    records["key"] = keys[order]
    with np.errstate(over="ignore"):
        records["vector"] = made.vectors[order]
    if not np.isfinite(records["vector"]).all():
        raise DataError(
            f"{encoder}: makes numbers beyond 65,504, the most that float16 holds; "
            'use precision = "float32"'
        )
    for place, row in enumerate(order):
        if not made.present[row]:
            why = made.reasons.get(int(row), MISSING) or MISSING
            records["reason"][place] = why.encode()[:REASON].decode(errors="ignore").encode()
    digest = hashlib.sha256(records["key"].tobytes()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    # Another process may be writing this very chunk: each has a partial file of its own.
    partial = folder / f".chunk-{digest}.{os.getpid()}.partial"
    with partial.open("wb") as file:
        np.save(file, records, allow_pickle=False)
    partial.replace(folder / f"chunk-{digest}.npy")


class Places(NamedTuple):
    """Where keys ``(w,)`` are."""

    paths: list[Path]
    dim: int  # 0 where nothing was found
    file: NDArray[np.int32]  # (w,) in ``paths``, -1 where in none
    record: NDArray[np.int32]  # (w,) in the file


def find(folder: Path, wanted: Keys) -> Places:
    """Look for sorted keys ``(w,)``.

    Of a key in several files (two processes encoded it at once) the last by file name counts.
    """
    places = Places(
        sorted(folder.glob("chunk-*.npy")),
        0,
        np.full(len(wanted), -1, dtype=np.int32),
        np.zeros(len(wanted), dtype=np.int32),
    )
    dim = 0
    for number, path in enumerate(places.paths if len(wanted) else []):
        records = _load_chunk(path)
        dim = records.dtype["vector"].shape[0]
        near = np.minimum(np.searchsorted(wanted, records["key"]), len(wanted) - 1)
        hits = np.flatnonzero(wanted[near] == records["key"])
        places.file[near[hits]] = number
        places.record[near[hits]] = hits
    return places._replace(dim=dim)


def read(
    places: Places, rows: NDArray[np.intp], inverse: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
    """Yield rows with their records, file by file; key ``inverse[i]`` belongs to ``rows[i]``."""
    files = places.file[inverse]
    order = np.argsort(files, kind="stable")
    bounds = np.searchsorted(files[order], np.arange(len(places.paths) + 1))
    for number, path in enumerate(places.paths):
        mine = order[bounds[number] : bounds[number + 1]]
        if len(mine):
            yield rows[mine], _load_chunk(path)[places.record[inverse[mine]]]


def _load_chunk(path: Path) -> NDArray[Any]:
    """Map one chunk's records into memory."""
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path}: is damaged ({error}); delete it, it is made again") from None
    if records.dtype.names != ("key", "reason", "vector"):
        raise ArtifactError(f"{path}: is no chunk of a vector store; move it away")
    return np.asarray(records)


def _record(dim: int, precision: Precision) -> np.dtype[Any]:
    number = "<f4" if precision == "float32" else "<f2"
    return np.dtype([("key", "S64"), ("reason", f"S{REASON}"), ("vector", number, (dim,))])
