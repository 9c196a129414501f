"""Vectors on disk, found again by what was encoded and by whom.

One folder an encoder, one file a chunk of at most 256 contents::

    <root>/sbert_all-MiniLM-L6-v2_0c1d2e3f.../chunk-5b6a....npy    records (key, reason, vector)

A file appears whole or not at all (written under a name of its own, then renamed), and nothing is
ever changed, so any number of processes may read and write one store. What cannot be read is
remembered with its reason, and not tried again: the same bytes would fail again. Only what went
wrong with the machine (no memory, no such disk) is tried anew in the next run.

The same contents give the same bytes, whether encoded in one go or killed and resumed. A vector's
last bits depend on what it shares a batch with; so the contents that are missing are put in one
fixed order and cut in chunks, each encoded on its own. A killed run has written the first chunks;
what is then missing is cut at the same places.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import MISSING, Encoded, Encoder
from recsys.content.file_encoder import FileEncoder
from recsys.content.keys import Content, key_of
from recsys.errors import ArtifactError, DataError
from recsys.progress import track

__all__ = ["CHUNK", "Precision", "StoreReport", "StoreResult", "VectorStore"]

CHUNK = 256  # contents a file: a kill loses at most this much work
FORMAT = 2  # of the files; another one lies in folders of its own
REASON = 64  # bytes of a reason that are kept
WORTH_WORKERS = 128  # files to decode for which starting processes pays
MOST_WORKERS = 8

Precision = Literal["float32", "float16"]
Keys = NDArray[np.bytes_]  # sha256 as 64 hex digits


class StoreReport(NamedTuple):
    """What became of the contents: ``hits + misses + absent`` is their number."""

    hits: int  # found in the store
    misses: int  # encoded now
    absent: int  # nothing to encode, or not readable
    seconds: float


class StoreResult(NamedTuple):
    """Vectors in the order of the contents, and how they were come by."""

    encoded: Encoded
    report: StoreReport


class VectorStore:
    """Keeps what encoders made, by sha256 of the content and name of the encoder."""

    def __init__(self, root: Path) -> None:
        """Open the store in a folder, which need not exist."""
        self.root = root

    @property
    def learnt(self) -> Path:
        """The folder of what encoders learnt on a catalogue."""
        return self.root / "learnt"

    def encode(
        self,
        encoder: Encoder[Any],
        contents: Sequence[Content],
        *,
        precision: Precision = "float32",
        workers: int | None = None,
        progress: str | None = None,
        out: Path | None = None,
    ) -> StoreResult:
        """Return the vectors ``(n, dim)`` of all contents, encoding only what the store lacks.

        Args:
            encoder: is not asked for anything but its name when nothing is missing.
            contents: texts, or paths of files whose bytes count, not their names; None, blank
                text and files that cannot be read are absent.
            precision: of the vectors in the store; those returned are float32.
            workers: processes that decode files beside the model; None: one a core, none for few.
            progress: what a bar shows while encoding; None shows none.
            out: a ``.npy`` to write the vectors to and map them from; None keeps them in memory.

        Raises:
            DataError: the encoder made NaN or infinity, or what float16 cannot hold.
            ArtifactError: a file of the store is damaged.
        """
        started = time.perf_counter()
        folder = self.root / _folder_name(encoder.name, precision)
        keys, sizes, reasons = _keys(contents)
        readable = np.flatnonzero(keys != b"")
        wanted, firsts, inverse = np.unique(keys[readable], return_index=True, return_inverse=True)
        places = _find(folder, wanted)
        lacking = np.flatnonzero(places.file < 0)
        if len(lacking):
            rows = readable[firsts[lacking]]
            work = _Work(wanted[lacking], sizes[rows], [contents[row] for row in rows])
            failed = _Writer(folder, encoder, precision, workers).encode(work, progress)
            places = _find(folder, wanted)  # what later runs will read, to the last bit
            reasons |= {
                int(row): failed[key]
                for row, key in zip(readable, keys[readable], strict=True)
                if key in failed
            }
        dim = places.dim or encoder.dim
        vectors = _zeros((len(keys), dim), out)
        present = np.zeros(len(keys), dtype=np.bool_)
        for rows, found in _read(places, readable, inverse):
            good = found["reason"] == b""
            present[rows[good]] = True
            vectors[rows[good]] = found["vector"][good]
            reasons |= {
                int(row): why.decode()
                for row, why in zip(rows[~good], found["reason"][~good], strict=True)
            }
        misses = int((present[readable] & np.isin(inverse, lacking)).sum())
        n_present = int(present.sum())
        seconds = time.perf_counter() - started
        report = StoreReport(n_present - misses, misses, len(keys) - n_present, seconds)
        return StoreResult(Encoded(vectors, present, reasons), report)


def _keys(contents: Sequence[Content]) -> tuple[Keys, NDArray[np.int64], dict[int, str]]:
    """Key ``(n,)`` and size ``(n,)`` of each content, and the reasons of those without a key."""
    keys = np.zeros(len(contents), dtype="S64")
    sizes = np.zeros(len(contents), dtype=np.int64)
    reasons: dict[int, str] = {}
    for row, content in enumerate(contents):
        found = key_of(content)
        keys[row], sizes[row] = found.digest, found.size
        if not found.digest:
            reasons[row] = found.reason
    return keys, sizes, reasons


def _folder_name(encoder: str, precision: Precision) -> str:
    """A name that any file system takes, distinct for distinct encoders."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", encoder)[:80]
    key = f"{encoder} {precision} {FORMAT}"
    return f"{readable}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


class _Work(NamedTuple):
    """What is to be encoded."""

    keys: Keys  # (m,)
    sizes: NDArray[np.int64]  # (m,)
    contents: Sequence[Content]  # m of them


class _Writer(NamedTuple):
    """Encodes what a folder lacks, chunk by chunk."""

    folder: Path
    encoder: Encoder[Any]
    precision: Precision
    workers: int | None

    def encode(self, work: "_Work", progress: str | None) -> dict[bytes, str]:
        """Encode and write contents ``(m,)`` in the order of size and key.

        Alike sizes share a chunk, so little is padded.

        Returns:
            The reasons, by key, of what could not be read now but may be another time; they are
            not kept.
        """
        failed: dict[bytes, str] = {}
        order = np.lexsort((work.keys, work.sizes))
        chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
        encoded = self._encoded([work.contents[i] for i in chunk] for chunk in chunks)
        pairs = zip(chunks, encoded, strict=True)
        for chunk, made in track(pairs, progress, len(chunks)) if progress else pairs:
            if len(made.vectors) != len(chunk) or not np.isfinite(made.vectors).all():
                raise DataError(
                    f"{self.encoder.name}: made vectors of shape {made.vectors.shape} for "
                    f"{len(chunk)} contents, or NaN or infinity; expected one finite vector each"
                )
            failed |= {work.keys[chunk[row]]: made.reasons[row] for row in made.passing}
            lasting = np.array([row not in made.passing for row in range(len(chunk))])
            if lasting.any():
                self._write(work.keys[chunk], made, np.flatnonzero(lasting))
        return failed

    def _encoded(self, chunks: Iterator[list[Content]] | Any) -> Iterator[Encoded]:
        """Encode chunks; files are decoded ahead, beside the model."""
        if not isinstance(self.encoder, FileEncoder):
            return (self.encoder.encode(chunk) for chunk in chunks)
        listed = list(chunks)
        few = sum(map(len, listed)) < WORTH_WORKERS
        auto = 0 if few else min(os.cpu_count() or 1, MOST_WORKERS)
        return self.encoder.stream(listed, auto if self.workers is None else self.workers)

    def _write(self, keys: Keys, made: Encoded, rows: NDArray[np.intp]) -> None:
        """Write some rows of a chunk: records in order of keys."""
        record = _record(made.vectors.shape[1], self.precision)
        records = np.zeros(len(rows), dtype=record)
        order = rows[np.argsort(keys[rows])]
        records["key"] = keys[order]
        with np.errstate(over="ignore"):
            records["vector"] = made.vectors[order]
        if not np.isfinite(records["vector"]).all():
            raise DataError(
                f"{self.encoder.name}: makes numbers beyond 65,504, the most that float16 holds; "
                'use precision = "float32"'
            )
        for place, row in enumerate(order):
            if not made.present[row]:
                why = made.reasons.get(int(row), MISSING) or MISSING
                records["reason"][place] = why.encode()[:REASON].decode(errors="ignore").encode()
        digest = hashlib.sha256(records["key"].tobytes()).hexdigest()[:32]
        self.folder.mkdir(parents=True, exist_ok=True)
        # Another process may be writing this very chunk: each has a partial file of its own.
        partial = self.folder / f".chunk-{digest}.{os.getpid()}.partial"
        with partial.open("wb") as file:
            np.save(file, records, allow_pickle=False)
        partial.replace(self.folder / f"chunk-{digest}.npy")


class _Places(NamedTuple):
    """Where keys ``(w,)`` are."""

    paths: list[Path]
    dim: int  # 0 where nothing was found
    file: NDArray[np.int32]  # (w,) in ``paths``, -1 where in none
    record: NDArray[np.int32]  # (w,) in the file


def _find(folder: Path, wanted: Keys) -> _Places:
    """Look for sorted keys ``(w,)``.

    Of a key in several files (two processes encoded it at once) the last by file name counts.
    """
    places = _Places(
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


def _read(
    places: _Places, rows: NDArray[np.intp], inverse: NDArray[np.intp]
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


def _zeros(shape: tuple[int, int], out: Path | None) -> NDArray[np.float32]:
    """Zeros in memory, or in a ``.npy`` that is mapped."""
    if out is None or not all(shape):
        return np.zeros(shape, dtype=np.float32)
    mapped: NDArray[np.float32] = np.lib.format.open_memmap(
        out, mode="w+", dtype=np.float32, shape=shape
    )
    return mapped
