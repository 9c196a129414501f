"""Image files -> RGB images, or the reason why a file is none.

What is drawn is what a person would be shown: the first frame, turned upright, on white where it
is transparent. Only common formats are read: some that Pillow knows start other programs (EPS) or
take any bytes for an image (TGA).
"""

import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from recsys.content.encoder import Unreadable

__all__ = ["DECODE_VERSION", "MAX_PIXELS", "open_image"]

DECODE_VERSION = 1  # of what the pixels of a file are; part of every image encoder's name
MAX_PIXELS = 89_000_000  # width x height, by the header; Pillow's own warning comes just above
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")

# What Pillow raises on damaged files: the first line by flipping bytes of all these formats, the
# second by its own issues.
DAMAGE = (
    *(OSError, ValueError, SyntaxError, RuntimeError),
    *(EOFError, TypeError, LookupError, OverflowError, MemoryError, struct.error, zlib.error),
)
STRIP_ROWS = 64  # of a grey image that are converted at once
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(path: Path, shorter_side: int | None = None) -> Image.Image:
    """Return the image in a file, mode RGB, upright, 8 bits a channel.

    Greys of 16 bits are scaled to 8; of those in float or 32 bits, whose white is not known, the
    smallest value becomes black and the largest white. Transparency lies on white.

    Args:
        path: a file of one of ``FORMATS``; its name does not matter.
        shorter_side: what the caller will shrink the image to, in pixels. A JPEG at least four
            times as large is then decoded at a half, a quarter or an eighth of its size, still at
            least twice as large as asked for; other images are as without it.

    Raises:
        Unreadable: it is not a regular file or no image, is damaged or cut short, or its header
            announces more than ``MAX_PIXELS``; nothing is decoded then.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable(getattr(error, "strerror", None) or "not a file name") from None
    if not stat.S_ISREG(mode):  # reading a pipe or a device might never end
        raise Unreadable("a folder" if stat.S_ISDIR(mode) else "not a regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata: the image is what counts
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _read(path, shorter_side)
        except BOMBS:
            raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
        except UnidentifiedImageError:
            raise Unreadable(_what_else(path)) from None
        except DAMAGE as error:
            raise Unreadable(_damage(error)) from None


def _read(path: Path, shorter_side: int | None) -> Image.Image:
    """Open, decode and convert; raises what Pillow raises."""
    with Image.open(path, formats=_formats()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if shorter_side is not None and image.format in {"JPEG", "MPO"}:
            image.draft(None, (2 * shorter_side, 2 * shorter_side))
        image.load()
        method = UPRIGHT.get(_orientation(image))
        upright = image if method is None else image.transpose(method)
        return _to_rgb(upright)


@cache
def _formats() -> list[str]:
    """Those of ``FORMATS`` that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where the metadata are damaged: the pixels are not."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert from whatever mode; raises ValueError for a mode that has no way to RGB."""
    if image.mode.startswith("I;16"):
        return _grey(image, 0.0, 65535.0)
    if image.mode in {"I", "F"}:
        low, high = _range(image)
        if image.mode == "I" and low >= 0 and high <= 65535:  # 16 bits, read as 32
            low, high = 0.0, 65535.0
        return _grey(image, low, high)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield a grey image by some rows ``(rows, w)`` at a time, with the number of the first.

    All rows at once, in numbers of 64 bits and what is made of them, took 30 bytes a pixel.
    """
    for top in range(0, image.height, STRIP_ROWS):
        rows = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        yield top, np.asarray(rows).astype(np.float64)


def _range(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest finite value; raises ValueError where none is finite."""
    low, high = np.inf, -np.inf
    for _, values in _strips(image):
        finite = values[np.isfinite(values)]
        low, high = finite.min(initial=low), finite.max(initial=high)
    if low > high:
        raise ValueError("no finite value")
    return float(low), float(high)


def _grey(image: Image.Image, black: float, white: float) -> Image.Image:
    """Return a grey image as RGB of 8 bits; what is not finite becomes black."""
    spread = max(white - black, np.finfo(np.float64).tiny)
    made = Image.new("RGB", image.size)
    for top, values in _strips(image):
        levels = np.nan_to_num((values - black) / spread, nan=0.0, posinf=1.0, neginf=0.0)
        made.paste(Image.fromarray(np.rint(255 * levels).astype(np.uint8)), (0, top))
    return made


def _what_else(path: Path) -> str:
    """Say what a file is that is no image; web pages saved as images are the usual case."""
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if not head:
        return "empty file"
    web_page = head.startswith((b"<!doctype html", b"<html"))
    return "a web page, not an image" if web_page else "not an image of a known format"


def _damage(error: BaseException) -> str:
    """Put an exception of Pillow into few words."""
    said = str(error).partition("\n")[0]
    if "truncated" in said.lower():
        return "truncated image"
    return f"damaged image ({said[:60] or type(error).__name__})"
