"""What the nets for sound share: torch, weights out of a file, and a model of them."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.content.encoder import Model
from recsys.device import autocast, pick_device, to_device
from recsys.errors import ConfigError

__all__ = ["as_model", "load_net", "random_net", "read_torch"]


def read_torch(path: Path) -> Any:
    """Return what a file of torch holds: tensors and plain values, no code of any kind.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{path}: not weights of torch: {reason}") from None


def load_net(make: Callable[[], nn.Module], state: Any, source: Path) -> nn.Module:
    """Return a net with given weights, in single precision.

    Args:
        make: makes the net; its own random weights are never drawn.
        state: tensors by name.
        source: whence they are, for messages.

    Raises:
        ConfigError: they are of another net.
    """
    if not isinstance(state, Mapping):
        raise ConfigError(f"{source}: expected tensors by name, got {type(state).__name__}")
    with torch.device("meta"):
        net = make()
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ConfigError(
            f"{source}: weights of another net than {type(net).__name__}: {lines[-1][:200]}"
        ) from None
    return net.float()


def random_net(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Make a net with the same random weights every time, for tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def as_model(net: nn.Module, dim: int, device: str) -> Model:
    """Return a model that maps windows (b, ...) to vectors (b, dim) by a net."""
    place = pick_device(device)
    net = net.to(place).eval()

    @torch.inference_mode()
    def forward(views: NDArray[np.float32]) -> NDArray[np.float32]:
        with autocast(place):
            vectors: Tensor = net(to_device(views, place))
        return vectors.float().cpu().numpy()

    return Model(dim, forward)
