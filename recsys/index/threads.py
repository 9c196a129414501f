"""Either BLAS starts threads or we do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["workers_for_blas"]


@contextmanager
def workers_for_blas() -> Iterator[int]:
    """Let BLAS take one thread for each call, and say how many callers there may be instead.

    Threads of BLAS and of ours would fight for the processors. The limit holds for the whole
    process, so of several who ask at once the first one sets it and the last one takes it back.

    Yields:
        How many threads BLAS was allowed, such as by ``OPENBLAS_NUM_THREADS``; at least 1.
    """
    _shared.enter()
    try:
        yield _shared.allowed
    finally:
        _shared.leave()


class _Shared:
    """The limit, and how many hold it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self.allowed = 1

    def enter(self) -> None:
        with self._lock:
            if not self._holders:
                self._limit = _blas().limit(limits=1)
                self.allowed = max(1, self._limit.get_original_num_threads()["blas"] or 1)
            self._holders += 1

    def leave(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._limit.restore_original_limits()


_shared = _Shared()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
