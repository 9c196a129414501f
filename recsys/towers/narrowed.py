"""Towers that hand out the beginnings of their vectors, newcomers' among them."""

import copy

import torch

from recsys.errors import ConfigError
from recsys.towers.nested import beginnings
from recsys.towers.newcomers import Newcomers
from recsys.towers.two_tower import TwoTower

__all__ = ["narrowed"]


def narrowed(towers: TwoTower, dim: int | None) -> TwoTower:
    """Return towers whose vectors are the first ``dim`` numbers, members' parts cut alike.

    All weights are shared with ``towers``. Newcomers are placed by regressions onto what is left of
    the known items' vectors; how they stand among these was learnt with the whole ones. Ratings are
    predicted from whole vectors.

    Args:
        towers: trained; those of which every beginning is a vector by itself (``towers.nested``)
            lose little.
        dim: width; None, or what they hand out already: nothing is changed.

    Raises:
        ConfigError: it is wider than what they hand out, or cannot be shared among the members.
    """
    if dim is None or dim == towers.dim:
        return towers
    members = towers.config.members
    if dim > towers.dim or dim % members:
        raise ConfigError(
            f"index.dim = {dim}: expected at most {towers.dim}, and a multiple of "
            f"members = {members}"
        )
    tensors = [*towers.parameters(), *towers.buffers()]
    shorter = copy.deepcopy(towers, {id(tensor): tensor for tensor in tensors})
    shorter.dim = dim
    if towers.newcomers is not None and shorter.newcomers is not None:
        _narrow(shorter.newcomers, members, dim)
    return shorter.eval()


@torch.no_grad()
def _narrow(newcomers: Newcomers, members: int, dim: int) -> None:
    """Fit the regressions again, onto shorter vectors of the anchors."""
    factors, vectors = torch.split(newcomers.targets(), [newcomers.dim, newcomers.tower_dim], dim=1)
    shorter = torch.from_numpy(beginnings(vectors.cpu().numpy(), members, dim))
    newcomers.tower_dim = dim
    newcomers.fit(torch.cat([factors, shorter.to(factors.device)], dim=1))
