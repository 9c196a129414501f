"""Altered views of images, each on its own: crop, flip, colours (Chen et al., 2020, appendix A).

The paper's blur is left out, as the paper does for small images.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["alter", "crop", "recolour"]

SMALLEST = 0.2  # share of the area that a crop keeps
STRETCH = 4 / 3  # of its sides against each other
JITTER, HUE = 0.4, 0.1  # of brightness, contrast, saturation; of a full turn
P_JITTER, P_GREY = 0.8, 0.2
LUMA = (0.299, 0.587, 0.114)


def alter(pixels: Tensor, side: int, random: Generator) -> Tensor:
    """Return views ``(b, 3, side, side)`` in 0 to 1 of images ``(b, h, w, 3)``, uint8."""
    images = pixels.permute(0, 3, 1, 2).float() / 255
    return recolour(crop(images, side, random), random)


def crop(images: Tensor, side: int, random: Generator) -> Tensor:
    """Cut out a random part of each of ``(b, 3, h, w)``, mirror half of them, resize to ``side``.

    A part has 0.2 to 1 of the area and sides at 3 : 4 to 4 : 3, in terms of the image's own.
    """
    n = len(images)
    area = _uniform(n, SMALLEST, 1.0, images, random)
    stretch = _uniform(n, -math.log(STRETCH), math.log(STRETCH), images, random).exp().sqrt()
    width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
    # coordinates run from -1 to 1 over the image: a part of width w may move by 1 - w to each side
    x = _uniform(n, -1, 1, images, random) * (1 - width)
    y = _uniform(n, -1, 1, images, random) * (1 - height)
    mirror = _uniform(n, -1, 1, images, random).sign()
    none = torch.zeros_like(x)
    affine = torch.stack([width * mirror, none, x, none, height, y], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(affine, [n, 3, side, side], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def recolour(images: Tensor, random: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of most of ``(b, 3, h, w)``, grey out some.

    All of it is linear in the colours: one 3 x 3 matrix an image, around its mean for contrast.
    """
    n = len(images)
    jittered = _uniform(n, 0, 1, images, random) < P_JITTER
    bright, contrast, saturation = (
        torch.where(jittered, _uniform(n, 1 - JITTER, 1 + JITTER, images, random), 1.0)
        for _ in range(3)
    )
    turn = torch.where(jittered, _uniform(n, -HUE, HUE, images, random), 0.0) * 2 * math.pi
    grey = _uniform(n, 0, 1, images, random) < P_GREY
    saturation = torch.where(grey, 0.0, saturation)
    luma = torch.tensor(LUMA, device=images.device).expand(3, 3)
    towards_grey = torch.lerp(luma, torch.eye(3, device=images.device), saturation.view(n, 1, 1))
    matrix = (bright * contrast).view(n, 1, 1) * towards_grey @ _rotation(turn)
    changed = torch.einsum("nij,njhw->nihw", matrix, images)
    mean = images.mean(dim=(2, 3)) @ torch.tensor(LUMA, device=images.device)
    return (changed + (bright * (1 - contrast) * mean).view(n, 1, 1, 1)).clamp(0, 1)


def _rotation(turn: Tensor) -> Tensor:
    """Matrices ``(b, 3, 3)`` that turn colours about the grey axis by angles ``(b,)``."""
    cos, sin = turn.cos(), turn.sin()
    same = (1 + 2 * cos) / 3
    before, after = ((1 - cos + sign * math.sqrt(3) * sin) / 3 for sign in (-1, 1))
    rows = [same, before, after, after, same, before, before, after, same]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def _uniform(n: int, low: float, high: float, like: Tensor, random: Generator) -> Tensor:
    return torch.rand(n, generator=random, device=like.device) * (high - low) + low
