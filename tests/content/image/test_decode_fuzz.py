"""Any bytes are an image or unreadable: nothing else comes out of the decoder."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from recsys.content.encoder import Unreadable
from recsys.content.image.decode import open_image

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)
GREY16 = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
TURNED = Image.Exif()
TURNED[0x0112] = 6


def saved(form: str, image: Image.Image = IMAGE, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


PNG = saved("PNG")
SEEDS = [
    *(saved(form) for form in ("JPEG", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM")),
    *([saved("AVIF")] if features.check("avif") else []),  # raises RuntimeErrors
    *(PNG, saved("PNG", GREY16), saved("TIFF", GREY16)),
    saved("PNG", IMAGE.convert("RGBA"), exif=TURNED),
    saved("PNG", IMAGE.quantize(8), transparency=3),
    saved("JPEG", exif=TURNED, progressive=True),
    saved("JPEG", IMAGE.convert("CMYK")),
    saved("GIF", save_all=True, append_images=[IMAGE.rotate(9)]),
    saved("TIFF", compression="tiff_lzw"),
]
flips = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300) | st.binary(max_size=60).map(lambda end: PNG[:40] + end))
def test_any_bytes(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    image_or_unreadable(tmp_path_factory.getbasetemp() / "fuzz", content)


@settings(max_examples=400, deadline=None)
@given(content=st.sampled_from(SEEDS), changes=flips, end=st.integers(0, 2**31))
def test_damaged_images(
    content: bytes,
    changes: list[tuple[int, int]],
    end: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    keep = len(damaged) if end % 2 else end % len(damaged)
    image_or_unreadable(tmp_path_factory.getbasetemp() / "fuzz", bytes(damaged[:keep]))


def image_or_unreadable(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        image = open_image(path, 8)
    except Unreadable as reason:
        assert str(reason)
    else:
        assert image.mode == "RGB" and image.width > 0 and image.height > 0
