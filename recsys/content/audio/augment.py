"""Altered views of log-mel spectrograms, each on its own: what other recordings of a sound are.

Two parts of one sound are views of it (COLA: Saeed et al., 2021); as little counts how loud it is,
what hisses along, and what is missing for a moment or in a band (SpecAugment: Park et al., 2019).
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor

from recsys.content.audio.mel import MelFrontEnd, mel_bank

__all__ = ["alter", "crop", "disturb", "hide", "to_log", "to_power"]

GAIN_DB = 9.0  # louder or softer by up to this
QUIET_DB, LOUD_DB = 40.0, 15.0  # how far the noise lies below the sound, at least and at most
HIDDEN = 0.25  # largest share of the frames that is hidden, and of the bands


def alter(pieces: Tensor, frames: int, front: MelFrontEnd, random: Generator) -> Tensor:
    """Return views ``(b, frames, bands)`` of pieces of sounds ``(b, k, length, bands)``.

    Args:
        pieces: log-mel spectrograms by ``front``; of any float.
        frames: of a view; at most ``length``.
        front: whence the spectrograms are.
        random: lives where the pieces are.
    """
    return hide(disturb(crop(pieces, frames, random), front, random), random)


def crop(pieces: Tensor, frames: int, random: Generator) -> Tensor:
    """Cut ``frames`` at random out of one random piece of each of ``(b, k, length, bands)``."""
    n, k, length, _ = pieces.shape
    where = pieces.device
    piece = torch.randint(k, (n, 1), generator=random, device=where)
    first = torch.randint(length - frames + 1, (n, 1), generator=random, device=where)
    row = torch.arange(n, device=where)[:, None]
    return pieces[row, piece, first + torch.arange(frames, device=where)].float()


def disturb(views: Tensor, front: MelFrontEnd, random: Generator) -> Tensor:
    """Add noise to each of ``(b, frames, bands)``, and make it louder or softer.

    Half of the views get white noise, half noise with the spectrum of the sound itself, so that
    bands which a recording lacks are not always filled. Powers of sound and noise add up; that of
    noise is exponentially distributed.
    """
    power = to_power(views, front)
    n = len(views)
    white = torch.from_numpy(mel_bank(front).sum(axis=0) ** np.float32(2 / front.power))
    level = power.mean(dim=(1, 2), keepdim=True)
    colour = torch.where(
        (_uniform(n, -1, 1, views, random) > 0).view(n, 1, 1),
        level * (white / white.mean()).to(views.device),
        power.mean(dim=1, keepdim=True),
    )
    below = _ratio(-_uniform(n, LOUD_DB, QUIET_DB, views, random))
    drawn = -torch.log1p(-torch.rand(power.shape, generator=random, device=views.device))
    gain = _ratio(_uniform(n, -GAIN_DB, GAIN_DB, views, random))
    return to_log((power + drawn * below * colour) * gain, front)


def hide(views: Tensor, random: Generator) -> Tensor:
    """Put the mean of each of ``(b, frames, bands)`` in place of some frames and some bands."""
    n, frames, bands = views.shape
    time = _stretch(n, frames, views, random)[:, :, None]
    band = _stretch(n, bands, views, random)[:, None, :]
    return torch.where(time | band, views.mean(dim=(1, 2), keepdim=True), views)


def to_power(logs: Tensor, front: MelFrontEnd) -> Tensor:
    """Return the powers that a front end's logarithms are of; 0 for silence."""
    if front.log == "ln(x + 0.01)":
        linear = logs.exp() - 0.01
    else:
        linear = torch.expm1(logs * math.log(10)) / 10_000
    return linear.clamp(min=0) ** (2 / front.power)


def to_log(power: Tensor, front: MelFrontEnd) -> Tensor:
    """Return the logarithms that a front end takes of powers."""
    linear = power ** (front.power / 2)
    if front.log == "ln(x + 0.01)":
        return (linear + 0.01).log()
    return torch.log1p(10_000 * linear) / math.log(10)


def _ratio(decibels: Tensor) -> Tensor:
    return (10 ** (decibels / 10)).view(-1, 1, 1)


def _stretch(n: int, length: int, like: Tensor, random: Generator) -> Tensor:
    """Mark one random stretch in each of n rows ``(n, length)``, of at most ``HIDDEN`` of it."""
    width = _uniform(n, 0, HIDDEN * length, like, random)
    first = _uniform(n, 0, 1, like, random) * (length - width)
    at = torch.arange(length, device=like.device)
    return (at >= first[:, None]) & (at < (first + width)[:, None])


def _uniform(n: int, low: float, high: float, like: Tensor, random: Generator) -> Tensor:
    return torch.rand(n, generator=random, device=like.device) * (high - low) + low
