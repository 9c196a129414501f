"""Adam for tables of ids: a step touches the rows it looked up, and a row keeps two numbers."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from recsys.errors import ConfigError

__all__ = ["RowWiseAdam", "coalesced", "row_wise_memory"]


class RowWiseAdam(torch.optim.Optimizer):
    """Adam with one second moment a row, for the sparse gradients of embedding tables.

    A row r that is touched at step t, for the last time before at step l(r), with gradient g:

    - ``v(r) = beta2 ** (t - l(r)) * v(r) + (1 - beta2) * mean(g ** 2)``
    - ``m(r) = beta1 * m(r) + (1 - beta1) * g``, kept with beta1 > 0 only
    - ``w(r) = (1 - rate * decay) ** (t - l(r)) * w(r) - rate * m' / (sqrt(v') + eps)``

    where ``v' = v / (1 - beta2 ** t)`` and ``m' = m / (1 - beta1 ** touches(r))``. All other rows
    stay as they are. This is the partial row-wise Adam of FBGEMM (TorchRec), but the second moment
    fades with every step and not with every touch, and a row pays the weight decay of the steps
    that it sat out. So v is that of Adam at every touch, and without momentum and decay so are the
    weights: a rare row learns as fast as under `torch.optim.AdamW`, at the same rate. Momentum
    fades with touches: the steps that Adam would make between them are made at them.

    A gradient that is dense touches every row. Given a ``found_inf`` (float ``()``, as
    `torch.amp.GradScaler` sets it), a step with 1 in it changes nothing, without waiting for the
    device. Sums are in a fixed order on the CPU and on CUDA: results repeat.

    Memory of a table: `row_wise_memory`.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.0, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Prepare for tables ``(n, d)``.

        Args:
            params: the tables.
            lr: learning rate, above 0.
            betas: of momentum and second moment, 0 <= . < 1; a first of 0 keeps no momentum.
            eps: added to the root of the second moment.
            weight_decay: share of a weight that is lost at each step, times the rate.

        Raises:
            ConfigError: an argument is out of its range.
        """
        if not (lr > 0 and all(0 <= beta < 1 for beta in betas) and weight_decay >= 0):
            raise ConfigError(
                f"row-wise Adam: lr = {lr}, betas = {betas}, weight_decay = {weight_decay}: "
                "expected a rate above 0, betas from 0 to below 1, no negative decay"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the rows that have a gradient; return what ``closure`` does, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                if table.grad.is_sparse:
                    table.grad = coalesced(table.grad)
                    rows, gradients = table.grad.indices()[0], table.grad.values()
                else:
                    rows = torch.arange(len(table), device=table.device)
                    gradients = table.grad
                _touch(
                    table,
                    self.state[table],
                    rows,
                    gradients,
                    self.found_inf,
                    rate=group["lr"],
                    betas=group["betas"],
                    eps=group["eps"],
                    decay=group["weight_decay"],
                )
        return loss


def _touch(
    table: Tensor,
    state: dict[str, Tensor],
    rows: Tensor,
    gradients: Tensor,
    found_inf: Tensor | None,
    *,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> None:
    """Make the step of the class's formula for the rows ``(u,)`` with gradients ``(u, d)``."""
    beta1, beta2 = betas
    if not state:
        state.update(_fresh(table, momentum=beta1 > 0))
    now = state["steps"] + 1.0
    missed = now - state["last"][rows]  # 1: touched at the step before
    fresh = {"last": now.expand_as(missed)}
    square = gradients.square().mean(dim=1)
    second = fresh["second"] = beta2**missed * state["second"][rows] + (1 - beta2) * square
    ahead = gradients
    if beta1:
        touches = fresh["touches"] = state["touches"][rows] + 1.0
        momentum = torch.lerp(state["momentum"][rows], gradients, 1 - beta1)
        fresh["momentum"] = momentum
        ahead = momentum / (1 - beta1**touches)[:, None]
    scale = rate / ((second / (1 - beta2**now)).sqrt() + eps)
    old = table[rows]
    fresh["weight"] = old * ((1 - rate * decay) ** missed)[:, None] - scale[:, None] * ahead
    for name, value in fresh.items():
        whole = table if name == "weight" else state[name]
        if found_inf is not None:
            before = old if name == "weight" else whole[rows]
            stays = (found_inf > 0).expand(len(rows), *(1,) * (value.ndim - 1))
            value = torch.where(stays, before, value)  # noqa: PLW2901 (what is written)
        whole.index_copy_(0, rows, value.contiguous())
    state["steps"].copy_(now if found_inf is None else now - found_inf)


def _fresh(table: Tensor, *, momentum: bool) -> dict[str, Tensor]:
    """The state of a table that no step has touched."""
    state = {
        "steps": table.new_zeros(()),  # not "step": torch would load that onto the CPU
        "second": table.new_zeros(len(table)),
        "last": table.new_zeros(len(table)),  # a float32 counts steps up to 16 million
    }
    if momentum:
        state |= {"touches": table.new_zeros(len(table)), "momentum": torch.zeros_like(table)}
    return state


def coalesced(gradient: Tensor) -> Tensor:
    """Return a sparse gradient ``(n, d)`` with each row once, in ascending order.

    On the CPU this takes half the time of `Tensor.coalesce`. On CUDA it is that: there
    `Tensor.index_add_` adds in no fixed order.
    """
    if gradient.is_coalesced() or gradient.is_cuda:
        return gradient.coalesce()
    rows, inverse = torch.unique(gradient._indices()[0], return_inverse=True)
    each = gradient._values()  # the public ones ask for a coalesced gradient
    summed = each.new_zeros(len(rows), *each.shape[1:]).index_add_(0, inverse, each)
    return torch.sparse_coo_tensor(
        rows[None], summed, gradient.shape, is_coalesced=True, check_invariants=False
    )


def row_wise_memory(n: int, d: int, *, row_wise: bool = True, touched: int = 0) -> int:
    """Return the bytes that training holds of a float32 table ``(n, d)``: weights, moments, grad.

    500,000 x 64 ids: 132 MB (weights 128 MB, two numbers a row 4 MB), and 264 bytes for each row
    that a step touches; with AdamW 512 MB (weights, gradient and two moments of 128 MB each).

    Args:
        n: rows.
        d: width.
        row_wise: `RowWiseAdam` without momentum; otherwise AdamW.
        touched: rows of a step, each with its number (int64).
    """
    if not row_wise:
        return 4 * (4 * n * d)
    return 4 * (n * d + 2 * n) + touched * (4 * d + 8)
