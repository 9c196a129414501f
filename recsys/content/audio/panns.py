"""A CNN in the style of PANNs (Kong et al., 2020), trained on sound effects (Ma and Lerch, 2022).

Layer for layer the embedding net of the package aisfx, whose weights it loads. The classifiers of
its checkpoint are left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.content.audio.nets import as_model
from recsys.content.encoder import Model
from recsys.content.random_networks import seeded
from recsys.content.weights_file import load_net, named_tensors, read_weights
from recsys.errors import ConfigError

__all__ = ["EffectsNet", "aisfx_net", "load_aisfx"]

CHANNELS = (64, 128, 256, 512)
WIDTH = CHANNELS[-1]
LOUDEST = 9.457798957824707  # the largest value of a spectrogram in their training data
PREFIX = "embedding_net."

# the checkpoint holds counts of classes as numpy scalars; these classes make nothing but numbers
SCALARS: list[Any] = [
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Int64DType,
    np.dtypes.Float64DType,
]


class ConvBlock(nn.Module):
    """Two convolutions of 3 by 3, each normalised and rectified."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (b, channels, t, f)."""
        maps = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(maps)))


class EffectsNet(nn.Module):
    """Spectrograms (b, 100 frames, 96 bands) to vectors (b, 512), none below 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = ConvBlock(1, CHANNELS[0])
        self.conv_block2 = ConvBlock(CHANNELS[0], CHANNELS[1])
        self.conv_block3 = ConvBlock(CHANNELS[1], CHANNELS[2])
        self.conv_block4 = ConvBlock(CHANNELS[2], CHANNELS[3])

    def forward(self, frames: Tensor) -> Tensor:
        """Return vectors (b, 512): the mean over bands, then the maximum over time."""
        maps = frames[:, None] / LOUDEST
        for block in (self.conv_block1, self.conv_block2, self.conv_block3):
            maps = F.max_pool2d(block(maps), 2)
        last: Tensor = self.conv_block4(maps)  # (b, 512, 12 of time, 12 of bands)
        return last.mean(dim=3).amax(dim=2)


def load_aisfx(weights: Path | None, device: str) -> Model:
    """Load the net; None for random weights.

    Raises:
        ConfigError: the file is not the checkpoint of aisfx.
    """
    return as_model(aisfx_net(weights), WIDTH, device)


def aisfx_net(weights: Path | None, seed: int = 0) -> nn.Module:
    """Make the net as `load_aisfx` does; ``seed`` is of random weights."""
    if weights is None:
        return seeded(EffectsNet, seed)
    with torch.serialization.safe_globals(SCALARS):
        checkpoint = read_weights(weights)
    if not isinstance(checkpoint, tuple) or not checkpoint:
        raise ConfigError(f"{weights}: not the checkpoint of aisfx (weights, data sets)")
    own = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in named_tensors(checkpoint[0], weights).items()
        if name.startswith(PREFIX)
    }
    return load_net(EffectsNet, own, weights, "aisfx")
