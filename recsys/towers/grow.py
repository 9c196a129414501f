"""Grown towers: what was learnt for a smaller log, carried over to one with more users and items.

Users, items and columns of content may all be numbered anew, so nothing is carried over by number:
rows of a table go by id, columns of content by what they say about the items of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.content.encoder import ContentBlock
from recsys.errors import ArtifactError
from recsys.towers.two_tower import TwoTower

__all__ = ["ITEM_TABLES", "USER_TABLES", "Blocks", "Growth", "grow"]

# All weights with a row an item, and all with a row a user and a last one for the unknown.
ITEM_TABLES = ("items.id.weight", "users.history.weight")
USER_TABLES = ("users.id.weight",)
# What follows from the rows to learn from, and is never carried over.
OF_THE_LOG = (
    "average",  # learnt when the towers are: the old one is of where items were
    "items.known",
    "ratings.mean",
    "ratings.deviation",
    "ratings.user_offsets",
    "ratings.item_offsets",
)

# A block's inputs, by its place among the blocks: mean, scale, project.weight and missing.
ITEM_INPUT, USER_INPUT = "items.contents.", "users.attributes.inputs."

MOST_COMPARED = 20_000  # items or users whose old and new content are laid side by side
SAME = 1e-3  # content that differs by less, relative to its length, is the same content
RIDGE = 1e-3  # relative to the mean variance of a column


class Blocks(NamedTuple):
    """What towers read beside the log: content of the items, attributes of the users."""

    items: Sequence[ContentBlock] = ()
    users: Sequence[ContentBlock] = ()


@dataclass(frozen=True, eq=False)
class Growth:
    """Who is who: for each user and item its number among the old ones, -1 where it is new.

    Attributes:
        users: int32 ``(n_users,)``.
        items: int32 ``(n_items,)``.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]


def grow(
    old: TwoTower,
    towers: TwoTower,
    growth: Growth,
    old_blocks: Blocks,
    blocks: Blocks,
    tails: Mapping[str, Tensor] = MappingProxyType({}),
) -> dict[str, float]:
    """Put what ``old`` has learnt into fresh ``towers`` of the same shape, in place.

    Items that ``old`` learnt nothing about keep their first draws, new users begin as the unknown
    user. Where a block is encoded otherwise than before (other categories, other components), its
    projection is taken over through a linear map from new to old vectors, fitted on the items or
    users of both by ridge regression.

    Args:
        old: what was learnt.
        towers: fresh ones for the grown log.
        growth: who is who.
        old_blocks: what ``old`` was trained with.
        blocks: what ``towers`` read.
        tails: weights of encoders that learnt with ``old``, by the names of `load_tails`. The
            vectors that they make are the caller's to bring up to date (`ItemTower.encode_anew`).

    Returns:
        For each block that is encoded otherwise: the share of the old vectors' variance that the
        map keeps, at most 1.

    Raises:
        ArtifactError: the towers are of different shapes or read different kinds of content.
    """
    _check(old, towers, old_blocks, blocks)
    before, fresh = _weights(old) | dict(tails), _weights(towers)
    if tails.keys() - fresh.keys():
        raise ArtifactError(
            "update: an encoder learnt with the towers to start from; set finetune as it was, or "
            "train afresh with `recsys run`"
        )
    grown = {name: _carried(name, before, weight, growth) for name, weight in fresh.items()}
    kept: dict[str, float] = {}
    known = before["items.known"].numpy()
    everybody = np.ones(old.n_users, dtype=np.bool_)
    for place, then, now, numbers, learnt in (
        (ITEM_INPUT, old_blocks.items, blocks.items, growth.items, known),
        (USER_INPUT, old_blocks.users, blocks.users, growth.users, everybody),
    ):
        for number, (old_block, block) in enumerate(zip(then, now, strict=True)):
            found = _map(old_block, block, numbers, learnt)
            if found is not None:
                prefix = f"{place}{number}."
                if any(name.startswith(f"{prefix}tail.") for name in tails):
                    raise ArtifactError(
                        f"update: content {block.name!r} is encoded otherwise, by an encoder that "
                        "learnt on; train afresh with `recsys run`"
                    )
                grown |= found.weights(prefix, before, fresh[f"{prefix}scale"])
                kept[block.name] = found.kept
    towers.load_state_dict(grown)
    return kept


def _weights(towers: TwoTower) -> dict[str, Tensor]:
    return {name: weight.detach().cpu() for name, weight in towers.state_dict().items()}


def _check(old: TwoTower, towers: TwoTower, old_blocks: Blocks, blocks: Blocks) -> None:
    then, now = old.config.model_dump(), towers.config.model_dump()
    other = [f"{key} = {then[key]!r}, now {now[key]!r}" for key in now if then[key] != now[key]]
    if other:
        raise ArtifactError(
            f"update: the towers to start from have {'; '.join(other)}; set [towers] as it was, or "
            "train afresh with `recsys run`"
        )
    for section, old_ones, ones in zip(("content", "users"), old_blocks, blocks, strict=True):
        names, old_names = [block.name for block in ones], [block.name for block in old_ones]
        if names != old_names:
            raise ArtifactError(
                f"update: the towers to start from read [{section}] {old_names}, the config names "
                f"{names}; set [{section}] as it was, or train afresh with `recsys run`"
            )


def _carried(name: str, before: dict[str, Tensor], fresh: Tensor, growth: Growth) -> Tensor:
    """One weight of the grown towers, but for the blocks that are encoded otherwise."""
    if name in OF_THE_LOG or name.endswith(".content"):  # vectors of encoders that learn
        return fresh
    if name not in before:
        raise ArtifactError(f"update: the towers to start from lack {name}; train afresh")
    old = before[name]
    if name in ITEM_TABLES:
        known = np.append(before["items.known"].numpy(), False)  # the last stands for -1
        rows = torch.from_numpy(np.flatnonzero(known[growth.items]))
        return fresh.index_copy(0, rows, old[torch.from_numpy(growth.items).long()[rows]])
    if name in USER_TABLES:
        return old[torch.from_numpy(np.append(growth.users, -1)).long()]  # -1: the unknown's row
    if old.shape != fresh.shape and not name.startswith((ITEM_INPUT, USER_INPUT)):
        raise ArtifactError(
            f"update: {name} of the towers to start from has the shape {tuple(old.shape)}, "
            f"expected {tuple(fresh.shape)}; train afresh"
        )
    return old


@dataclass(frozen=True, eq=False)
class _Map:
    """From new vectors to old, each less its mean: ``old = (new - mean) @ matrix``, nearly.

    Attributes:
        mean: of the new vectors, ``(new_width,)``.
        matrix: ``(new_width, old_width)``.
        kept: share of the old variance that is reached.
    """

    mean: Tensor
    matrix: Tensor
    kept: float

    def weights(self, prefix: str, before: dict[str, Tensor], scale: Tensor) -> dict[str, Tensor]:
        """The weights of a block's input that adds what it added before; ``scale`` is the new."""
        project = before[f"{prefix}project.weight"] @ self.matrix.T  # (d, new_width)
        return {
            f"{prefix}mean": self.mean,
            f"{prefix}scale": scale,
            f"{prefix}project.weight": project * (scale / before[f"{prefix}scale"]),
        }


def _map(
    old: ContentBlock, new: ContentBlock, numbers: NDArray[np.int32], known: NDArray[np.bool_]
) -> _Map | None:
    """How to read new vectors as old; None where they are the same.

    Args:
        old: a block of the old items or users.
        new: the same block of the new.
        numbers: for each new one its old number or -1, ``(n,)``.
        known: old ones that were learnt from, ``(n_old,)``: the old mean is theirs.
    """
    rows = np.flatnonzero(np.append(known & old.present, False)[numbers] & new.present)
    if len(rows) > MOST_COMPARED:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_COMPARED, replace=False))
    then = torch.from_numpy(old.vectors[numbers[rows]]).double()
    now = torch.from_numpy(new.vectors[rows]).double()
    if now.shape == then.shape and _distance(now, then) <= SAME:
        return None
    if not len(rows):
        raise ArtifactError(
            f"update: nothing has {new.name!r} both before and now, and it is encoded otherwise; "
            "train afresh"
        )
    mean = now.mean(dim=0)
    now, then = now - mean, then - then.mean(dim=0)
    covariance = now.T @ now
    ridge = RIDGE * covariance.diagonal().mean().clamp_min(1e-12)
    matrix = torch.linalg.solve(covariance + ridge * torch.eye(new.dim).double(), now.T @ then)
    lost = (then - now @ matrix).square().sum() / then.square().sum().clamp_min(1e-12)
    return _Map(mean.float(), matrix.float(), 1 - float(lost))


def _distance(now: Tensor, then: Tensor) -> float:
    """The largest difference of two rows, relative to the root mean square length of a row."""
    if not len(then):
        return 0.0
    length = then.square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    return float((now - then).norm(dim=1).max() / length)
