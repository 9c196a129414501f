"""Several processes that train one model: who is who, and the few things they tell each other.

The scheme is that of DistributedDataParallel (Li et al., PVLDB 13, 2020): every process holds all
weights, reads some of a step's users, and gradients are summed before anybody makes the step. They
are summed and not averaged, and here and not in that class, because the loss of a step is one sum
over the positions of all processes, divided by what they weigh together, and because the gradients
of id tables may be sparse. So N processes learn what one would from the same steps.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from recsys.errors import ConfigError

__all__ = ["Workers", "open_workers"]

PATIENCE = timedelta(hours=2)  # what the others wait for the first to score or to save

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The processes of a training; without any others, nothing is sent.

    Attributes:
        rank: which of them this is; the first, 0, logs, scores and saves.
        size: how many there are.
        local_rank: which of those on this machine this is: the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Self:
        """As ``torchrun`` says; alone without it.

        Raises:
            ConfigError: a variable of torchrun is missing or is no number.
        """
        if "WORLD_SIZE" not in os.environ:
            return cls()
        try:
            names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
            return cls(*(int(os.environ[name]) for name in names))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"WORLD_SIZE is set, but {error} of torchrun is not a number; start with torchrun, "
                "or unset WORLD_SIZE"
            ) from None

    @property
    def are_several(self) -> bool:
        """Whether there is anybody else."""
        return self.size > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that logs, scores and saves."""
        return self.rank == 0

    def agree(self, decide: Callable[[], T]) -> T:
        """What the first decides, on all of them; json-like values only."""
        if not self.are_several:
            return decide()
        told: list[Any] = [decide() if self.is_first else None]
        dist.broadcast_object_list(told, src=0)
        answer: T = told[0]
        return answer

    def collect(self, value: T) -> list[T]:
        """The value of each, in the order of ranks, on all of them."""
        if not self.are_several:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def start_alike(self, weights: Sequence[Tensor]) -> None:
        """Give all of them the first one's weights, in place."""
        if self.are_several:
            for weight in weights:
                dist.broadcast(weight.detach(), src=0)

    def sum(self, value: Tensor) -> Tensor:
        """Add up a tensor of one shape over all of them, in place; no gradient passes."""
        if self.are_several:
            dist.all_reduce(value)
        return value

    def gather(self, values: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Put values ``(n_r, ...)`` of all of them, in the order of ranks, below one another.

        No gradient passes.

        Args:
            values: of this one.
            counts: ``n_r`` of each, which may differ; None: they are asked first.
        """
        if not self.are_several:
            return values
        if counts is None:
            mine = torch.tensor([len(values)], device=values.device)
            told = [torch.zeros_like(mine) for _ in range(self.size)]
            dist.all_gather(told, mine)
            counts = torch.cat(told).tolist()
        padded = values.new_zeros(max(counts), *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])

    def gather_shares(self, values: Tensor, n: int) -> Tensor:
        """Put together the shares of ``n`` rows, with gradient.

        A row's gradient is the sum of what all of them find for it, and goes to whom it is from.

        Args:
            values: this one's rows ``share(n)``.
            n: rows of all.
        """
        if not self.are_several:
            return values
        gathered: Tensor = _Gather.apply(values, self, n)
        return gathered

    def share(self, n: int, rank: int | None = None) -> slice:
        """Which of ``n`` rows this one (or another) works on; together all of them, once each."""
        rank = self.rank if rank is None else rank
        return slice(n * rank // self.size, n * (rank + 1) // self.size)

    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """Add up the gradients over all of them: in one message, sparse ones each in its own.

        A weight without a gradient here, but with one elsewhere, gets it.
        """
        if not self.are_several:
            return
        learning = [weight for weight in weights if weight.requires_grad]
        sparse = self._which_are_sparse(learning)
        dense = [w for w, is_sparse in zip(learning, sparse, strict=True) if not is_sparse]
        for weight in dense:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        if dense:
            flat = torch.cat([weight.grad.flatten() for weight in dense if weight.grad is not None])
            dist.all_reduce(flat)
            sizes = [weight.numel() for weight in dense]
            for weight, part in zip(dense, torch.split(flat, sizes), strict=True):
                weight.grad = part.view_as(weight)
        for weight, is_sparse in zip(learning, sparse, strict=True):
            if is_sparse:
                weight.grad = self._sum_of_rows(weight)

    def _which_are_sparse(self, weights: Sequence[Tensor]) -> list[bool]:
        """Whose gradients are sparse on some process."""
        mine = [w.grad is not None and w.grad.is_sparse for w in weights]
        told = torch.tensor(mine, dtype=torch.int32, device=weights[0].device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return [bool(flag) for flag in told.tolist()]

    def _sum_of_rows(self, weight: Tensor) -> Tensor:
        """The rows of a sparse gradient of all of them; equal ones are not added up yet."""
        if weight.grad is None:
            rows = torch.zeros(0, dtype=torch.int64, device=weight.device)
            values = weight.new_zeros(0, *weight.shape[1:])
        else:
            rows, values = weight.grad._indices()[0], weight.grad._values()
        rows, values = self.gather(rows), self.gather(values)
        return torch.sparse_coo_tensor(rows[None], values, weight.shape, check_invariants=False)


class _Gather(torch.autograd.Function):
    """See `Workers.gather_shares`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, workers: Workers, n: int) -> Tensor:
        ctx.workers, ctx.n = workers, n
        shares = [workers.share(n, rank) for rank in range(workers.size)]
        return workers.gather(values.detach(), [share.stop - share.start for share in shares])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = ctx.workers.sum(gradients[0].contiguous().clone())
        return total[ctx.workers.share(ctx.n)], None, None


@contextmanager
def open_workers(device: str = "auto") -> Iterator[Workers]:
    """Join the processes that ``torchrun`` started: by nccl on GPUs, one each, by gloo on CPUs.

    Args:
        device: of the training, as in ``training.device``.

    Raises:
        ConfigError: not each of them can have a GPU.
    """
    workers = Workers.from_environment()
    if not workers.are_several:
        yield workers
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        _check_gpus(device, workers)
        torch.cuda.set_device(workers.local_rank)
    store, rank, size = next(rendezvous("env://"))
    # After a restart the addresses of those who are gone must not be found.
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=PrefixStore(f"life-{life}", store),
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    yield workers
    # Not after an error: the others may wait for this one in a message that will never come, and
    # end when it does.
    dist.destroy_process_group()


def _check_gpus(device: str, workers: Workers) -> None:
    there = torch.cuda.device_count()
    if device not in ("auto", "cuda"):
        raise ConfigError(
            f"training.device = {device!r}, but {workers.size} processes train, each on a GPU of "
            "its own; take cuda or cpu"
        )
    if workers.local_rank >= there:
        raise ConfigError(
            f"process {workers.local_rank} of this machine (counted from 0) has no GPU: {there} "
            'are here; start as many processes, or take training.device = "cpu"'
        )
