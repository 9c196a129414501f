"""Long arrays block by block: what is read of a mapped file is given back at once.

An array on disk (`recsys.data.mapped`) is in memory where it was read. Who reads all of it lets go
of each block, so that counting 100 million rows takes no more memory than counting one block.
"""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["count", "in_blocks", "let_go"]

BLOCK = 1 << 22  # elements


def in_blocks(array: NDArray[Any], *, overlap: int = 0) -> Iterator[NDArray[Any]]:
    """Yield views of an array ``(n,)``, each with the last ``overlap`` elements of the one before.

    What a view shows is not to be used after the next one was asked for, only what came of it.
    """
    for start in range(0, len(array), BLOCK):
        block = array[max(start - overlap, 0) : start + BLOCK]
        yield block
        let_go(block)


def count(numbers: NDArray[np.integer[Any]], n: int) -> NDArray[np.int64]:
    """How often each of 0..n-1 is among numbers ``(m,)``, shape ``(n,)``."""
    total = np.zeros(n, dtype=np.int64)
    for block in in_blocks(numbers):
        total += np.bincount(block, minlength=n)
    return total


def let_go(block: NDArray[Any]) -> None:
    """Take the pages of a mapped file out of the process's memory; they stay in the system's.

    What is looked at again is there again: only who counts the memory sees it.
    """
    mapped: Any = block
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if not isinstance(mapped, mmap.mmap) or not hasattr(mapped, "madvise") or block.strides[0] == 0:
        return
    begin = np.frombuffer(mapped, dtype=np.uint8, count=1).ctypes.data
    start = (block.ctypes.data - begin) // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, start, block.ctypes.data - begin + block.nbytes - start)
