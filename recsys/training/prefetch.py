"""Batches drawn ahead by another process, while this one computes."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ParamSpec

import torch
from torch.utils.data import DataLoader, IterableDataset

from recsys.training.batches import Batch

__all__ = ["ahead"]

P = ParamSpec("P")


def ahead(
    draw: Callable[P, Iterable[Batch]], n: int, *args: P.args, **kwargs: P.kwargs
) -> Iterator[Batch]:
    """Yield what ``draw`` yields, the same batches in the same order.

    Args:
        draw: a generator function of the top level.
        n: how many batches another process keeps ready; 0: there is none.
        args: of ``draw``.
        kwargs: of ``draw``.
    """
    if n == 0:
        yield from draw(*args, **kwargs)
        return
    drawn: IterableDataset[Batch] = _Drawn(partial(draw, *args, **kwargs))
    yield from DataLoader(
        drawn,
        batch_size=None,
        num_workers=1,
        prefetch_factor=n,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it would draw from the one that dropout draws from
    )


class _Drawn(IterableDataset[Batch]):
    """Draws in the process in which it is iterated."""

    def __init__(self, draw: Callable[[], Iterable[Batch]]) -> None:
        self.draw = draw

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.draw())


def _as_it_is(batch: Any) -> Any:
    """Numbers stay in numpy: the objective brings them to the device."""
    return batch
