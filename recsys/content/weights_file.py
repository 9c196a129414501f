"""Weights of networks out of files: nothing in a file is executed, nothing is half loaded."""

import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import ConfigError

__all__ = ["load_net", "named_tensors", "read_weights"]

# What torch raises for files of another kind, cut or altered (found by altering thousands).
DAMAGE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, AssertionError, AttributeError),
    *(TypeError, OverflowError, MemoryError, struct.error, pickle.UnpicklingError, SafetensorError),
)


def read_weights(path: Path) -> Any:
    """Return what a file holds: tensors and plain values, no code of any kind.

    Args:
        path: ``.safetensors``, or whatever ``torch.save`` wrote.

    Raises:
        ConfigError: it is no such file, or damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd formats: what is read is checked
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{path}: cannot be read as weights of torch: {said}") from None


def named_tensors(found: Any, path: Path) -> dict[str, Tensor]:
    """Return tensors by name out of what a file holds, as training scripts save it too.

    Raises:
        ConfigError: it holds something else.
    """
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise ConfigError(f"{path}: holds no state dict: expected tensors by name")
    return dict(found)


def load_net(
    make: Callable[[], nn.Module], state: dict[str, Tensor], path: Path, name: str
) -> nn.Module:
    """Return a net with given weights, in single precision and evaluation mode.

    Args:
        make: makes the net; its own random weights are never drawn.
        state: its weights.
        path: whence they are, for messages.
        name: of the net, for messages.

    Raises:
        ConfigError: they are of another net.
    """
    with torch.device("meta"):
        net = make()
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: these are not weights of {name}: {said}") from None
    return net.float().eval()
