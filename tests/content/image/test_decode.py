"""Odd and broken image files, built here."""

import io
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from recsys.content.encoder import Unreadable
from recsys.content.image.decode import MAX_PIXELS, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
Pixels = NDArray[np.uint8]


def saved(image: Image.Image, form: str, **how: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def smooth(height: int, width: int) -> Image.Image:
    """An image that survives JPEG well: a gradient in each channel."""
    y, x = np.mgrid[0 : 1 : 1j * height, 0 : 1 : 1j * width]
    return Image.fromarray(np.uint8(255 * np.stack([x, y, (x + 1 - y) / 2], axis=-1)))


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    """32 pixels wide, 16 high, in two colours."""
    image = Image.new("RGB", (32, 16), left)
    image.paste(right, (16, 0, 32, 16))
    return image


def ycck_jpeg(image: Image.Image) -> bytes:
    """A JPEG as Photoshop writes CMYK: YCbCr of the inks and K, all inverted, Adobe transform 2."""
    cyan, magenta, yellow, black = image.convert("CMYK").split()
    luma = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr")
    channels = [channel.point(lambda value: 255 - value) for channel in luma.split()]
    file = bytearray(saved(Image.merge("CMYK", [*channels, black]), "JPEG", quality=95))
    transform = file.index(b"Adobe") + 11
    assert file[transform] == 0
    file[transform] = 2
    return bytes(file)


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """A one-bit PNG of any size, its pixels left out or compressed to almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def grey16(form: str) -> bytes:
    """Four columns from black to white in 16 bits."""
    columns = np.array([0, 256 * 64, 256 * 128 + 128, 65535], dtype=np.uint16)
    return saved(Image.fromarray(np.tile(columns, (3, 1))), form)


def upright_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def palette(transparent: bool) -> Image.Image:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (4, 0, 8, 8))
    if transparent:
        image.info["transparency"] = 1
    return image


def rgb(path: Path, content: bytes, shorter_side: int | None = None) -> Pixels:
    path.write_bytes(content)
    image = open_image(path, shorter_side)
    assert image.mode == "RGB"
    return np.asarray(image)


JPEG = saved(smooth(64, 48), "JPEG")
PNG = saved(smooth(64, 48), "PNG")
GIF = saved(palette(False), "GIF")
BROKEN: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "empty"),
    "one byte": (b"\xff", "not an image"),
    "text": (b"Kein Bild\n", "not an image"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "zip": (b"PK\x03\x04" + bytes(100), "not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
    "JPEG short of 20 bytes": (JPEG[:-20], "truncated"),
    "half a progressive JPEG": (saved(smooth(64, 48), "JPEG", progressive=True)[:-40], "truncated"),
    "a JPEG's first 2 bytes": (JPEG[:2], "image"),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated"),
    "a PNG's header": (PNG[:33], "image"),
    "half a GIF": (GIF[: len(GIF) - 8], "truncated"),
    "half a WebP": (saved(smooth(64, 48), "WEBP")[:100], "image"),
    "half a TIFF": (saved(smooth(64, 48), "TIFF")[:5000], "image"),
    "half a BMP": (saved(smooth(64, 48), "BMP")[:5000], "truncated"),
    "PNG with a wrong checksum": (PNG[:29] + b"\0\0\0\0" + PNG[33:], "image"),
    "PNG with a wrong length": (grey16("PNG")[:36] + b"\6" + grey16("PNG")[37:], "broken PNG"),
    "PNG without pixels": (png_header(5, 5), "image"),
    "bomb of 30,000 a side": (
        png_header(30_000, 30_000, zlib.compress(bytes(3751 * 30_000), 9)),
        "more than 89,000,000 pixels",
    ),
    "bomb that Pillow only warns of": (png_header(9_500, 9_500), "more than 89,000,000 pixels"),
    "just above the limit": (png_header(MAX_PIXELS // 100 + 1, 100), "more than 89,000,000 pixels"),
    "float without numbers": (
        saved(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF"),
        "damaged",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_image_is_unreadable_with_a_reason(kind: str, tmp_path: Path) -> None:
    content, reason = BROKEN[kind]
    path = tmp_path / "poster.jpg"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Unreadable, match=reason) as raised:
            open_image(path)
    assert str(tmp_path) not in str(raised.value) and len(str(raised.value)) < 90


def test_a_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: object) -> None:
        raise SystemError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    path = tmp_path / "bomb.png"
    path.write_bytes(BROKEN["bomb of 30,000 a side"][0])
    with pytest.raises(Unreadable, match="pixels"):
        open_image(path)
    path.write_bytes(PNG)
    with pytest.raises(SystemError):  # the trap works
        open_image(path)


def test_what_is_no_regular_file_is_unreadable(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    named = {
        tmp_path: "folder",
        Path(os.devnull): "regular",
        pipe: "regular",  # opening it would wait for ever
        tmp_path / "absent": "No such file",
        Path("nul\0"): "name",
    }
    for path, reason in named.items():
        with pytest.raises(Unreadable, match=reason):
            open_image(path)


def test_one_pixel(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        rgb(tmp_path / "x", saved(Image.new("RGB", (1, 1), GREEN), "PNG")), [[GREEN]]
    )


@pytest.mark.parametrize("write", [lambda im: saved(im.convert("CMYK"), "JPEG"), ycck_jpeg])
def test_four_inks_keep_their_colours(
    write: Callable[[Image.Image], bytes], tmp_path: Path
) -> None:
    image = smooth(64, 48)
    got = rgb(tmp_path / "x", write(image))
    assert np.abs(got.astype(int) - np.asarray(image)).mean() < 3  # inverted: above 60


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(form: str, tmp_path: Path) -> None:
    got = rgb(tmp_path / "x", grey16(form))
    np.testing.assert_array_equal(got, np.tile(np.array([0, 64, 128, 255])[:, None], (3, 1, 3)))


def test_greys_are_converted_in_little_memory(tmp_path: Path) -> None:
    side = 2000
    columns = np.linspace(0, 65535, side).astype(np.uint16)
    path = _write(tmp_path / "x", saved(Image.fromarray(np.tile(columns, (side, 1))), "PNG"))
    tracemalloc.start()  # counts NumPy's arrays, not the 2 + 4 bytes a pixel in Pillow's images
    image = open_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * side**2
    expected = np.rint(255 * (columns / 65535)).astype(np.uint8)
    np.testing.assert_array_equal(
        np.asarray(image), np.broadcast_to(expected[:, None], (side, side, 3))
    )


def test_greys_without_a_known_white_are_stretched(tmp_path: Path) -> None:
    values = np.array([[-3.0, -1.0, 1.0], [np.inf, np.nan, 0.0]], dtype=np.float32)
    got = rgb(tmp_path / "x", saved(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(got[..., 0], [[0, 128, 255], [255, 0, 191]])
    wide = np.array([[0, 2**30, 2**31 - 1]], dtype=np.int32)
    got = rgb(tmp_path / "x", saved(Image.fromarray(wide), "TIFF"))
    np.testing.assert_array_equal(got[0, :, 0], [0, 128, 255])


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    got = rgb(tmp_path / "x", saved(palette(True), "PNG", transparency=1))
    np.testing.assert_array_equal(got[0, [0, 7]], [RED, WHITE])
    half = saved(Image.new("RGBA", (2, 2), (*RED, 128)), "PNG")
    np.testing.assert_array_equal(rgb(tmp_path / "x", half)[0, 0], [255, 127, 127])
    grey = saved(Image.new("LA", (2, 2), (9, 0)), "PNG")
    np.testing.assert_array_equal(rgb(tmp_path / "x", grey)[0, 0], WHITE)
    keyed = saved(halves(RED, BLUE), "PNG", transparency=BLUE)
    np.testing.assert_array_equal(rgb(tmp_path / "x", keyed)[0, [0, 31]], [RED, WHITE])


def test_opaque_palette_and_two_levels(tmp_path: Path) -> None:
    got = rgb(tmp_path / "x", saved(palette(False), "PNG"))
    np.testing.assert_array_equal(got[0, [0, 7]], [RED, BLUE])
    bits = Image.new("1", (3, 3), 1)
    np.testing.assert_array_equal(rgb(tmp_path / "x", saved(bits, "PNG"))[0, 0], WHITE)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(form: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    got = rgb(tmp_path / "x", saved(first, form, save_all=True, append_images=[second]))
    np.testing.assert_allclose(got[8, 8], RED, atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation: int, tmp_path: Path) -> None:
    """Stored such that viewers, who obey the tag, show red left and blue right."""
    shown = halves(RED, BLUE)
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the tag says: turn by 90 degrees clockwise
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = shown.transpose(back[orientation]) if orientation > 1 else shown
    exif = upright_exif(orientation)
    got = rgb(tmp_path / "x", saved(stored, "JPEG", exif=exif, quality=95))
    assert got.shape == (16, 32, 3)
    np.testing.assert_allclose(got[8, [4, 28]], [RED, BLUE], atol=12)
    np.testing.assert_array_equal(
        rgb(tmp_path / "x", saved(stored, "PNG", exif=exif)), np.asarray(shown)
    )


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_metadata_do_not_hide_the_image(exif: bytes, tmp_path: Path) -> None:
    assert rgb(tmp_path / "x", saved(smooth(64, 48), "JPEG", exif=exif)).shape == (64, 48, 3)


def test_large_photos_are_decoded_small_and_small_ones_as_they_are(tmp_path: Path) -> None:
    large = saved(smooth(1600, 1000), "JPEG", quality=95)
    drafted = open_image(_write(tmp_path / "x", large), 64)
    assert drafted.size == (250, 400)
    whole = open_image(tmp_path / "x")
    assert whole.size == (1000, 1600)
    difference = np.asarray(drafted, dtype=int) - np.asarray(whole.resize(drafted.size))
    assert np.abs(difference).mean() < 2
    for content in (saved(smooth(255, 400), "JPEG"), PNG):
        path = _write(tmp_path / "x", content)
        np.testing.assert_array_equal(
            np.asarray(open_image(path, 64)), np.asarray(open_image(path))
        )


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
