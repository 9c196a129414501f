"""The optimisers of the towers: AdamW, and for large tables of ids one that touches few rows."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from recsys.config import TrainingConfig
from recsys.errors import ArtifactError
from recsys.towers.two_tower import TwoTower
from recsys.training.negatives import against_all
from recsys.training.row_wise import RowWiseAdam, coalesced

__all__ = ["Optimizers", "id_tables"]

BETAS = (0.9, 0.98)
TABLE = "table."  # before the names of what the optimiser of tables keeps


def id_tables(towers: TwoTower, config: TrainingConfig) -> dict[str, nn.Embedding]:
    """Return the tables whose steps touch few rows, by the names of their weights.

    None with ``table_optimizer = "adamw"``; with "auto" those with more rows than
    ``full_softmax_up_to``. Against all items every item's id has a gradient: it is not among them.
    """
    if config.table_optimizer == "adamw":
        return {}
    tables = _all_tables(towers)
    if against_all(config, towers.n_items):
        del tables["items.id"]
    least = config.full_softmax_up_to if config.table_optimizer == "auto" else 0
    return {
        f"{name}.weight": table for name, table in tables.items() if table.num_embeddings > least
    }


def _all_tables(towers: TwoTower) -> dict[str, nn.Embedding]:
    tables = {
        "users.history": towers.users.history,
        "users.id": towers.users.id,
        "items.id": towers.items.id,
    }
    return {name: table for name, table in tables.items() if table is not None}


class Optimizers:
    """AdamW for most weights, `RowWiseAdam` for the tables of `id_tables`; one gradient norm.

    Weights of one dimension are not decayed. Encoders that learn do so at their own share of the
    learning rate.
    """

    def __init__(self, towers: TwoTower, config: TrainingConfig) -> None:
        """Start afresh; the tables' gradients become sparse, and those of no others."""
        self.parameters = list(towers.parameters())
        tables = id_tables(towers, config)
        for name, table in _all_tables(towers).items():
            table.sparse = f"{name}.weight" in tables
        self.tables: dict[str, nn.Parameter] = {name: towers.get_parameter(name) for name in tables}
        encoders = [list(content.tail.parameters()) for content in towers.items.tuned]
        apart = {id(weight) for weights in [*encoders, self.tables.values()] for weight in weights}
        own = [weight for weight in self.parameters if id(weight) not in apart]
        groups = _groups(own, config, 1.0)
        for content, weights in zip(towers.items.tuned, encoders, strict=True):
            share = content.finetune.learning_rate / config.learning_rate
            groups += _groups(weights, config, share)
        self.dense = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=BETAS,
            fused=True,  # one pass over each table; several times faster on the CPU too
        )
        # After a step that is not finite none is made: the weights stay those that it came from.
        self.halted = torch.zeros((), dtype=torch.bool, device=towers.device)
        self.rows: RowWiseAdam | None = None
        if self.tables:
            self.rows = RowWiseAdam(
                self.tables.values(),
                lr=config.learning_rate,
                betas=(0.0, BETAS[1]),
                weight_decay=config.weight_decay,
            )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.parameters:
            weight.grad = None

    def set_rate(self, rate: float) -> None:
        """Learn at this rate, encoders at their share of it."""
        for group in self.dense.param_groups:
            group["lr"] = rate * group["share"]
        for group in self.rows.param_groups if self.rows else ():
            group["lr"] = rate

    def clip_and_step(self, max_norm: float, loss: Tensor | None = None) -> Tensor:
        """Scale all gradients together to an L2 norm of at most ``max_norm``, and make a step.

        Where the norm or the loss is not finite, nothing changes, from then on; the device need
        not be asked. ``halted`` says so.

        Args:
            max_norm: above 0.
            loss: of the step, ``()``; None: only the norm is looked at.

        Returns:
            The norm before, ``()``.
        """
        with torch.no_grad():
            for table in self.tables.values():
                if table.grad is not None and table.grad.is_sparse:
                    table.grad = coalesced(table.grad)
            gradients = [
                _values(weight.grad) for weight in self.parameters if weight.grad is not None
            ]
            norm = nn.utils.get_total_norm(gradients)
            torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
            sound = norm.isfinite() if loss is None else norm.isfinite() & loss.isfinite()
            self.halted = self.halted | ~sound
        self.dense.found_inf = self.halted.float()  # type: ignore[attr-defined]
        self.dense.step()
        if self.rows is not None:
            self.rows.found_inf = self.halted.float()
            self.rows.step()
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: ``parameter number . key``, ``table. name of weights . key``."""
        kept = {
            f"{number}.{key}": value
            for number, state in self.dense.state_dict()["state"].items()
            for key, value in state.items()
        }
        for name, table in self.tables.items():
            state = cast("RowWiseAdam", self.rows).state[table]
            kept |= {f"{TABLE}{name}.{key}": value for key, value in state.items()}
        return kept

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on where `tensors` were taken.

        Raises:
            ArtifactError: they are of other optimisers.
        """
        dense: dict[int, dict[str, Tensor]] = {}
        rows: dict[int, dict[str, Tensor]] = {}
        numbers = {name: number for number, name in enumerate(self.tables)}
        for name, tensor in tensors.items():
            place, key = name.removeprefix(TABLE).rsplit(".", 1)
            if not name.startswith(TABLE):
                dense.setdefault(int(place), {})[key] = tensor
            elif place in numbers:
                rows.setdefault(numbers[place], {})[key] = tensor
            else:
                raise ArtifactError(
                    f"checkpoint: {place} was learnt by another training.table_optimizer; go on "
                    "with that one, or delete the checkpoint"
                )
        _restore(self.dense, dense)
        if self.rows is not None:
            _restore(self.rows, rows)


def _groups(
    weights: Sequence[nn.Parameter], config: TrainingConfig, share: float
) -> list[dict[str, Any]]:
    """Groups of weights for AdamW, which learn at ``share`` of the rate of training."""
    matrices = [weight for weight in weights if weight.ndim > 1]
    others = [weight for weight in weights if weight.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": config.weight_decay, "share": share},
        {"params": others, "weight_decay": 0.0, "share": share},
    ]


def _values(gradient: Tensor) -> Tensor:
    """The numbers of a gradient, sparse or not; changing them changes it."""
    return gradient.values() if gradient.is_sparse else gradient


def _restore(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, kept in state.items():
        shape = None if number >= len(weights) else weights[number].shape
        for key, tensor in kept.items():
            if tensor.ndim and (shape is None or tensor.shape != shape[: tensor.ndim]):
                raise ArtifactError(
                    f"checkpoint: {key} of weight {number} has shape {tuple(tensor.shape)}, "
                    f"expected {shape and tuple(shape)}: it is of other towers or another "
                    "training.table_optimizer; delete it"
                )
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
