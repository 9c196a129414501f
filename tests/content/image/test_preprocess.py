"""Preprocessing against torchvision's and timm's own."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.models import ResNet50_Weights

from recsys.content.image.backbones import BACKBONES
from recsys.content.image.networks import normalise
from recsys.content.image.preprocess import Preprocess

SIZES = [(92, 138), (333, 500), (640, 427), (224, 224), (256, 256), (255, 257), (7, 3), (1, 1)]
TIMM = ["inception-v3", "inception-resnet-v2", "efficientnet-lite0"]


def photo(width: int, height: int) -> Image.Image:
    """Blobs with noise: both smooth and sharp."""
    rng = np.random.default_rng(width * 1000 + height)
    small = Image.fromarray(rng.integers(0, 256, (6, 4, 3), dtype=np.uint8))
    blobs = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray(np.clip(blobs + rng.normal(0, 20, blobs.shape), 0, 255).astype(np.uint8))


def ours(name: str, path: Path) -> np.ndarray:
    backbone = BACKBONES[name]
    views = backbone.preprocess(path)
    side = backbone.preprocess.crop
    assert views.shape == (1, side, side, 3) and views.dtype == np.uint8
    tensor: np.ndarray = normalise(torch.tensor(views), backbone)[0].numpy()
    return tensor


@pytest.mark.parametrize("size", SIZES)
def test_as_torchvision(size: tuple[int, int], tmp_path: Path) -> None:
    photo(*size).save(tmp_path / "x.png")
    transform = ResNet50_Weights.IMAGENET1K_V2.transforms()
    expected = transform(Image.open(tmp_path / "x.png")).numpy()
    np.testing.assert_allclose(ours("resnet50", tmp_path / "x.png"), expected, atol=1e-5)


@pytest.mark.parametrize("name", TIMM)
def test_as_timm(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        network = timm.create_model(BACKBONES[name].architecture, pretrained=False)
    config = resolve_data_config({}, model=network)
    keys = ("input_size", "interpolation", "mean", "std", "crop_pct")
    transform = create_transform(**{key: config[key] for key in keys})
    for size in SIZES[::2]:
        photo(*size).save(tmp_path / "x.png")
        expected = transform(Image.open(tmp_path / "x.png")).numpy()
        np.testing.assert_allclose(ours(name, tmp_path / "x.png"), expected, atol=1e-5)


def test_large_jpegs_stay_nearly_the_same(tmp_path: Path) -> None:
    photo(1300, 1600).resize((1950, 2400)).save(tmp_path / "x.jpg", quality=95)
    preprocess = Preprocess(256, 224, "bicubic")
    drafted = preprocess(tmp_path / "x.jpg")[0].astype(int)
    whole = preprocess.pixels(Image.open(tmp_path / "x.jpg")).astype(int)
    assert 0 < np.abs(drafted - whole).mean() < 1  # of 255


@pytest.mark.parametrize("size", [(1, 80_000), (80_000, 1), (3, 20_000)])
def test_strips_do_not_fill_the_memory(size: tuple[int, int], tmp_path: Path) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    x, y = size[0] // 2, size[1] // 2
    image.paste((0, 0, 255), (x - 30, y - 30, x + 30, y + 30))
    image.save(tmp_path / "x.png")
    views = Preprocess(256, 224, "bilinear")(tmp_path / "x.png")
    np.testing.assert_array_equal(views, np.broadcast_to([0, 0, 255], (1, 224, 224, 3)))


def test_pickles_and_says_what_it_does() -> None:
    preprocess = Preprocess(232, 224, "bilinear")
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess  # noqa: S301
    assert len({backbone.preprocess.tag for backbone in BACKBONES.values()}) == 5
