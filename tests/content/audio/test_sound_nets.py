"""Nets for sound: their layers by hand, their weights, and what every encoder owes its caller."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config import EncoderOptions
from recsys.content.audio.families import AUDIO_ENCODERS
from recsys.content.audio.mel import MUSICNN, log_mel, windows
from recsys.content.audio.musicnn import MusiCNN, load_musicnn
from recsys.content.audio.panns import EffectsNet, load_aisfx
from recsys.content.audio.tf_checkpoint import read_checkpoint
from recsys.content.audio.vggish import VGGish, load_vggish
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.random_networks import seeded
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

RATE = 16_000
RNG = np.random.default_rng(0)


def sound(kind: int, seconds: float = 3.2) -> NDArray[np.float32]:
    """A melody of one of several instruments, different for each ``kind``."""
    rng = np.random.default_rng(kind)
    time = np.arange(int(0.4 * RATE)) / RATE
    notes = []
    for pitch in rng.integers(0, 24, int(seconds / 0.4)):
        hertz = 110 * 2 ** (pitch / 12)
        partials = [
            rng.uniform() / k * np.sin(2 * np.pi * hertz * k * time) for k in range(1, 2 + kind % 6)
        ]
        notes.append(sum(partials) * np.exp(-(1 + kind % 5) * 2 * time))
    wave = np.concatenate(notes)
    scaled: NDArray[np.float32] = (0.5 * wave / np.abs(wave).max()).astype(np.float32)
    return scaled


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Short and long, mono and stereo, at several rates."""
    folder = tmp_path_factory.mktemp("sounds")
    shapes = [(0.1, 16_000, 1), (1.2, 44_100, 2), (4.0, 8_000, 1), (0.7, 22_050, 1)]
    made = []
    for i, (seconds, rate, channels) in enumerate(shapes):
        samples = RNG.uniform(-0.5, 0.5, (int(seconds * rate), channels))
        made.append(folder / f"{i}.wav")
        soundfile.write(made[-1], samples, rate)
    return made


def weights_or_skip(name: str) -> Path:
    try:
        return find_weights(name)
    except ConfigError as error:
        pytest.skip(str(error))


NAMES = ["log-mel", "random:vggish", "random:musicnn", "random:aisfx"]


@pytest.mark.parametrize("name", NAMES)
def test_encoders_keep_their_contract(name: str, paths: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF of nothing")
    encoder = make_encoder(name)
    contents = [paths[0], None, paths[1], broken, paths[2], paths[3], paths[0]]
    vectors, present, reasons, _ = encoder.encode(contents)
    assert vectors.shape == (7, encoder.dim) and vectors.dtype == np.float32
    assert present.tolist() == [True, False, True, False, True, True, True]
    assert reasons.keys() == {1, 3} and reasons[1] == "missing" and "not a sound" in reasons[3]
    assert not vectors[~present].any() and np.isfinite(vectors).all()
    alone = np.concatenate([encoder.encode([content]).vectors for content in contents])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    np.testing.assert_array_equal(vectors, encoder.encode(contents).vectors)
    assert len(np.unique(vectors[present].round(7), axis=0)) == 4  # one for each sound
    listed = AUDIO_ENCODERS[name.removeprefix("random:").partition(":")[0]].models[0]
    assert encoder.dim == listed.width


def test_names_tell_what_changes_vectors() -> None:
    names = {make_encoder(name).name for name in [*NAMES, "random:musicnn:msd"]}
    options = Wanted(options=EncoderOptions(pooling="max"))
    names |= {make_encoder(name, options).name for name in NAMES[1:]}
    assert len(names) == 2 * len(NAMES)
    assert all(name.startswith("random:") for name in names if "log-mel" not in name)


def test_pooling_takes_the_largest_of_the_windows(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, sound(1, 1.93), RATE, subtype="FLOAT")
    mean, largest = (
        make_encoder("random:vggish", Wanted(options=EncoderOptions(pooling=pooling)))
        .encode([path])
        .vectors[0]
        for pooling in ("mean", "max")
    )
    assert (largest >= mean - 1e-7).all() and (largest > mean).any()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("musicnn:abc", EncoderOptions(), "musicnn:msd"),
        ("vggish:nowhere.pth", EncoderOptions(), "nowhere.pth"),
        ("random:vggish", EncoderOptions(pooling="cls"), "mean or max"),
        ("log-mel", EncoderOptions(pooling="max"), "has no option"),
    ],
)
def test_what_cannot_be_made_is_said(name: str, options: EncoderOptions, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_encoder(name, Wanted(options=options))


def published_vggish() -> nn.Sequential:
    """The net as its authors list it: a table of layers."""
    layers: list[nn.Module] = []
    for before, channels, halves in [
        (1, 64, True),
        (64, 128, True),
        (128, 256, False),
        (256, 256, True),
        (256, 512, False),
        (512, 512, True),
    ]:
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if halves else []
    return nn.Sequential(*layers)


def test_vggish_loads_the_published_layout(tmp_path: Path) -> None:
    """Tensors named as in the published file, put through the layers one by one."""
    net = seeded(VGGish, seed=3)
    state = {name: tensor * 1.3 for name, tensor in net.state_dict().items()}
    numbers = [int(name.split(".")[1]) for name in state if name.endswith("weight")]
    assert numbers == [0, 3, 6, 8, 11, 13, 0, 2, 4]  # of torchvggish's layers
    torch.save(state, tmp_path / "weights.pth")
    patches = RNG.standard_normal((2, 96, 64)).astype(np.float32)
    with torch.inference_mode():
        features = published_vggish()
        features.load_state_dict(
            {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features")}
        )
        maps = features(torch.from_numpy(patches)[:, None])
        # torchvggish swaps axes 1 and 3, then 1 and 2: time, bands, channels
        flat = maps.transpose(1, 3).transpose(1, 2).reshape(2, -1)
        for i in (0, 2, 4):
            flat = F.relu(flat @ state[f"embeddings.{i}.weight"].T + state[f"embeddings.{i}.bias"])
    mine = load_vggish(tmp_path / "weights.pth", "cpu").forward(patches)
    assert mine.std() > 1e-3
    np.testing.assert_allclose(mine, flat.numpy(), atol=1e-5)


def test_weights_of_other_nets_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("other.pth", "text.pth", "list.pth", "absent.pth"):
        for load in (load_vggish, load_aisfx):
            with pytest.raises(ConfigError, match=name):
                load(tmp_path / name, "cpu")
    with pytest.raises(ConfigError, match="not a TensorFlow checkpoint"):
        load_musicnn(tmp_path, "cpu")


def musicnn_by_hand(arrays: dict[str, NDArray[np.float32]], frames: Tensor) -> Tensor:
    """The penultimate layer as the package computes it, in TensorFlow's order of axes."""
    t = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def norm(x: Tensor, i: int) -> Tensor:  # channels last
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        spread = torch.sqrt(t[f"{name}/moving_variance"] + 1e-3)
        scaled = (x - t[f"{name}/moving_mean"]) / spread * t[f"{name}/gamma"]
        return scaled + t[f"{name}/beta"]

    def conv(x: Tensor, i: int) -> Tensor:  # (b, t, f, 1) -> (b, t, f', c)
        name = f"conv2d_{i}" if i else "conv2d"
        kernel = t[f"{name}/kernel"]
        total = len(kernel) - 1
        padded = F.pad(x, (0, 0, 0, 0, total // 2, total - total // 2))
        patches = padded.unfold(1, len(kernel), 1).unfold(2, kernel.shape[1], 1)
        made = torch.einsum("btfcij,ijco->btfo", patches, kernel)
        return norm(F.relu(made + t[f"{name}/bias"]), i + 1)

    x = norm(frames[..., None], 0)
    front = torch.cat([conv(x, i).amax(2) for i in range(5)], dim=2)  # (b, t, 561)
    first = conv(front[..., None], 5)[:, :, 0]
    second = conv(first[..., None], 6)[:, :, 0] + first
    third = conv(second[..., None], 7)[:, :, 0] + second
    every = torch.cat([front, first, second, third], dim=2)
    pooled = torch.stack([every.amax(1), every.mean(1)], dim=2).flatten(1)
    dense = F.relu(norm(pooled, 9) @ t["dense/kernel"] + t["dense/bias"])
    return norm(dense, 10)


@pytest.mark.parametrize("corpus", ["mtt", "msd"])
def test_musicnn_computes_what_its_checkpoint_says(corpus: str) -> None:
    folder = weights_or_skip(f"musicnn-{corpus}")
    frames = np.abs(RNG.standard_normal((2, 140, 96))).astype(np.float32)
    with torch.inference_mode():
        expected = musicnn_by_hand(read_checkpoint(folder), torch.from_numpy(frames)).numpy()
    mine = load_musicnn(folder, "cpu").forward(frames)
    np.testing.assert_allclose(mine, expected, atol=2e-5)
    assert mine.std() > 0.1


def test_random_musicnn_has_the_true_shape() -> None:
    net = seeded(MusiCNN)
    pooled = net.eval().pooled(torch.zeros(1, 187, 96))
    assert pooled.shape == (1, 187, 753)


def test_aisfx_loads_its_checkpoint() -> None:
    path = weights_or_skip("aisfx")
    frames = np.abs(RNG.standard_normal((2, 100, 96))).astype(np.float32)
    mine = load_aisfx(path, "cpu").forward(frames)
    assert mine.shape == (2, 512) and mine.min() >= 0 and mine.std() > 0.1


def test_aisfx_normalises_by_its_running_statistics() -> None:
    """Of the last block by hand, after the maps of the blocks before."""
    net = seeded(EffectsNet).eval()
    assert isinstance(net, EffectsNet)
    for norm in (net.conv_block4.bn1, net.conv_block4.bn2):
        norm.running_mean, norm.running_var = torch.randn(512) * 0.1, torch.rand(512) + 0.5
    frames = torch.from_numpy(np.abs(RNG.standard_normal((1, 100, 96))).astype(np.float32))
    with torch.inference_mode():
        maps = frames[:, None] / 9.457798957824707
        for block in (net.conv_block1, net.conv_block2, net.conv_block3):
            maps = block(maps)
            maps = maps.unflatten(3, (-1, 2))[:, :, : maps.shape[2] // 2 * 2].unflatten(2, (-1, 2))
            maps = maps.amax(dim=(3, 5))
        for conv, norm in [
            (net.conv_block4.conv1, net.conv_block4.bn1),
            (net.conv_block4.conv2, net.conv_block4.bn2),
        ]:
            assert norm.running_mean is not None and norm.running_var is not None
            shape = (1, -1, 1, 1)
            spread = torch.sqrt(norm.running_var + 1e-5).view(shape)
            maps = F.relu((conv(maps) - norm.running_mean.view(shape)) / spread)
        expected = maps.mean(3).max(2).values
        np.testing.assert_allclose(net(frames), expected, atol=1e-6)


def nearest_is_the_original(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> float:
    """Share of noisy copies whose nearest neighbour by cosine is their original."""
    middle = clean.mean(axis=0)
    a, b = ((x - middle) for x in (clean, noisy))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return float(((b @ a.T).argmax(axis=1) == np.arange(len(a))).mean())


@pytest.mark.parametrize(("name", "at_least"), [("log-mel", 0.9), ("musicnn:mtt", 0.9)])
def test_a_noisy_copy_is_nearest_to_its_clip(name: str, at_least: float, tmp_path: Path) -> None:
    if name.startswith("musicnn"):
        weights_or_skip("musicnn-mtt")
    clean: list[Path] = []
    noisy: list[Path] = []
    for kind in range(20):
        samples = sound(kind)
        noise = 0.003 * np.random.default_rng(100 + kind).standard_normal(len(samples))
        for paths, kept, wave in ((clean, "a", samples), (noisy, "b", samples + noise)):
            paths.append(tmp_path / f"{kept}{kind}.wav")
            soundfile.write(paths[-1], wave, RATE)
    encoder = make_encoder(name)
    found = nearest_is_the_original(encoder.encode(clean).vectors, encoder.encode(noisy).vectors)
    assert found >= at_least, found


def test_a_long_sound_is_the_mean_of_its_windows(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    samples = sound(4, 8.0)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    encoder = make_encoder("random:musicnn")
    net = seeded(MusiCNN).eval()
    patches = windows(log_mel(samples, MUSICNN), 187, 187)
    assert len(patches) == 3
    with torch.inference_mode():
        expected = net(torch.from_numpy(patches)).mean(0).numpy()
    np.testing.assert_allclose(encoder.encode([path]).vectors[0], expected, atol=1e-5)


def test_making_an_encoder_and_decoding_load_no_torch() -> None:
    code = (
        "import sys; from recsys.content.encoders import make_encoder\n"
        "for name in ('log-mel', 'random:vggish', 'random:clap:tiny'): make_encoder(name)\n"
        "import recsys.content.audio.mel\n"
        "sys.exit(bool({'torch', 'transformers', 'soundfile'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
