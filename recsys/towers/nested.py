"""Vectors of which every beginning is a vector: one training, several sizes.

Kusupati et al., "Matryoshka Representation Learning" (NeurIPS 2022): the loss is the mean over
widths, each with the beginning of that width scaled to length 1. With members side by side, a
beginning holds the beginning of each member's part, so that it is an ensemble as the whole is.
"""

import math

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TowersConfig
from recsys.towers.item_tower import cut_members

__all__ = ["beginnings", "nested_parts"]


def nested_parts(vectors: Tensor, config: TowersConfig) -> list[Tensor]:
    """What a loss compares: each member's part in each width, scaled to length 1.

    Args:
        vectors: unit vectors ``(b, d)`` as the towers make them.
        config: of the towers.

    Returns:
        ``members * widths`` tensors ``(b, width / members)``, the whole ones first.
    """
    members = config.members
    parts = cut_members(vectors.float() * math.sqrt(members), members).unbind(1)
    shorter = [
        F.normalize(part[:, : width // members], dim=1)
        for width in config.widths
        if width < config.dim
        for part in parts
    ]
    return [*parts, *shorter]


def beginnings(vectors: NDArray[np.float32], members: int, dim: int) -> NDArray[np.float32]:
    """Cut unit vectors ``(n, d)`` to unit vectors ``(n, dim)``: the beginning of each member's.

    Each member's part has length ``1 / sqrt(members)`` again, so that a cosine stays the mean of
    the members' cosines.
    """
    n, whole = vectors.shape
    if dim == whole:
        return vectors
    parts = vectors.reshape(n, members, whole // members)[:, :, : dim // members]
    lengths = np.linalg.norm(parts, axis=2, keepdims=True) * np.float32(math.sqrt(members))
    cut: NDArray[np.float32] = (parts / lengths).reshape(n, dim)
    return cut
