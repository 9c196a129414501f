"""Colour histograms and HOG against plain loops."""

import colorsys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.content.encoders import make_encoder
from recsys.content.image import floors
from recsys.content.image.floors import colour_histogram, hog

RNG = np.random.default_rng(0)


def picture(side: int) -> np.ndarray:
    """Blobs of colour with noise, uint8 ``(side, side, 3)``."""
    small = Image.fromarray(RNG.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    blobs = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(blobs + RNG.normal(0, 9, blobs.shape), 0, 255).astype(np.uint8)


def test_histogram_equals_a_plain_loop() -> None:
    side = 16
    pixels = np.asarray(Image.fromarray(picture(side)).convert("HSV")).copy()
    pixels[:4, :, 1] = RNG.integers(0, 40, (4, side))  # greys too
    counts = np.zeros((5, floors.BINS))
    for y in range(side):
        for x in range(side):
            hue, saturation, value = (int(part) for part in pixels[y, x])
            level = value // 64
            if saturation < 26:
                found = level
            else:
                strong = int(saturation >= 26 + 115)
                found = 4 + ((hue * 12 // 256) * 2 + strong) * 4 + level
            counts[0, found] += 1
            counts[1 + 2 * (y >= side // 2) + (x >= side // 2), found] += 1
    expected = np.sqrt(counts.ravel() / counts.sum())
    got = colour_histogram(pixels)
    np.testing.assert_allclose(got, expected, atol=1e-7)
    assert np.linalg.norm(got) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 128, 255), (90, 90, 90), (0, 0, 0)])
def test_one_colour_is_one_bin(colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (8, 8), colour)
    got = colour_histogram(np.asarray(image.convert("HSV")))
    assert np.count_nonzero(got) == 5  # of the whole and of each quarter
    saturation = colorsys.rgb_to_hsv(*(part / 255 for part in colour))[1]
    assert (np.flatnonzero(got)[0] < floors.VALUES) == (saturation == 0)


def plain_hog(pixels: np.ndarray) -> np.ndarray:
    side, cell, cells, bins = 64, 8, 8, 9
    image = pixels.astype(float)
    votes = np.zeros((cells, cells, bins))
    for y in range(side):
        for x in range(side):
            down = image[min(y + 1, side - 1), x] - image[max(y - 1, 0), x]
            right = image[y, min(x + 1, side - 1)] - image[y, max(x - 1, 0)]
            channel = max(range(3), key=lambda c: down[c] ** 2 + right[c] ** 2)
            length = np.hypot(down[channel], right[channel])
            angle = np.degrees(np.arctan2(down[channel], right[channel])) % 180
            for row in range(cells):
                for column in range(cells):
                    near_y = 1 - abs(y + 0.5 - cell * (row + 0.5)) / cell
                    near_x = 1 - abs(x + 0.5 - cell * (column + 0.5)) / cell
                    if near_y <= 0 or near_x <= 0:
                        continue
                    for turn in range(bins):
                        away = abs(angle - 20 * (turn + 0.5))
                        near = 1 - min(away, 180 - away) / 20
                        votes[row, column, turn] += length * near_y * near_x * max(near, 0)
    blocks = []
    for row in range(cells - 1):
        for column in range(cells - 1):
            block = votes[row : row + 2, column : column + 2].ravel()
            block = np.minimum(block / np.sqrt((block**2).sum() + 1), 0.2)
            blocks.append(block / max(np.linalg.norm(block), 0.02))
    return np.concatenate(blocks)


def test_hog_equals_a_plain_loop() -> None:
    pixels = picture(64)
    np.testing.assert_allclose(hog(pixels), plain_hog(pixels), atol=1e-5)


def test_hog_sees_edges_not_brightness() -> None:
    assert not hog(np.full((64, 64, 3), 77, dtype=np.uint8)).any()
    pixels = (picture(64) // 2).astype(np.uint8)
    vector = hog(pixels)
    assert vector.shape == (floors.HOG_WIDTH,)
    np.testing.assert_allclose(np.linalg.norm(vector.reshape(49, 36), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(hog(pixels + np.uint8(90)), vector, atol=1e-5)
    upright = np.zeros((64, 64, 3), dtype=np.uint8)
    upright[:, 32:] = 255  # the gradient points right: angle 0, between the last bin and the first
    blocks = hog(upright).reshape(7, 7, 4, 9)
    assert blocks[:, 3].sum() > 0
    np.testing.assert_array_equal(blocks[..., 1:8], 0)
    np.testing.assert_array_equal(blocks[..., 0], blocks[..., 8])


@pytest.mark.parametrize("name", ["colour-histogram", "hog"])
def test_floors_encode_files(name: str, tmp_path: Path) -> None:
    paths: list[Path | None] = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(picture(50 + 40 * i)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    encoder = make_encoder(name)
    encoded = encoder.encode([*paths, None, tmp_path / "broken.png"])
    assert encoded.vectors.shape == (5, encoder.dim) and encoded.vectors.dtype == np.float32
    assert encoded.present.tolist() == [True, True, True, False, False]
    assert encoded.reasons[3] == "missing" and "image" in encoded.reasons[4]
    for row, path in enumerate(paths):
        alone = encoder.encode([path]).vectors[0]
        np.testing.assert_array_equal(alone, encoded.vectors[row])
    assert np.abs(encoded.vectors[0] - encoded.vectors[1]).max() > 0.05
