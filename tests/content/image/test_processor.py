"""The preparation of images against the processors of transformers (their Pillow backend)."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from recsys.content.image.processor import ImageProcessor, read_processor
from recsys.errors import ConfigError

SIZES = [(300, 400), (50, 37), (224, 224), (1000, 99), (1, 1), (223, 225), (3, 60)]
BOTH: list[tuple[Any, Literal["shorter side", "square"]]] = [
    (CLIPImageProcessorPil(), "shorter side"),
    (ViTImageProcessorPil(), "square"),
    (CLIPImageProcessorPil(crop_size={"height": 61, "width": 240}, resample=2), "shorter side"),
    (CLIPImageProcessorPil(do_resize=False), "shorter side"),
    (ViTImageProcessorPil(do_normalize=False, size={"height": 33, "width": 64}), "square"),
    (ViTImageProcessorPil(do_rescale=False), "square"),
]


def image(width: int, height: int) -> Image.Image:
    """A smooth picture with some noise."""
    draw = np.random.default_rng(width * height)
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x[..., None] / [9, 17, 31] + y[..., None] / [23, 11, 7])
    return Image.fromarray((127 + 100 * waves + draw.integers(-20, 20, waves.shape)).astype("u1"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("library", "int_means"), BOTH)
def test_parity_with_the_library(
    library: Any, int_means: Literal["shorter side", "square"], size: Any, tmp_path: Path
) -> None:
    library.save_pretrained(tmp_path)
    picture = image(*size)
    picture.save(tmp_path / "image.png")
    processor = read_processor(tmp_path, int_means)
    views = processor(tmp_path / "image.png")
    expected = library(picture, return_tensors="np")["pixel_values"]
    assert views.dtype == np.uint8 and views.shape == (1, *processor.size, 3)
    np.testing.assert_allclose(processor.normalise(views), expected, atol=1e-5, rtol=1e-6)


def test_old_files_give_sizes_as_numbers(tmp_path: Path) -> None:
    settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224, "resample": 3}
    crop = {"do_center_crop": True, "crop_size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | crop))
    clip = read_processor(tmp_path, "shorter side")
    assert (clip.resize, clip.crop, clip.scale) == (224, (224, 224), 1 / 255)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert read_processor(tmp_path, "square").size == (224, 224)
    with pytest.raises(ConfigError, match="images keep sizes of their own"):
        read_processor(tmp_path, "shorter side")


def test_newer_files_hold_it_beside_the_tokenizer(tmp_path: Path) -> None:
    settings = CLIPImageProcessorPil().to_dict()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert read_processor(tmp_path, "shorter side").size == (224, 224)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"size": {"longest": 3}}', '{"size": []}'])
def test_files_that_say_something_else(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(ConfigError, match="expected size, crop_size"):
        read_processor(tmp_path, "square")


def test_a_strip_is_cut_before_it_is_scaled(tmp_path: Path) -> None:
    """Its shorter side as long as 224 pixels would make 224 x 6,720,000 of it."""
    Image.new("RGB", (30_000, 1), (255, 0, 0)).save(tmp_path / "wide.png")
    Image.new("RGB", (1, 30_000), (255, 0, 0)).save(tmp_path / "tall.png")
    processor = ImageProcessor(224, 3, (224, 224), 1 / 255, (0.5,) * 3, (0.5,) * 3)
    for name in ("wide.png", "tall.png"):
        views = processor(tmp_path / name)
        assert views.shape == (1, 224, 224, 3) and (views == [255, 0, 0]).all()


def test_it_travels_to_worker_processes_without_torch(tmp_path: Path) -> None:
    CLIPImageProcessorPil().save_pretrained(tmp_path)
    processor = read_processor(tmp_path, "shorter side")
    assert pickle.loads(pickle.dumps(processor)) == processor  # noqa: S301  (our own)
    code = """
import sys
import recsys.content.image.processor
print({"torch", "transformers"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
