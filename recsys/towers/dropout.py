"""Dropout with cheap random numbers: drawing them can take a fifth of a step on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dropout"]

LEVELS = 256  # of a random byte: probabilities are rounded to 1 / 256


def dropout(values: Tensor, probability: float, training: bool) -> Tensor:
    """Zero values with a probability, scale the others so that the mean stays the same.

    As ``torch.nn.functional.dropout``, but one random byte decides on the CPU instead of a float.

    Args:
        values: of any shape.
        probability: in [0, 1).
        training: otherwise the values are returned as they are.
    """
    if not training or not probability:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, probability, training)
    least = min(round(probability * LEVELS), LEVELS - 1)
    words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    random = words.view(torch.uint8)[: values.numel()].view(values.shape)
    scale = LEVELS / (LEVELS - least)
    return values * (random >= least).to(values.dtype).mul_(scale)
