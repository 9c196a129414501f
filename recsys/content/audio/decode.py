"""From a sound file to samples: any format, rate and number of channels; or why not.

Files are read block by block, and each block is mixed down and resampled before the next one is
read: of ten minutes at 48 kHz in stereo only the mono samples at the wanted rate are ever held
whole, twice while they are joined.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Unreadable

__all__ = ["DECODE_VERSION", "LONGEST", "read_sound", "resample"]

DECODE_VERSION = 1  # of what the samples of a file are; part of every sound encoder's name
LONGEST = 600  # seconds; what follows is not heard
SHORTEST = 0.01  # seconds; less is a click
SILENCE = 1e-4  # of full scale (-80 dB, three steps of 16 bits): what never moves by more is silent
ABSURD = 2.0**31  # times full scale: samples that are no sound in any integer format
RATES = (1_000, 768_000)  # hertz; others are a broken header
BLOCK = 2**18  # samples of all channels that are read at once
FINEST = 2_000  # largest denominator of a ratio of rates: pitch is right within 3e-7
TAPS = 10  # half length of scipy's filter, in samples of the slower of the two rates

Samples = NDArray[np.float32]


def read_sound(path: Path, rate: int) -> Samples:
    """Return a file as mono samples (n,) in [-1, 1] at a rate.

    Any format of libsndfile: WAV, FLAC, Ogg, MP3, AIFF and others. Channels are averaged; of a
    sound longer than ten minutes the first ten count; what is louder than full scale, which float
    formats can hold, is scaled down to it.

    Args:
        path: a file; its content, not its ending, says what it is.
        rate: samples per second of the result, in hertz.

    Raises:
        Unreadable: it is no sound, silence, shorter than 10 ms, or holds NaN or infinity.
    """
    import soundfile  # here: an extra

    if path.suffix.lower() == ".raw":  # soundfile asks the caller for rate and channels
        raise Unreadable("samples without a header")
    try:
        if not path.is_file():
            raise Unreadable("not a file")
        with soundfile.SoundFile(path) as file:
            samples = _resampled(file, rate)
    except soundfile.LibsndfileError as error:
        raise Unreadable(f"not a sound: {error.error_string}") from None
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be opened") from None
    if len(samples) < SHORTEST * rate:
        raise Unreadable("shorter than 10 ms")
    low, high = float(samples.min()), float(samples.max())
    if high - low < 2 * SILENCE:
        raise Unreadable("silence")
    peak = max(-low, high)
    return samples / np.float32(peak) if peak > 1 else samples


def resample(blocks: Iterator[Samples], up: int, down: int) -> Iterator[Samples]:
    """Yield blocks of samples at ``up / down`` times their rate.

    Joined they are what ``scipy.signal.resample_poly`` makes of all samples at once: each block is
    filtered with enough of its neighbours on both sides.
    """
    from scipy.signal import resample_poly

    around = down * (1 + TAPS * max(up, down) // (up * down))  # samples the filter sees on a side
    step = down * max(1, BLOCK // down)  # a multiple of ``down``: blocks begin on an output sample
    held = np.zeros(around, np.float32)  # the end of what is done, then what is not
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= around + step + around:
            out = resample_poly(held[: around + step + around], up, down)
            yield out[around // down * up :][: step // down * up]
            held = held[step:]
    left = len(held) - around
    if left:
        out = resample_poly(held, up, down)
        yield out[around // down * up :][: -(-left * up // down)]


def _resampled(file: Any, rate: int) -> Samples:
    """Read an open `soundfile.SoundFile` to its end, or as far as it counts."""
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise Unreadable(f"{file.samplerate} samples a second")
    ratio = Fraction(rate, file.samplerate).limit_denominator(FINEST)
    blocks = _mono(file)
    if ratio != 1:
        blocks = resample(blocks, ratio.numerator, ratio.denominator)
    parts = list(blocks)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mono(file: Any) -> Iterator[Samples]:
    """Yield the mean of the channels, block by block."""
    left = LONGEST * file.samplerate
    while left > 0:
        block = file.read(min(left, 1 + BLOCK // file.channels), np.float32, always_2d=True)
        if len(block) == 0:
            return
        if not np.isfinite(block).all():
            raise Unreadable("NaN or infinity among the samples")
        if np.abs(block).max() > ABSURD:
            raise Unreadable("samples beyond every scale")
        left -= len(block)
        yield block.mean(axis=1, dtype=np.float32)
