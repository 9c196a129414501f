"""The loss of one member of the towers against negatives that were drawn."""

from typing import NamedTuple

import torch
from torch import Tensor

from recsys.config import TrainingConfig
from recsys.towers.full_softmax import Targets, drawn_softmax
from recsys.towers.losses import sampled_loss

__all__ = ["OnDevice", "drawn_loss", "products_of"]


class OnDevice(NamedTuple):
    """What a step's targets are told apart from, on the device."""

    shared: Tensor  # item numbers, (n,)
    log_q: Tensor  # (n,)
    barred: Tensor  # bool (b, n)
    hard: Tensor  # item numbers, (b, h); h may be 0
    hard_log_q: Tensor  # (b, h)
    hard_barred: Tensor  # bool (b, h)


def drawn_loss(
    config: TrainingConfig,
    n_known: int,
    queries: Tensor,
    found: Tensor,
    shared: Tensor,
    hard: Tensor,
    scale: Tensor,
    targets: Targets,
    groups: Tensor,
    drawn: OnDevice,
) -> Tensor:
    """The loss of one member.

    Args:
        config: which loss.
        n_known: items with training rows.
        queries: of positions, ``(p, w)``.
        found: of targets, ``(t, w)``.
        shared: of negatives, ``(n, w)``.
        hard: of users' own negatives, ``(b * h, w)``.
        scale: one over the temperature.
        targets: what is to be found.
        groups: the user of each position, ``(p,)``.
        drawn: which negatives they are.
    """
    softmax = config.loss == "softmax"
    if softmax and not drawn.hard.shape[1]:  # in blocks: no table of scores
        loss = drawn_softmax(
            queries,
            found,
            shared,
            scale,
            targets,
            drawn.barred,
            groups,
            log_q=drawn.log_q,
            smoothing=config.label_smoothing,
            dtype=products_of(config),
        )
        return loss / targets.weights.sum()
    positive = scale * (queries[targets.rows] * found).sum(dim=1)
    negative = scale * (queries @ shared.T)  # (p, n)
    barred, log_q = drawn.barred[groups], drawn.log_q.expand_as(negative)
    if drawn.hard.shape[1]:
        own = hard.view(*drawn.hard.shape, -1)  # (b, h, w)
        nearest = torch.einsum("pw,phw->ph", queries, own[groups])
        negative = torch.cat([negative, scale * nearest], dim=1)
        barred = torch.cat([barred, drawn.hard_barred[groups]], dim=1)
        log_q = torch.cat([log_q, drawn.hard_log_q[groups]], dim=1)
    return sampled_loss(
        config.loss,
        positive,
        targets.rows,
        targets.weights,
        negative,
        barred,
        n_items=n_known,
        log_q=log_q if softmax else None,
        calibration=config.calibration,
        label_smoothing=config.label_smoothing,
    )


def products_of(config: TrainingConfig) -> torch.dtype:
    """In what precision queries are multiplied with items."""
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
