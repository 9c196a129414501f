"""A contrastive term: two views of a history are to get vectors that are near each other.

CL4SRec: Xie et al., "Contrastive learning for sequential recommendation", ICDE 2022.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.device import autocast, to_device
from recsys.towers.histories import Histories
from recsys.towers.item_tower import cut_members
from recsys.towers.some_items import SomeItems
from recsys.towers.two_tower import TwoTower
from recsys.training.augment import two_views

__all__ = ["contrast_loss", "info_nce"]


def contrast_loss(
    towers: TwoTower,
    people: NDArray[np.int32],
    histories: Ragged,
    items: Tensor | SomeItems,
    random: np.random.Generator,
    *,
    precision: str = "float32",
) -> Tensor:
    """Return the term ``()`` of a batch: 0 if fewer than two histories can have two views.

    Views are read as those of unknown users: an id or an attribute, the same in both, would tell
    them apart from all others without a look at the history. The towers' temperature is used as it
    is: only scores of items teach it.

    Args:
        towers: in training.
        people: whose the histories are, ``(b,)``.
        histories: ``b`` rows; those with fewer than two items look the same in every view and are
            left out.
        items: vectors of all items, ``(n_items, d)``, or of those in the histories.
        random: draws the views.
        precision: of the towers' matrix products; what they return is compared in float32.
    """
    rows = np.flatnonzero(histories.lengths > 1)
    if len(rows) < 2:
        return torch.zeros((), device=towers.device)
    views = Histories.of(two_views(histories.take(rows), random), towers.device)
    unknown = torch.full((len(views),), -1, device=towers.device)
    with autocast(towers.device, precision):
        vectors = towers.queries(unknown, views, items)  # (2 n, d)
    parts = F.normalize(cut_members(vectors.float(), towers.config.members), dim=-1).transpose(0, 1)
    who = to_device(people[rows].astype(np.int64), towers.device).repeat(2)
    return info_nce(parts, who, towers.log_scale.detach().exp())


def info_nce(views: Tensor, people: Tensor, scale: Tensor) -> Tensor:
    """Return how badly each view finds its other among all views, in nats; mean over views.

    NT-Xent (Chen et al., "A simple framework for contrastive learning", ICML 2020): the negatives
    of a view are both views of every other person.

    Args:
        views: unit vectors ``(members, 2 n, w)``: view i and view n + i are of one history.
        people: whose each view is, int64 ``(2 n,)``.
        scale: 1 / temperature, ``()``.
    """
    n = views.shape[1] // 2
    numbers = torch.arange(2 * n, device=views.device)
    others = (numbers + n) % (2 * n)
    barred = people[:, None] == people
    barred[numbers, others] = False
    scores = (scale * views @ views.mT).masked_fill(barred, -torch.inf)  # (members, 2 n, 2 n)
    return -scores.log_softmax(dim=-1)[:, numbers, others].mean()
