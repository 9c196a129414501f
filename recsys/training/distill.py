"""Distillation: towers learn from larger ones what these think of all items, not of the taken only.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), with items as classes: beside
the loss of training stands ``weight`` times

    T^2  sum over positions r of  w_r  KL( softmax(t_r / T)  ||  softmax(s_r / T) )

where t and s are the teacher's and the student's cosines over their learnt temperatures, w_r is the
weight of r's targets, and T^2 keeps gradients of one size. Items that the user has taken are left
out: of these the targets tell, and the others are no answers. Over drawn negatives both logits lose
log q, as in the sampled softmax, so that a few items stand for all. The teacher reads the same
histories, without dropout.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recsys.config import TrainingConfig
from recsys.device import to_device
from recsys.errors import ConfigError
from recsys.towers.full_softmax import Targets
from recsys.towers.two_tower import TwoTower
from recsys.training.batches import Batch
from recsys.training.negatives import Negatives, accidental_hits

__all__ = ["Teacher", "Teachers", "distillation_loss"]

SCORES = 2**22  # positions x items at a time
NEVER = -1e9  # logit of an item that is left out: finite, so that 0 times it is 0


@dataclass(frozen=True, eq=False)
class Teacher:
    """Trained towers that are asked and not changed.

    Attributes:
        towers: of the same users and items.
        weight: of the term.
        temperature: T; the lower, the more the teacher's best items count.
    """

    towers: TwoTower
    weight: float
    temperature: float

    @classmethod
    def of(cls, towers: TwoTower, config: TrainingConfig) -> Self:
        """Let towers teach as the configuration has it."""
        return cls(towers.eval(), config.distill_weight, config.distill_temperature)

    @cached_property
    def items(self) -> Tensor:
        """Vectors of all items, ``(n_items, D)``."""
        with torch.no_grad():
            return torch.from_numpy(self.towers.items_alone()).to(self.towers.device)

    def check(self, student: TwoTower) -> None:
        """Refuse to teach towers of other users or items, or that read longer histories.

        Raises:
            ConfigError: a message says what differs.
        """
        mine = (self.towers.n_users, self.towers.n_items)
        theirs = (student.n_users, student.n_items)
        if mine != theirs:
            raise ConfigError(
                f"training.teacher: knows {mine[0]:,} users and {mine[1]:,} items, expected "
                f"{theirs[0]:,} and {theirs[1]:,}; train it on the same data and split"
            )
        if self.towers.config.history < student.config.history:
            raise ConfigError(
                f"training.teacher: reads {self.towers.config.history} items of a history, "
                f"expected at least the student's towers.history = {student.config.history}"
            )

    def loss(
        self,
        student: TwoTower,
        batch: Batch,
        queries: tuple[Tensor, Tensor],
        items: Tensor,
        targets: Targets,
        drawn: Negatives | None,
    ) -> Tensor:
        """Return the term ``()`` of a batch, or of a part of a step its share of it.

        Args:
            student: learns.
            batch: what is learnt from.
            queries: of positions, the student's ``(p, d)`` and the teacher's ``(p, D)``.
            items: the student's vectors of all items, or of those drawn, ``(n, d)``.
            targets: their weights count for positions.
            drawn: the items that are compared; None: all.
        """
        device = student.device
        if drawn is None:
            numbers = torch.arange(student.n_items, device=device)
            log_q = items.new_zeros(len(items), dtype=torch.float32)
        else:
            numbers = to_device(drawn.items.astype(np.int64), device)
            log_q = to_device(drawn.log_q, device)
        known = student.items.known[numbers] & self.towers.items.known[numbers]
        barred = accidental_hits(numbers, batch.positives) | ~known
        weights = queries[0].new_zeros(len(queries[0]), dtype=torch.float32)
        weights.index_add_(0, targets.rows, targets.weights)
        return self.weight * distillation_loss(
            (queries[0] * student.log_scale.exp(), items),
            (queries[1] * self.towers.log_scale.detach().exp(), self.items[numbers]),
            weights,
            barred,
            to_device(batch.rows, device),
            log_q,
            self.temperature,
        )


class Teachers(NamedTuple):
    """Trained towers for both trainings of a fit; each has seen what its students see.

    Attributes:
        search: have not seen the validation part, which judges who learns from them.
        refit: for the training on train + validation.
    """

    search: TwoTower
    refit: TwoTower


def distillation_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    weights: Tensor,
    barred: Tensor,
    groups: Tensor,
    log_q: Tensor,
    temperature: float,
) -> Tensor:
    """Return the sum of the module's formula without its weight, ``()``, in blocks of positions.

    Args:
        student: queries ``(p, d)`` over their temperature, and items ``(n, d)``.
        teacher: the same, ``(p, D)`` and ``(n, D)``.
        weights: of positions, ``(p,)``.
        barred: where an item is left out, bool ``(g, n)``.
        groups: the row of ``barred`` of each position, int64 ``(p,)``.
        log_q: log of how often each item was expected to be drawn, ``(n,)``; zeros of all items.
        temperature: T.
    """

    def block(rows: Tensor, asking: Tensor, items: Tensor) -> Tensor:
        out = barred[groups[rows]]
        own, theirs = (
            (q.float() @ x.float().T / temperature - log_q).masked_fill(out, NEVER)
            for q, x in ((asking[rows], items), (teacher[0][rows], teacher[1]))
        )
        apart = F.kl_div(
            own.log_softmax(dim=1), theirs.log_softmax(dim=1), reduction="none", log_target=True
        )
        return weights[rows] @ apart.sum(dim=1)

    step = max(1, SCORES // max(1, len(log_q)))
    blocks = torch.split(torch.arange(len(groups), device=groups.device), step)
    if len(blocks) == 1:
        return temperature**2 * block(blocks[0], *student)
    total = torch.stack(
        [torch.as_tensor(checkpoint(block, rows, *student, use_reentrant=False)) for rows in blocks]
    )
    return temperature**2 * total.sum()
