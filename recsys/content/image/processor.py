"""Images as transformers prepares them for a network, but with Pillow and NumPy alone.

It gives what the library's image processors give with their Pillow backend. (That of torchvision,
its default, shrinks images with other rounding: values differ by one or two of 255.)
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recsys.content.image.decode import DECODE_VERSION, open_image
from recsys.content.image.preprocess import cut_strip
from recsys.errors import ConfigError

__all__ = ["ImageProcessor", "read_processor"]

FILES = ("preprocessor_config.json", "processor_config.json")  # the first one that is there

Sizes = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ImageProcessor:
    """How a file becomes what a network takes in.

    Attributes:
        resize: to a height and width, or to a shorter side; None leaves the size.
        resample: one of Pillow's filters.
        crop: height and width cut out of the middle, on black where the image is smaller.
        scale: the values 0 to 255 are multiplied by it,
        mean: then lessened by this, one a channel,
        std: and divided by this.
    """

    resize: Sizes | int | None
    resample: int
    crop: Sizes | None
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Return one view of an image file, ``(1, height, width, 3)``, values 0 to 255.

        The rest is done beside the network: bytes are a quarter of what a worker would send.

        Raises:
            Unreadable: the file is no image, or is damaged.
        """
        return self.shape(open_image(path))[None]

    @property
    def tag(self) -> str:
        """What a cache key must say beside the digest of the settings."""
        return f"v{DECODE_VERSION}"

    @property
    def size(self) -> Sizes:
        """Height and width of every view.

        Raises:
            ConfigError: it depends on the image.
        """
        if self.crop is not None:
            return self.crop
        if isinstance(self.resize, tuple):
            return self.resize
        raise ConfigError(f"{FILES[0]}: images keep sizes of their own; expected a crop or a size")

    def shape(self, image: Image.Image) -> NDArray[np.uint8]:
        """Scale and crop an RGB image: ``(height, width, 3)``."""
        if isinstance(self.resize, int):
            image = cut_strip(image) if self.crop is not None else image
            shorter, longer = sorted(image.size)
            other = int(self.resize * longer / shorter)
            portrait = image.width <= image.height
            size = (self.resize, other) if portrait else (other, self.resize)
            image = image.resize(size, Image.Resampling(self.resample))
        elif self.resize is not None:
            height, width = self.resize
            image = image.resize((width, height), Image.Resampling(self.resample))
        return _crop(np.asarray(image), self.crop)

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn views ``(n, height, width, 3)`` into a network's ``(n, 3, height, width)``."""
        scale = np.float32(self.scale) / np.array(self.std, dtype=np.float32)
        shift = np.array(self.mean, dtype=np.float32) / np.array(self.std, dtype=np.float32)
        values = pixels * scale - shift
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def read_processor(folder: Path, int_means: Literal["shorter side", "square"]) -> ImageProcessor:
    """Read a processor's settings as transformers saved them.

    Args:
        folder: of the network.
        int_means: what a single number for a size stands for, in old files.

    Raises:
        ConfigError: there are no settings, or they ask for something else than size, crop and
            normalisation.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise ConfigError(f"{folder}: holds no {FILES[0]}; name a folder that has one")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        given = given.get("image_processor", given)
        normalises = given.get("do_normalize", True)
        processor = ImageProcessor(
            resize=_resize(given["size"], int_means) if given.get("do_resize", True) else None,
            resample=int(given.get("resample", Image.Resampling.BICUBIC)),
            crop=_crop_size(given["crop_size"]) if given.get("do_center_crop", False) else None,
            scale=given.get("rescale_factor", 1 / 255) if given.get("do_rescale", True) else 1.0,
            mean=_three(given["image_mean"]) if normalises else (0.0, 0.0, 0.0),
            std=_three(given["image_std"]) if normalises else (1.0, 1.0, 1.0),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected size, crop_size, image_mean, image_std as transformers writes "
            f"them, found otherwise ({type(error).__name__}: {error})"
        ) from None
    _ = processor.size
    return processor


def _resize(size: Any, int_means: str) -> Sizes | int:
    if isinstance(size, dict):
        if "shortest_edge" in size:
            return int(size["shortest_edge"])
        return int(size["height"]), int(size["width"])
    return int(size) if int_means == "shorter side" else (int(size), int(size))


def _crop_size(size: Any) -> Sizes:
    if isinstance(size, dict):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, list) else [values] * 3
    return float(red), float(green), float(blue)


def _crop(pixels: NDArray[np.uint8], size: Sizes | None) -> NDArray[np.uint8]:
    """Cut ``(height, width, 3)`` out of the middle, on black where there is less."""
    if size is None or pixels.shape[:2] == size:
        return pixels
    before = [max(0, -((have - want) // 2)) for have, want in zip(pixels.shape, size, strict=False)]
    after = [
        max(0, want - have - pad)
        for have, want, pad in zip(pixels.shape, size, before, strict=False)
    ]
    padded = np.pad(pixels, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
    top, left = ((have - want) // 2 for have, want in zip(padded.shape, size, strict=False))
    return padded[top : top + size[0], left : left + size[1]]
