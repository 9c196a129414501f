"""What all image and sound encoders share: decoding beside the model, broken files, order kept.

A file is decoded to *views*: one of an image, one of each window of a sound. A model maps views to
vectors, and those of one file are pooled. Decoding goes on in worker processes while the model
computes; a file that kills its worker is unreadable like any other, and nothing else is lost.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from loky import ProcessPoolExecutor
from numpy.typing import NDArray

from recsys.content.encoder import MISSING, Encoded, Model, Unreadable, reason_of

__all__ = ["Decode", "FileEncoder", "Views", "decode_all"]

Views = NDArray[Any]  # (v, ...): v views of one shape, at least one
Decode = Callable[[Path], Views]  # raises Unreadable; a function or a small object, not a lambda

AHEAD = 64  # files that are decoded before the model asks for them
PATIENCE = 600.0  # seconds that decoding may take


class Failure(NamedTuple):
    """Why a file has no views."""

    reason: str
    passing: bool  # the same bytes may be readable another time


Decoded = Views | Failure


class FileEncoder:
    """Files through a decoder and a model that is loaded when the first file needs it."""

    def __init__(
        self,
        name: str,
        decode: Decode,
        load: Callable[[], Model],
        *,
        batch: int = 32,
        ahead: int = AHEAD,
        pooling: Literal["mean", "max"] = "mean",
    ) -> None:
        """Prepare an encoder.

        Args:
            name: encoder, weights and preprocessing.
            decode: turns a file into views ``(v, ...)``; is sent to worker processes.
            load: makes the model; its ``forward`` maps views ``(b, ...)`` to ``(b, dim)``.
            batch: views in one call of ``forward``.
            ahead: files that may wait, decoded; less where views are large.
            pooling: of the views of one file.
        """
        self.name = name
        self.decode = decode
        self._load = load
        self._batch = batch
        self._ahead = ahead
        self._pooling = pooling

    @cached_property
    def model(self) -> Model:
        """The loaded model."""
        return self._load()

    @property
    def dim(self) -> int:
        """Width of the vectors; asking for it loads the model."""
        return self.model.dim

    def encode(self, contents: Sequence[Path | None]) -> Encoded:
        """Return vectors ``(n, dim)``, with the reason of each file that has none."""
        if not contents:
            return Encoded(np.zeros((0, self.dim), np.float32), np.zeros(0, np.bool_))
        (encoded,) = self.stream([contents], workers=0)
        return encoded

    def stream(
        self, chunks: Iterable[Sequence[Path | None]], workers: int = 0
    ) -> Iterator[Encoded]:
        """Encode chunk after chunk, while ``workers`` processes decode what comes next.

        Each chunk is in batches of its own: what it yields does not depend on other chunks. Empty
        chunks are left out.
        """
        waiting: deque[int] = deque()

        def files() -> Iterator[Path | None]:
            for chunk in chunks:
                if chunk:
                    waiting.append(len(chunk))
                    yield from chunk

        decoded = decode_all(self.decode, files(), workers, self._ahead)
        while True:
            first = next(decoded, _END)  # makes ``files`` announce the chunk
            if isinstance(first, _End):
                break
            yield self._encode_chunk(waiting.popleft(), first, decoded)

    def _encode_chunk(self, n: int, first: Decoded, others: Iterator[Decoded]) -> Encoded:
        """Encode ``n`` decoded files: ``first`` and the next of ``others``."""
        sums = np.zeros((n, self.dim), dtype=np.float32)
        if self._pooling == "max":
            sums[:] = -np.inf
        counts = np.zeros(n, dtype=np.int64)
        failures: dict[int, Failure] = {}
        batch = _Batch([], [])
        for row in range(n):
            decoded = first if row == 0 else next(others)
            if isinstance(decoded, Failure):
                failures[row] = decoded
                continue
            counts[row] = len(decoded)
            batch.views.extend(decoded)
            batch.rows.extend([row] * len(decoded))
            while len(batch.rows) >= self._batch:
                self._add(sums, batch.take(self._batch))
        if batch.rows:
            self._add(sums, batch)
        present = counts > 0
        sums[~present] = 0.0
        if self._pooling == "mean":
            sums /= np.maximum(counts, 1)[:, None]
        reasons = {row: failure.reason for row, failure in failures.items()}
        passing = frozenset(row for row, failure in failures.items() if failure.passing)
        return Encoded(sums, present, reasons, passing)

    def _add(self, sums: NDArray[np.float32], batch: "_Batch") -> None:
        """Put the vectors of a batch of views to those of their files."""
        vectors = self.model.forward(np.stack(batch.views))
        pool = np.maximum if self._pooling == "max" else np.add
        pool.at(sums, np.array(batch.rows), vectors)


class _Batch(NamedTuple):
    """Views with the row of the file that each is of."""

    views: list[NDArray[Any]]
    rows: list[int]

    def take(self, n: int) -> "_Batch":
        """Remove and return the first ``n``."""
        taken = _Batch(self.views[:n], self.rows[:n])
        del self.views[:n], self.rows[:n]
        return taken


class _End:
    """No further file."""


_END = _End()


def decode_all(
    decode: Decode, files: Iterable[Path | None], workers: int, ahead: int = AHEAD
) -> Iterator[Decoded]:
    """Yield the views of each file in order, or why there are none.

    Args:
        decode: as in `FileEncoder`.
        files: paths; None is missing.
        workers: processes that decode; 0 decodes here, where a file that kills the decoder kills
            the run.
        ahead: files that are decoded before they are asked for.
    """
    if workers == 0:
        for path in files:
            yield _try(decode, path)
        return
    source = iter(files)
    waiting: deque[Future[Decoded]] = deque()
    paths: deque[Path | None] = deque()  # of those, and of one that could not be handed in
    pool = ProcessPoolExecutor(max_workers=workers)
    try:
        while True:
            try:
                for path in islice(source, ahead - len(waiting)):
                    paths.append(path)
                    waiting.append(pool.submit(_try, decode, path))
                if not waiting:
                    return
                decoded = waiting[0].result(PATIENCE)
            except (BrokenProcessPool, TimeoutError):  # one in flight did it: each gets its own
                pool.shutdown(kill_workers=True)
                yield from (_try_alone(decode, path) for path in paths)
                waiting.clear()
                paths.clear()
                pool = ProcessPoolExecutor(max_workers=workers)
            else:
                waiting.popleft()
                paths.popleft()
                yield decoded
    finally:
        pool.shutdown(kill_workers=True)


def _try(decode: Decode, path: Path | None) -> Decoded:
    """Decode a file; what is wrong with its bytes is its reason."""
    if path is None:
        return Failure(MISSING, passing=False)
    try:
        if path.stat().st_size == 0:
            return Failure("empty file", passing=False)
        return decode(path)
    except Unreadable as error:
        return Failure(reason_of(error), passing=False)
    except (OSError, MemoryError) as error:  # of the machine, not of the file
        return Failure(reason_of(error), passing=True)


def _try_alone(decode: Decode, path: Path | None) -> Decoded:
    """Decode a file in a process of its own, which it may kill or keep."""
    pool = ProcessPoolExecutor(max_workers=1)
    decoded: Decoded
    try:
        decoded = pool.submit(_try, decode, path).result(PATIENCE)
    except BrokenProcessPool:
        decoded = Failure("kills the decoder", passing=True)  # or memory ran out
    except TimeoutError:
        decoded = Failure(f"takes more than {PATIENCE:.0f} s to decode", passing=True)
    finally:
        pool.shutdown(kill_workers=True)
    return decoded
