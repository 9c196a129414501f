"""Rows in files by a number, for an order that memory does not hold; and work in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.files import remove_folder

__all__ = ["Pieces", "in_order", "order_of"]

THREADS = 2  # more would hold more blocks at a time

Given = TypeVar("Given")
Made = TypeVar("Made")


class Pieces:
    """A folder of records by a number, each in the order in which they were added."""

    def __init__(self, folder: Path, kind: "np.dtype[Any]") -> None:
        """Begin with nothing."""
        self.folder, self.kind = folder, kind
        folder.mkdir(parents=True)

    def add(self, numbers: NDArray[Any], records: NDArray[Any]) -> None:
        """Put records ``(n,)`` behind those of their numbers ``(n,)``, at least 0."""
        if not len(numbers):  # a block of which nothing can be read
            return
        order = np.argsort(numbers, kind="stable")
        numbers, records = numbers[order], records.take(order)  # several times as fast as [order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            with self._path(int(numbers[start])).open("ab") as file:
                records[start:stop].tofile(file)

    def put(self, number: int, records: NDArray[Any]) -> None:
        """Let records take the place of those of a number."""
        records.tofile(self._path(number))

    def get(self, number: int) -> NDArray[Any]:
        """The records of a number, ``(n,)``."""
        path = self._path(number)
        return np.fromfile(path, self.kind) if path.exists() else np.empty(0, self.kind)

    def remove(self) -> None:
        """Remove the folder."""
        remove_folder(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / str(number)


def in_order(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Work on items in threads; yield what comes of them in their order. Few are held at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def order_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The stable order of integers ``(n,)``: where few are equal several times as fast as numpy's.

    numpy's unstable sort is vectorised; equal keys are then put right.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    if same.any():
        runs = np.concatenate([[0], np.cumsum(~same)])
        several = np.flatnonzero(np.append(same, False) | np.append(False, same))
        inside = order[several]
        order[several] = inside[np.lexsort((inside, runs[several]))]
    return order
