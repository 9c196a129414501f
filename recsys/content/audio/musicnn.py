"""musicnn (Pons and Serra, 2019): wide filters for timbre, long ones for rhythm, trained to tag.

The net of the package musicnn, written again in torch; its weights are checkpoints of TensorFlow,
trained on MagnaTagATune (MTT) or the Million Song Dataset (MSD).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.content.audio.nets import as_model
from recsys.content.audio.tf_checkpoint import read_checkpoint
from recsys.content.encoder import Model
from recsys.content.random_networks import seeded
from recsys.content.weights_file import load_net
from recsys.errors import ConfigError

__all__ = ["MusiCNN", "load_musicnn", "musicnn_net"]

BANDS = 96
EPSILON = 1e-3  # of TensorFlow's batch normalisation
TIMBRAL, TEMPORAL, MIDDLE, WIDTH = 204, 51, 64, 200  # channels; the last is the vector's width
FRONT = 2 * TIMBRAL + 3 * TEMPORAL
POOLED = FRONT + 3 * MIDDLE


class Layer(nn.Module):
    """A convolution that keeps the length, rectified, then normalised."""

    def __init__(self, channels: int, frames: int, bands: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, (frames, bands))
        self.norm = nn.BatchNorm2d(channels, eps=EPSILON)
        self._pad = (0, 0, (frames - 1) // 2, frames // 2)  # as TensorFlow pads an even length

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (b, channels, t, f - bands + 1) of maps (b, 1, t, f)."""
        normal: Tensor = self.norm(F.relu(self.conv(F.pad(maps, self._pad))))
        return normal


class MusiCNN(nn.Module):
    """Spectrograms (b, t frames, 96 bands) to vectors (b, 200): the layer before the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=EPSILON)
        timbral = [Layer(TIMBRAL, 7, int(share * BANDS)) for share in (0.4, 0.7)]
        temporal = [Layer(TEMPORAL, frames, 1) for frames in (128, 64, 32)]
        self.front = nn.ModuleList(timbral + temporal)
        self.middle = nn.ModuleList(Layer(MIDDLE, 7, f) for f in (FRONT, MIDDLE, MIDDLE))
        self.pooled_norm = nn.BatchNorm1d(2 * POOLED, eps=EPSILON)
        self.dense = nn.Linear(2 * POOLED, WIDTH)
        self.dense_norm = nn.BatchNorm1d(WIDTH, eps=EPSILON)

    def forward(self, frames: Tensor) -> Tensor:
        """Return vectors (b, 200)."""
        pooled = self.pooled(frames)
        both = torch.stack([pooled.amax(dim=1), pooled.mean(dim=1)], dim=2).flatten(1)
        vectors: Tensor = self.dense_norm(F.relu(self.dense(self.pooled_norm(both))))
        return vectors

    def pooled(self, frames: Tensor) -> Tensor:
        """Return what is pooled over time: (b, t, 753), the channels of all layers but the last."""
        maps = self.norm(frames[:, None])
        front = torch.cat([layer(maps).amax(dim=3) for layer in self.front], dim=1)
        channels = [front.transpose(1, 2)]  # (b, t, 561)
        for depth, layer in enumerate(self.middle):
            made = layer(channels[-1][:, None])[..., 0].transpose(1, 2)  # (b, t, 64)
            channels.append(made + channels[-1] if depth else made)
        return torch.cat(channels, dim=2)


def load_musicnn(weights: Path | None, device: str) -> Model:
    """Load the net from the folder of its checkpoint; None for random weights.

    Raises:
        ConfigError: the folder holds another checkpoint, or none.
    """
    return as_model(musicnn_net(weights), WIDTH, device)


def musicnn_net(weights: Path | None, seed: int = 0) -> nn.Module:
    """Make the net as `load_musicnn` does; ``seed`` is of random weights."""
    if weights is None:
        return seeded(MusiCNN, seed)
    try:
        state = dict(_state(read_checkpoint(weights)))
    except KeyError as name:
        raise ConfigError(f"{weights}: the checkpoint of another net: holds no {name}") from None
    return load_net(MusiCNN, state, weights, "musicnn")


def _state(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a checkpoint under the names that they have here.

    TensorFlow counts the layers in the order in which they were made.
    """
    layers = [f"front.{i}" for i in range(5)] + [f"middle.{i}" for i in range(3)]
    norms = ["norm", *(f"{layer}.norm" for layer in layers), "pooled_norm", "dense_norm"]
    for i, norm in enumerate(norms):
        source = _nth("batch_normalization", i)
        yield f"{norm}.weight", _tensor(arrays[f"{source}/gamma"])
        yield f"{norm}.bias", _tensor(arrays[f"{source}/beta"])
        yield f"{norm}.running_mean", _tensor(arrays[f"{source}/moving_mean"])
        yield f"{norm}.running_var", _tensor(arrays[f"{source}/moving_variance"])
        yield f"{norm}.num_batches_tracked", torch.tensor(0)
    for i, layer in enumerate(layers):
        source = _nth("conv2d", i)
        yield f"{layer}.conv.weight", _tensor(arrays[f"{source}/kernel"]).permute(3, 2, 0, 1)
        yield f"{layer}.conv.bias", _tensor(arrays[f"{source}/bias"])
    yield "dense.weight", _tensor(arrays["dense/kernel"]).T
    yield "dense.bias", _tensor(arrays["dense/bias"])


def _nth(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.copy())  # what was read cannot be written to
