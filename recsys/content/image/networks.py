"""Image networks in torch: built without their heads, filled with weights, called on pixels."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from recsys.content.encoder import Model
from recsys.content.image.backbones import Backbone
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

State = Mapping[str, Tensor]


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
    with torch.device("meta"):  # no time is lost on values that are replaced
        network = headless(backbone)
    state = _fitting(_read(path), network.state_dict(), backbone, path)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: these are not weights of {backbone.name}: {said}") from None
    return network.float().eval()


def random_network(backbone: Backbone, seed: int) -> nn.Module:
    """Build the network with random weights, in evaluation mode.

    Its batch norms have seen blobs and noise: as built, some nets make features of 1e11.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = headless(backbone)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics become those of one batch
        if norms:
            blobs = functional.interpolate(torch.rand(4, 3, 8, 8), size=128, mode="bilinear")
            with torch.no_grad():
                network.train()(2 * torch.cat([blobs, torch.rand(4, 3, 128, 128)]) - 1)
    return network.eval()


def _read(path: Path) -> State:
    """Read a state dict, executing nothing.

    Raises:
        ConfigError: there is none in the file.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(f"{path}: cannot be read as a state dict: {said}") from None
    except SafetensorError as error:
        raise ConfigError(f"{path}: is not a safetensors file: {error}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # as training scripts save it
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{path}: holds no state dict: expected tensors by name")
    return state


def _fitting(state: State, own: State, backbone: Backbone, path: Path) -> State:
    """Return the weights by the network's own names, without the head's.

    Raises:
        ConfigError: weights under other names do not come in the network's order.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(backbone.head)}
    if not backbone.by_order or own.keys() & kept.keys():
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
