"""Where tensors live and in which precision: the one module that knows CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.errors import ConfigError

__all__ = ["autocast", "generator_states", "pick_device", "set_generator_states", "to_device"]


def pick_device(name: str, number: int = 0) -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA where there is one, else the CPU.

    Args:
        name: auto, cpu, cuda or cuda:N.
        number: which GPU, where the name leaves that open.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device = {name!r}: no CUDA device is here; use auto or cpu")
    if name == "cuda" and number:
        return torch.device("cuda", number)
    return device


@contextmanager
def autocast(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Multiply matrices in bf16: on CUDA always, on the CPU where ``precision`` is "bfloat16".

    A CPU is fast at it only with AMX or the like; in float32 results repeat between machines.
    """
    lower = device.type == "cuda" or precision == "bfloat16"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=lower):
        yield


def generator_states(device: torch.device) -> tuple[Tensor, ...]:
    """Where torch's generators stand, uint8: the CPU's, and the GPU's if that is the device."""
    if device.type != "cuda":
        return (torch.get_rng_state(),)
    return torch.get_rng_state(), torch.cuda.get_rng_state(device)


def set_generator_states(states: tuple[Tensor, ...], device: torch.device) -> None:
    """Bring torch's generators to where `generator_states` found them."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device, without waiting for the copy where that can be.

    Not by way of pinned memory: to pin small arrays takes longer than all there is to copy.
    """
    return torch.from_numpy(array).to(device, non_blocking=True)
