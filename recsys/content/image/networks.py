"""Image networks in torch: built without their heads, filled with weights, called on pixels."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recsys.content.encoder import Model
from recsys.content.image.backbones import Backbone
from recsys.content.random_networks import seeded
from recsys.content.weights_file import load_net, named_tensors, read_weights
from recsys.device import autocast, pick_device, to_device
from recsys.errors import ConfigError

__all__ = [
    "filled_network",
    "headless",
    "load_network",
    "normalise",
    "pixel_model",
    "random_network",
    "standardise",
]

State = dict[str, Tensor]


def headless(backbone: Backbone) -> nn.Module:
    """Build the network that maps images ``(b, 3, h, w)`` to features ``(b, width)``."""
    network: nn.Module
    match backbone.library:
        case "torchvision":
            from torchvision import models

            network = getattr(models, backbone.architecture)()
            parent, _, last = backbone.head[0].removesuffix(".").rpartition(".")
            setattr(network.get_submodule(parent), last, nn.Identity())
        case "timm":
            import timm

            network = timm.create_model(backbone.architecture, pretrained=False, num_classes=0)
    return network


def load_network(backbone: Backbone, path: Path) -> nn.Module:
    """Build the network with the weights of a file, in evaluation mode.

    Args:
        backbone: which one.
        path: ``.safetensors`` or a ``torch.save`` of a state dict, with or without the head.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    state = _fitting(named_tensors(read_weights(path), path), backbone, path)
    return load_net(lambda: headless(backbone), state, path, backbone.name)


def random_network(backbone: Backbone, seed: int) -> nn.Module:
    """Build the network with random weights, in evaluation mode.

    Its batch norms have seen blobs and noise: as built, some nets make features of 1e11.
    """

    def make() -> nn.Module:
        network = headless(backbone)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics become those of one batch
        if norms:
            blobs = functional.interpolate(torch.rand(4, 3, 8, 8), size=128, mode="bilinear")
            with torch.no_grad():
                network.train()(2 * torch.cat([blobs, torch.rand(4, 3, 128, 128)]) - 1)
        return network.eval()

    return seeded(make, seed)


def _fitting(state: State, backbone: Backbone, path: Path) -> State:
    """Return the weights by the network's own names, without the head's.

    Raises:
        ConfigError: weights under other names do not come in the network's order.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(backbone.head)}
    if not backbone.by_order:
        return kept
    with torch.device("meta"):  # its own weights are never drawn
        own = headless(backbone).state_dict()
    if own.keys() & kept.keys():
        return kept
    pairs = list(zip(own.items(), kept.values(), strict=False))
    if len(pairs) < len(own) or any(mine.shape != value.shape for (_, mine), value in pairs):
        raise ConfigError(f"{path}: not the shapes of {backbone.name} in its order of layers")
    return {name: value for (name, _), value in pairs}


def filled_network(backbone: Backbone, arrays: Mapping[str, NDArray[Any]]) -> nn.Module:
    """Build the network with weights by its own names, in evaluation mode."""
    with torch.device("meta"):
        network = headless(backbone)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    network.load_state_dict(state, assign=True)  # counters of batches that are absent become 0
    return network.eval()


def normalise(pixels: Tensor, backbone: Backbone) -> Tensor:
    """Return what a network takes in, ``(b, 3, h, w)``, of uint8 pixels ``(b, h, w, 3)``."""
    return standardise(pixels.permute(0, 3, 1, 2).float() / 255, backbone)


def standardise(images: Tensor, backbone: Backbone) -> Tensor:
    """Return what a network takes in of images ``(b, 3, h, w)`` in 0 to 1."""
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1)
        for values in (backbone.mean, backbone.std)
    )
    return (images - mean) / std


def pixel_model(network: nn.Module, backbone: Backbone, device: str) -> Model:
    """Return the model that maps pixels ``(b, h, w, 3)`` to features ``(b, width)``."""
    where = pick_device(device)
    network = network.to(where).to(memory_format=torch.channels_last)  # faster on CPUs too
    return Model(backbone.width, _forward(network, backbone, where))


def _forward(
    network: nn.Module, backbone: Backbone, device: torch.device
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    def forward(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), autocast(device):
            features = network(normalise(to_device(pixels, device), backbone))
        vectors: NDArray[np.float32] = features.float().cpu().numpy()
        return vectors

    return forward
