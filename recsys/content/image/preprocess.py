"""From an image file to the pixels that a network wants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsys.content.image.decode import DECODE_VERSION, open_image

__all__ = ["Preprocess", "cut_strip"]

STRIP = 20  # longer than so many times its width, an image is cut before it is resized
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """Resizes the shorter side, with antialiasing, and cuts out the centre: a `Decode`.

    Pixel for pixel what ``Resize(resize)`` and ``CenterCrop(crop)`` of torchvision make of the same
    `PIL` image, but for two cases: JPEGs at least four times as large as wanted are decoded smaller
    (`open_image`), and strips of 1 : 20 and longer, which would fill the memory, are cut first.

    Attributes:
        resize: the shorter side after resizing, in pixels.
        crop: the side of the square, in pixels; at most ``resize``.
        interpolation: between pixels.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]

    @property
    def tag(self) -> str:
        """What a cache key must say of it."""
        return f"{self.resize}-{self.crop}-{self.interpolation}-v{DECODE_VERSION}"

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Return one view ``(1, crop, crop, 3)``, RGB; raises `Unreadable` as `open_image` does."""
        return self.pixels(open_image(path, self.resize))[None]

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the pixels ``(crop, crop, 3)`` of an RGB image."""
        image = cut_strip(image)
        short = min(image.size)
        # torchvision's rounding: down for the longer side, half to even for the corner
        width, height = (int(self.resize * side / short) for side in image.size)
        if image.size != (width, height):
            image = image.resize((width, height), FILTERS[self.interpolation])
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return np.asarray(image.crop((left, top, left + self.crop, top + self.crop)))


def cut_strip(image: Image.Image) -> Image.Image:
    """Cut the ends off a strip: scaled up, it would be millions of pixels that no crop keeps."""
    width, height = image.size
    if max(width, height) <= STRIP * min(width, height):
        return image
    new_width, new_height = min(width, STRIP * height), min(height, STRIP * width)
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return image.crop((left, top, left + new_width, top + new_height))
