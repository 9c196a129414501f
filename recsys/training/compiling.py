"""torch.compile for the parts of the towers that it makes faster."""

import os
import shutil

import torch
from torch import nn

from recsys.errors import ConfigError
from recsys.towers.transformer import Transformer
from recsys.towers.two_tower import TwoTower

__all__ = ["compile_towers"]


def compile_towers(towers: TwoTower) -> None:
    """Compile the transformer's blocks and an item's fusion, where there are any, in place.

    Shapes are dynamic: batches differ in length. The first steps wait for the compiler, about a
    minute of CPU time for a transformer in training. Names of weights stay as they are. Means and
    sums are left alone: they are a few calls of products and sums, which no compiler makes faster.

    Args:
        towers: on their device.

    Raises:
        ConfigError: for the CPU, there is no C++ compiler.
    """
    if towers.device.type == "cpu":
        _check_compiler(os.environ.get("CXX", "g++"))
    for part in _parts(towers):
        part.compile(dynamic=True)


def _parts(towers: TwoTower) -> list[nn.Module]:
    """What is compiled."""
    blocks = [
        block
        for encoder in towers.users.encoders
        if isinstance(encoder, Transformer)
        for block in encoder.blocks
    ]
    fusion = towers.items.fusion
    return [*blocks, fusion] if any(True for _ in fusion.parameters()) else blocks


def _check_compiler(name: str) -> None:
    """Look for what torch's inductor calls on a CPU."""
    if shutil.which(name) is None:
        raise ConfigError(
            f"training.compile = true: no C++ compiler {name!r} is here (torch {torch.__version__} "
            "compiles for the CPU with one); install it, name one in CXX, or take compile = false"
        )
