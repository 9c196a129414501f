"""What a score of the two towers is made of, in numbers.

The score is the cosine of a user's and an item's vector. On the item's side it is cut into shares
where the fusion adds its parts up; otherwise, and for histories, whose encoders do not add up, a
thing is knocked out and the score looked at again.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.data.ragged import Ragged
from recsys.towers.fusion import Part, Sum, hide
from recsys.towers.item_tower import cut_members
from recsys.towers.two_tower import TwoTower

__all__ = ["Share", "adds_up", "history_drops", "item_shares", "user_shares"]

Vector = NDArray[np.float32]


class Share(NamedTuple):
    """What one source does for a score.

    Attributes:
        name: ``"id"``, ``"content.NAME"``, ``"base"`` (the same for all items), ``"history"``, ...
        there: whether the source says something; a missing content has a learned vector instead.
        value: its share of the cosine, or what the cosine loses without it.
    """

    name: str
    there: bool
    value: float


def adds_up(towers: TwoTower) -> bool:
    """Whether `item_shares` are exact shares; otherwise they are knock-outs."""
    return isinstance(towers.items.fusion, Sum)


@torch.no_grad()
def item_shares(towers: TwoTower, query: Vector, item: int) -> list[Share]:
    """What id and contents of an item do for its score.

    Exact (see `adds_up`): ``<part / length, query>`` summed over members, where length is that of
    the member's sum of parts. They sum to the score, the base included. Otherwise: the score less
    the score of the item without its id, or with a content "missing". Parts that are not there lose
    nothing then.

    Args:
        towers: of the score.
        query: what the item tower's unit vector is multiplied with, ``(d,)``; it stays as it is.
        item: its number.
    """
    tower = towers.eval().items
    asker = torch.from_numpy(query).to(towers.device)
    parts = tower.parts(torch.tensor([item], device=towers.device))
    names = ["id", *(f"content.{name}" for name in tower.block_names)]
    there = [bool(part.there[0]) for part in parts]
    if adds_up(towers):
        names, there = [*names, "base"], [*there, True]
        added = torch.cat([*(part.vectors for part in parts), tower.base[None]])
        values = _exact(added, asker, tower.members)
    else:
        values = tower.fuse(parts) @ asker - tower.fuse(_without_one_each(parts)) @ asker
    shares = zip(names, there, values.tolist(), strict=True)
    return [Share(*share) for share in shares]


def user_shares(towers: TwoTower, user: int, history: Ragged, item: Vector) -> list[Share]:
    """What a score loses without the history, and without what is known of the user beside it.

    Args:
        towers: of the score.
        user: number; -1 is unknown.
        history: one row, oldest item first.
        item: the item's unit vector, ``(d,)``.
    """
    users = np.array([user, user, -1], dtype=np.int32)
    scores = towers.user_vectors(users, history.take(np.array([0, -1, 0]))) @ item
    shares = [Share("history", len(history.values) > 0, float(scores[0] - scores[1]))]
    if towers.config.user_id or towers.attribute_widths:
        shares.append(
            Share("id and attributes of the user", user >= 0, float(scores[0] - scores[2]))
        )
    return shares


def history_drops(
    towers: TwoTower,
    user: int,
    history: Ragged,
    left_out: NDArray[np.int32],
    item: Vector,
) -> Vector:
    """What a score loses when an item is left out of the history, ``(k,)``; all at once.

    No item older than the tower reads takes the empty place.

    Args:
        towers: of the score.
        user: number; -1 is unknown.
        history: one row, oldest item first.
        left_out: item numbers, each left out by itself, ``(k,)``.
        item: the item's unit vector, ``(d,)``.
    """
    read = history.last(towers.config.history)
    n = len(read.values)
    kept = np.concatenate([np.ones((1, n), np.bool_), read.values != left_out[:, None]])
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    histories = read.at(indptr, np.broadcast_to(np.arange(n), kept.shape)[kept])
    users = np.full(len(kept), user, dtype=np.int32)
    scores: Vector = towers.user_vectors(users, histories) @ item
    drops: Vector = scores[0] - scores[1:]
    return drops


def _exact(added: Tensor, query: Tensor, members: int) -> Tensor:
    """Shares ``(k,)`` of the vectors ``(k, d)`` that add up to an item's, before it is scaled."""
    lengths = cut_members(added.sum(dim=0, keepdim=True), members).norm(dim=-1)  # (1, m)
    cosines = (cut_members(added, members) * cut_members(query[None], members)).sum(dim=-1)
    shares: Tensor = (cosines / lengths).sum(dim=1) / math.sqrt(members)
    return shares


def _without_one_each(parts: list[Part]) -> list[Part]:
    """An item's parts as many times as there are, each time with another one hidden."""
    n = len(parts)
    hidden = torch.eye(n, dtype=torch.bool, device=parts[0].there.device)
    copies = [Part(part.vectors.expand(n, -1), part.there.expand(n), part.absent) for part in parts]
    return [hide(part, hidden[number]) for number, part in enumerate(copies)]
