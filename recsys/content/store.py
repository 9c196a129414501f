"""Vectors on disk, found again by what was encoded and by whom.

One folder an encoder, one file a chunk of at most 256 contents::

    <root>/sbert_all-MiniLM-L6-v2_0c1d2e3f.../chunk-5b6a....npy    records (key, vector)

A file appears whole or not at all (written under a name of its own, then renamed), and nothing is
ever changed, so any number of processes may read and write one store.

The same contents give the same bytes, whether encoded in one go or killed and resumed. A vector's
last bits depend on what it shares a batch with; so the contents that are missing are put in one
fixed order and cut in chunks, each encoded on its own. A killed run has written the first chunks;
what is then missing is cut at the same places.
"""

import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Encoded, Encoder
from recsys.errors import ArtifactError, DataError
from recsys.files import digest_file
from recsys.progress import track

__all__ = ["CHUNK", "StoreReport", "StoreResult", "VectorStore"]

CHUNK = 256  # contents a file: a kill loses at most this much work
ABSENT = b""  # the key of nothing

Keys = NDArray[np.bytes_]  # sha256 as 64 hex digits, ABSENT where there is nothing to encode
Content = str | Path | None  # a text, a file, nothing


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

    def encode(
        self, encoder: Encoder[Any], contents: Sequence[Content], *, progress: str | None = None
    ) -> StoreResult:
        """Return the vectors ``(n, dim)`` of all contents, encoding only what the store lacks.

        Args:
            encoder: is not asked for anything but its name when nothing is missing.
            contents: texts, or paths of files whose bytes count, not their names; None, blank
                text and files that cannot be read are absent.
            progress: what a bar shows while encoding; None shows none.

        Raises:
            DataError: the encoder made NaN or infinity.
            ArtifactError: a file of the store is damaged.
        """
        started = time.perf_counter()
        folder = self.root / _folder_name(encoder.name)
        keys = np.array([_key(content) for content in contents], dtype="S64")
        wanted, firsts = np.unique(keys[keys != ABSENT], return_index=True)
        distinct = [contents[i] for i in np.flatnonzero(keys != ABSENT)[firsts]]
        vectors, found = _read(folder, wanted)
        hits = int(np.isin(keys, wanted[found]).sum())
        if not found.all():
            missing = np.flatnonzero(~found)
            _encode_chunks(
                folder, encoder, wanted[missing], [distinct[i] for i in missing], progress
            )
            vectors, found = _read(folder, wanted)  # what later runs will read, to the last bit
        dim = vectors.shape[1] if found.any() else encoder.dim
        present = np.isin(keys, wanted[found])
        result = np.zeros((len(keys), dim), dtype=np.float32)
        if present.any():
            result[present] = vectors[np.searchsorted(wanted, keys[present])]
        n_present = int(present.sum())
        seconds = time.perf_counter() - started
        report = StoreReport(hits, n_present - hits, len(keys) - n_present, seconds)
        return StoreResult(Encoded(result, present), report)


def _key(content: Content) -> bytes:
    """The sha256 of a text or of a file's bytes, as hex."""
    if isinstance(content, Path):
        try:
            return digest_file(content).encode()
        except OSError:
            return ABSENT
    if not isinstance(content, str) or not content.strip():
        return ABSENT
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest().encode()


def _size(content: Content) -> int:
    """Letters of a text, bytes of a file: alike sizes share a chunk, so little is padded."""
    return content.stat().st_size if isinstance(content, Path) else len(content or "")


def _folder_name(encoder: str) -> str:
    """A name that any file system takes, distinct for distinct encoders."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", encoder)[:80]
    return f"{readable}_{hashlib.sha256(encoder.encode()).hexdigest()[:16]}"


def _encode_chunks(
    folder: Path,
    encoder: Encoder[Any],
    keys: Keys,
    contents: Sequence[Content],
    progress: str | None,
) -> None:
    """Encode and write contents ``(m,)`` chunk by chunk, in the order of size and key."""
    sizes = np.array([_size(content) for content in contents])
    order = np.lexsort((keys, sizes))
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    for chunk in track(chunks, progress, len(chunks)) if progress else chunks:
        encoded = encoder.encode([contents[i] for i in chunk])
        if encoded.vectors.shape[0] != len(chunk) or not np.isfinite(encoded.vectors).all():
            raise DataError(
                f"{encoder.name}: made vectors of shape {encoded.vectors.shape} for {len(chunk)} "
                "contents, or NaN or infinity; expected one finite vector each"
            )
        if encoded.present.any():  # what could not be read is tried again another time
            _write(folder, keys[chunk[encoded.present]], encoded.vectors[encoded.present])


def _write(folder: Path, keys: Keys, vectors: NDArray[np.float32]) -> None:
    """Write one chunk: records of a key and its vector, in order of keys."""
    record = np.dtype([("key", "S64"), ("vector", "<f4", (vectors.shape[1],))])
    records = np.empty(len(keys), dtype=record)
    order = np.argsort(keys)
    records["key"], records["vector"] = keys[order], vectors[order]
    digest = hashlib.sha256(records["key"].tobytes()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    # Another process may be writing this very chunk: each has a partial file of its own.
    partial = folder / f".chunk-{digest}.{os.getpid()}.partial"
    with partial.open("wb") as file:
        np.save(file, records, allow_pickle=False)
    partial.replace(folder / f"chunk-{digest}.npy")


def _read(folder: Path, wanted: Keys) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the vectors ``(w, dim)`` of sorted keys, and which were found ``(w,)``.

    Of a key in several files (two processes encoded it at once) the last by file name counts.
    """
    found = np.zeros(len(wanted), dtype=np.bool_)
    vectors = np.zeros((len(wanted), 0), dtype=np.float32)
    if not len(wanted):
        return vectors, found
    for path in sorted(folder.glob("chunk-*.npy")):
        records = _load_chunk(path)
        if not found.any():
            vectors = np.zeros((len(wanted), records["vector"].shape[1]), dtype=np.float32)
        places = np.minimum(np.searchsorted(wanted, records["key"]), len(wanted) - 1)
        hits = wanted[places] == records["key"]
        vectors[places[hits]] = records["vector"][hits]
        found[places[hits]] = True
    return vectors, found


def _load_chunk(path: Path) -> NDArray[Any]:
    """Map one chunk's records into memory."""
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path}: is damaged ({error}); delete it, it is made again") from None
    if records.dtype.names != ("key", "vector"):
        raise ArtifactError(f"{path}: is no chunk of a vector store; move it away")
    return np.asarray(records)
