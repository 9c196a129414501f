"""Altered copies of contents: a good encoder should know them again.

Text loses words, images are cropped, mirrored and recoloured, sounds get noise and another volume.
Copies of files are new files, without loss, so that encoders read them as they read any other.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageEnhance, ImageOps

from recsys.content.audio.decode import LONGEST
from recsys.content.encoder import Unreadable
from recsys.content.image.decode import open_image

__all__ = ["altered_image", "altered_sound", "altered_text"]

KEPT_WORDS = 0.8
KEPT_SIDE = 0.8  # of the width and the height, after a crop
JITTER = 0.3  # brightness, contrast and colour change by a factor of 1 - JITTER to 1 + JITTER
NOISE = 0.05  # standard deviation, as a share of the sound's own: 26 dB below it
GAIN_DB = 6.0  # louder or softer by up to this


def altered_text(text: str, draw: np.random.Generator, *, kept: float = KEPT_WORDS) -> str:
    """Drop words (what white space delimits) at random: never all, and of several at least one.

    Args:
        text: of one word comes back as it is.
        draw: which words.
        kept: the chance of a word to stay, 0 to 1.
    """
    words = text.split()
    stays = draw.random(len(words)) < kept
    if len(words) > 1 and stays.all():
        stays[draw.integers(len(words))] = False
    elif words and not stays.any():
        stays[draw.integers(len(words))] = True
    return " ".join(word for word, stay in zip(words, stays, strict=True) if stay)


def altered_image(path: Path, stem: Path, draw: np.random.Generator) -> Path:
    """Crop to 80 % of each side, mirror, and change brightness, contrast and colour.

    Args:
        path: of the image.
        stem: of the copy, less its suffix.
        draw: where it is cropped, and how much it is changed.

    Returns:
        The copy, a PNG.

    Raises:
        Unreadable: it is no image.
    """
    image, copy = open_image(path), stem.with_suffix(".png")
    width, height = (max(1, round(KEPT_SIDE * side)) for side in image.size)
    left = int(draw.integers(image.width - width + 1))
    upper = int(draw.integers(image.height - height + 1))
    image = ImageOps.mirror(image.crop((left, upper, left + width, upper + height)))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(draw.uniform(1 - JITTER, 1 + JITTER)))
    image.save(copy)
    return copy


def altered_sound(path: Path, stem: Path, draw: np.random.Generator) -> Path:
    """Add white noise 26 dB below the sound, and make it louder or softer by up to 6 dB.

    Args:
        path: of the sound; what encoders do not hear of a long one is not in the copy.
        stem: of the copy, less its suffix.
        draw: the noise and the volume.

    Returns:
        The copy, a WAV of 32-bit floats.

    Raises:
        Unreadable: it is no sound.
    """
    import soundfile  # here: an extra

    copy = stem.with_suffix(".wav")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            samples = file.read(LONGEST * rate, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise Unreadable(f"not a sound: {error}") from None
    soundfile.write(copy, _noisy(samples, draw), rate, subtype="FLOAT")
    return copy


def _noisy(samples: NDArray[np.float32], draw: np.random.Generator) -> NDArray[np.float32]:
    """Samples ``(time, channels)`` with noise and another volume."""
    noise = draw.standard_normal(samples.shape, dtype=np.float32) * (NOISE * samples.std())
    gain = 10 ** (draw.uniform(-GAIN_DB, GAIN_DB) / 20)
    return np.asarray((samples + noise) * gain, dtype=np.float32)
