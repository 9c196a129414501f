"""Altered copies of contents: a good encoder should know them again.

Text loses words, images are cropped, mirrored and recoloured, sounds get noise and another volume.
Each copy depends on the seed and its place only. Copies of files are new files, without loss, so
that encoders read them as they read any other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from recsys.errors import DataError

__all__ = ["altered_images", "altered_sounds", "altered_texts"]

KEPT_WORDS = 0.8
KEPT_SIDE = 0.8  # of the width and the height, after a crop
JITTER = 0.3  # brightness, contrast and colour change by a factor of 1 - JITTER to 1 + JITTER
NOISE = 0.05  # standard deviation, as a share of the sound's own: 26 dB below it
GAIN_DB = 6.0  # louder or softer by up to this


def altered_texts(
    texts: Sequence[str | None], *, kept: float = KEPT_WORDS, seed: int = 0
) -> list[str | None]:
    """Drop words at random, but never all of a text.

    Args:
        texts: None where there is none.
        kept: the chance of a word to stay, 0 to 1.
        seed: of the draw.
    """
    return [
        None if text is None else _fewer_words(text, kept, np.random.default_rng([seed, place]))
        for place, text in enumerate(texts)
    ]


def altered_images(
    paths: Sequence[Path | None], folder: Path, *, seed: int = 0
) -> list[Path | None]:
    """Crop to 80 % of each side, mirror, and change brightness, contrast and colour.

    Args:
        paths: None where there is none.
        folder: where the copies are written, as PNG.
        seed: of the draw.

    Raises:
        DataError: an image cannot be read.
    """
    return _altered_files(paths, folder, ".png", _alter_image, seed)


def altered_sounds(
    paths: Sequence[Path | None], folder: Path, *, seed: int = 0
) -> list[Path | None]:
    """Add white noise 26 dB below the sound, and make it louder or softer by up to 6 dB.

    Args:
        paths: None where there is none.
        folder: where the copies are written, as WAV of 32-bit floats.
        seed: of the draw.

    Raises:
        DataError: a sound cannot be read.
    """
    return _altered_files(paths, folder, ".wav", _alter_sound, seed)


def _altered_files(
    paths: Sequence[Path | None],
    folder: Path,
    suffix: str,
    alter: Callable[[Path, Path, np.random.Generator], None],
    seed: int,
) -> list[Path | None]:
    folder.mkdir(parents=True, exist_ok=True)
    copies = [None if path is None else folder / f"{n}{suffix}" for n, path in enumerate(paths)]
    for place, (path, copy) in enumerate(zip(paths, copies, strict=True)):
        if path is not None and copy is not None:
            alter(path, copy, np.random.default_rng([seed, place]))
    return copies


def _fewer_words(text: str, kept: float, draw: np.random.Generator) -> str:
    words = text.split()
    stays = draw.random(len(words)) < kept
    if not stays.any() and words:
        stays[draw.integers(len(words))] = True
    return " ".join(word for word, stay in zip(words, stays, strict=True) if stay)


def _alter_image(path: Path, copy: Path, draw: np.random.Generator) -> None:
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from None
    width, height = (max(1, round(KEPT_SIDE * side)) for side in image.size)
    left = int(draw.integers(image.width - width + 1))
    upper = int(draw.integers(image.height - height + 1))
    image = ImageOps.mirror(image.crop((left, upper, left + width, upper + height)))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(draw.uniform(1 - JITTER, 1 + JITTER)))
    image.save(copy)


def _alter_sound(path: Path, copy: Path, draw: np.random.Generator) -> None:
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{path}: cannot be read as a sound ({error})") from None
    soundfile.write(copy, _noisy(samples, draw), rate, subtype="FLOAT")


def _noisy(samples: NDArray[np.float32], draw: np.random.Generator) -> NDArray[np.float32]:
    """Samples ``(time, channels)`` with noise and another volume."""
    noise = draw.standard_normal(samples.shape, dtype=np.float32) * (NOISE * samples.std())
    gain = 10 ** (draw.uniform(-GAIN_DB, GAIN_DB) / 20)
    return np.asarray((samples + noise) * gain, dtype=np.float32)
