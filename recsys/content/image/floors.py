"""Images -> vectors without learning: what a neural encoder must beat."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsys.content.encoder import Model
from recsys.content.file_encoder import FileEncoder
from recsys.content.image.decode import DECODE_VERSION, open_image

__all__ = ["HISTOGRAM_WIDTH", "HOG_WIDTH", "colour_histogram", "floor_encoder", "hog"]

Floats = NDArray[np.float32]

HISTOGRAM_SIDE = 128  # pixels; images are resized to a square
GREY = 26  # of 255: below this saturation a hue is noise
HUES, SATURATIONS, VALUES = 12, 2, 4
BINS = VALUES + HUES * SATURATIONS * VALUES  # greys, then colours
HISTOGRAM_WIDTH = 5 * BINS  # the whole image and its quarters

HOG_SIDE, CELL, ORIENTATIONS, CLIP = 64, 8, 9, 0.2
CELLS = HOG_SIDE // CELL
HOG_WIDTH = (CELLS - 1) ** 2 * 4 * ORIENTATIONS
EPSILON = 1.0  # of squared grey levels in a block: a flat block gives zeros, not noise


def colour_histogram(pixels: NDArray[np.uint8]) -> Floats:
    """Count hues, saturations and values jointly, in the image and in each quarter of it.

    Swain and Ballard (1991), with pixels of little saturation counted as grey by value alone. The
    square root of relative frequencies makes dot products Hellinger affinities.

    Args:
        pixels: ``(s, s, 3)`` hue, saturation, value in 0 to 255; s even.

    Returns:
        ``(HISTOGRAM_WIDTH,)``: five histograms of ``BINS``; length 1 in L2.
    """
    hue, saturation, value = np.moveaxis(pixels.astype(np.int64), -1, 0)
    value = value * VALUES // 256
    coloured = np.clip((saturation - GREY) * SATURATIONS // (256 - GREY), 0, SATURATIONS - 1)
    coloured = ((hue * HUES // 256) * SATURATIONS + coloured) * VALUES + value
    bins = np.where(saturation < GREY, value, VALUES + coloured)
    half = len(bins) // 2
    quarters = bins.reshape(2, half, 2, half).swapaxes(1, 2).reshape(4, -1)
    counts = np.stack([np.bincount(quarter, minlength=BINS) for quarter in quarters])
    joined = np.concatenate([counts.sum(axis=0), counts.ravel()])
    vector: Floats = np.sqrt(joined / joined.sum()).astype(np.float32)
    return vector


def hog(pixels: NDArray[np.uint8]) -> Floats:
    """Histograms of oriented gradients (Dalal and Triggs, 2005).

    The gradient is that of the colour channel where it is strongest, by the filter [-1, 0, 1]. It
    votes with its length for the two nearest of 9 unsigned orientations in the four nearest cells;
    blocks of 2 x 2 cells overlap, each normalised by L2, clipped at 0.2 and normalised again. The
    paper's Gaussian weights within a block are left out, which cost it one per cent.

    Args:
        pixels: ``(HOG_SIDE, HOG_SIDE, 3)``, RGB in 0 to 255.

    Returns:
        ``(HOG_WIDTH,)``: blocks by row and column, each 2 x 2 cells x 9 orientations.
    """
    padded = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    right = padded[1:-1, 2:] - padded[1:-1, :-2]
    strongest = np.argmax(down**2 + right**2, axis=-1)[..., None]
    down, right = (np.take_along_axis(part, strongest, -1)[..., 0] for part in (down, right))
    votes = _votes(np.hypot(down, right), np.arctan2(down, right) % np.pi)
    blocks = np.lib.stride_tricks.sliding_window_view(votes, (2, 2), axis=(0, 1))
    blocks = blocks.transpose(0, 1, 3, 4, 2).reshape(-1, 4 * ORIENTATIONS)
    blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(1, keepdims=True) + EPSILON), CLIP)
    lengths = np.sqrt((blocks**2).sum(1, keepdims=True))
    vector: Floats = (blocks / np.maximum(lengths, CLIP / 10)).ravel().astype(np.float32)
    return vector


def _votes(length: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share gradients ``(s, s)``, angles in 0 to pi, out to ``(CELLS, CELLS, ORIENTATIONS)``."""
    place = (np.arange(HOG_SIDE) + 0.5) / CELL - 0.5  # in cells, from the centre of the first
    orientation = angle / np.pi * ORIENTATIONS - 0.5
    down, right, turn = (np.floor(at).astype(np.int64) for at in (place, place, orientation))
    votes = np.zeros((CELLS + 2, CELLS + 2, ORIENTATIONS))  # with a rim of cells off the image
    for corner in np.ndindex(2, 2, 2):
        row, column, bin_ = down + corner[0], right + corner[1], (turn + corner[2]) % ORIENTATIONS
        weight = length * (1 - np.abs(place - row))[:, None] * (1 - np.abs(place - column))
        weight = weight * (1 - np.abs(orientation - (turn + corner[2])))
        np.add.at(votes, (row[:, None] + 1, column[None] + 1, bin_), weight)
    return votes[1:-1, 1:-1]


def read_histogram(path: Path) -> Floats:
    """Return the `colour_histogram` ``(1, HISTOGRAM_WIDTH)`` of a file; may raise `Unreadable`."""
    image = _square(path, HISTOGRAM_SIDE)
    return colour_histogram(np.asarray(image.convert("HSV")))[None]


def read_hog(path: Path) -> Floats:
    """Return the `hog` ``(1, HOG_WIDTH)`` of a file; may raise `Unreadable`."""
    return hog(np.asarray(_square(path, HOG_SIDE)))[None]


def _square(path: Path, side: int) -> Image.Image:
    """The whole image, squeezed into a square."""
    return open_image(path, side).resize((side, side), Image.Resampling.BILINEAR)


FLOORS = {
    "colour-histogram": (read_histogram, HISTOGRAM_WIDTH),
    "hog": (read_hog, HOG_WIDTH),
}


def floor_encoder(name: str) -> FileEncoder:
    """Make ``"colour-histogram"`` or ``"hog"``; decoding does all the work."""
    decode, width = FLOORS[name]
    return FileEncoder(f"{name}/1-v{DECODE_VERSION}", decode, lambda: Model(width, _as_they_are))


def _as_they_are(vectors: Floats) -> Floats:
    return vectors
