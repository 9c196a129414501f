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

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.content.chunks import Keys, Precision, find, folder_name, read, write
from recsys.content.encoder import Encoded, Encoder
from recsys.content.file_encoder import FileEncoder
from recsys.content.keys import Content, key_of
from recsys.errors import DataError
from recsys.progress import track

__all__ = ["CHUNK", "Precision", "Spread", "StoreReport", "StoreResult", "VectorStore"]

CHUNK = 256  # contents a file: a kill loses at most this much work
WORTH_WORKERS = 128  # files to decode for which starting processes pays
MOST_WORKERS = 8

# Chunks, as the rows ``(c,)`` of their contents -> what `VectorStore.encode_chunk` gives for each,
# in any order.
Spread = Callable[[Sequence[NDArray[np.intp]]], Iterable[dict[str, str]]]


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
        spread: Spread | None = None,
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
            spread: has chunks encoded elsewhere, each by `encode_chunk` on the same store.

        Raises:
            DataError: the encoder made NaN or infinity, or what float16 cannot hold.
            ArtifactError: a file of the store is damaged.
        """
        started = time.perf_counter()
        folder = self.root / folder_name(encoder.name, precision)
        keys, sizes, reasons = _keys(contents)
        readable = np.flatnonzero(keys != b"")
        wanted, firsts, inverse = np.unique(keys[readable], return_index=True, return_inverse=True)
        places = find(folder, wanted)
        lacking = np.flatnonzero(places.file < 0)
        if len(lacking):
            rows = readable[firsts[lacking]]
            work = _Work(wanted[lacking], sizes[rows], rows, [contents[row] for row in rows])
            failed = _Writer(folder, encoder, precision, workers, spread).encode(work, progress)
            places = find(folder, wanted)  # what later runs will read, to the last bit
            reasons |= {
                int(row): failed[key]
                for row, key in zip(readable, keys[readable], strict=True)
                if key in failed
            }
        dim = places.dim or encoder.dim
        vectors = _zeros((len(keys), dim), out)
        present = np.zeros(len(keys), dtype=np.bool_)
        for rows, found in read(places, readable, inverse):
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

    def encode_chunk(
        self, encoder: Encoder[Any], contents: Sequence[Content], precision: Precision = "float32"
    ) -> dict[str, str]:
        """Encode and write one chunk as `encode` asks for it, and return what it wants to know.

        Args:
            encoder: of the same name.
            contents: of one chunk, in its order.
            precision: of the vectors in the store.
        """
        keys, _, _ = _keys(contents)
        folder = self.root / folder_name(encoder.name, precision)
        writer = _Writer(folder, encoder, precision, workers=0)
        (made,) = writer._encoded([list(contents)])
        return {key.decode(): why for key, why in writer.keep(keys, made).items()}


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


class _Work(NamedTuple):
    """What is to be encoded."""

    keys: Keys  # (m,)
    sizes: NDArray[np.int64]  # (m,)
    rows: NDArray[np.intp]  # (m,) where each content first stands in what was asked for
    contents: Sequence[Content]  # m of them


class _Writer(NamedTuple):
    """Encodes what a folder lacks, chunk by chunk."""

    folder: Path
    encoder: Encoder[Any]
    precision: Precision
    workers: int | None
    spread: Spread | None = None

    def encode(self, work: "_Work", progress: str | None) -> dict[bytes, str]:
        """Encode and write contents ``(m,)`` in the order of size and key.

        Alike sizes share a chunk, so little is padded.

        Returns:
            The reasons, by key, of what could not be read now but may be another time; they are
            not kept.
        """
        order = np.lexsort((work.keys, work.sizes))
        chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
        if self.spread is not None:
            parts = self.spread([work.rows[chunk] for chunk in chunks])
            tracked = track(parts, progress, len(chunks)) if progress else parts
            return {key.encode(): why for part in tracked for key, why in part.items()}
        failed: dict[bytes, str] = {}
        encoded = self._encoded([work.contents[i] for i in chunk] for chunk in chunks)
        pairs = zip(chunks, encoded, strict=True)
        for chunk, made in track(pairs, progress, len(chunks)) if progress else pairs:
            failed |= self.keep(work.keys[chunk], made)
        return failed

    def keep(self, keys: Keys, made: Encoded) -> dict[bytes, str]:
        """Write a chunk with keys ``(c,)``, and return the reasons that are not kept, by key."""
        if len(made.vectors) != len(keys) or not np.isfinite(made.vectors).all():
            raise DataError(
                f"{self.encoder.name}: made vectors of shape {made.vectors.shape} for "
                f"{len(keys)} contents, or NaN or infinity; expected one finite vector each"
            )
        lasting = np.array([row not in made.passing for row in range(len(keys))])
        if lasting.any():
            rows = np.flatnonzero(lasting)
            write(self.folder, self.encoder.name, self.precision, keys, made, rows)
        return {keys[row]: made.reasons[row] for row in made.passing}

    def _encoded(self, chunks: Iterable[Sequence[Any]]) -> Iterator[Encoded]:
        """Encode chunks; files are decoded ahead, beside the model."""
        if not isinstance(self.encoder, FileEncoder):
            return (self.encoder.encode(chunk) for chunk in chunks)
        listed = list(chunks)
        few = sum(map(len, listed)) < WORTH_WORKERS
        auto = 0 if few else min(os.cpu_count() or 1, MOST_WORKERS)
        return self.encoder.stream(listed, auto if self.workers is None else self.workers)


def _zeros(shape: tuple[int, int], out: Path | None) -> NDArray[np.float32]:
    """Zeros in memory, or in a ``.npy`` that is mapped."""
    if out is None or not all(shape):
        return np.zeros(shape, dtype=np.float32)
    mapped: NDArray[np.float32] = np.lib.format.open_memmap(
        out, mode="w+", dtype=np.float32, shape=shape
    )
    return mapped
