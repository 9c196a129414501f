"""Contrastive learning on sounds: its views, what is kept of a file, and what it changes."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recsys.config import EncoderOptions
from recsys.content.audio import augment, simclr
from recsys.content.audio.mel import AISFX, MUSICNN, VGGISH, MelFrontEnd, log_mel
from recsys.content.audio.simclr import Pieces
from recsys.content.encoder import Encoder
from recsys.content.encoders import make_encoder
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.errors import ConfigError, DataError

Samples = NDArray[np.float32]
RATE = 16_000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clip(seed: int, seconds: float = 1.6) -> Samples:
    """A few tones of their own pitch, loudness and beat."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(RATE * seconds)) / RATE
    tones = np.sin(2 * np.pi * rng.uniform(150, 6_000, (3, 1)) * t)
    beats = 1 + np.sin(2 * np.pi * rng.uniform(0, 8, (3, 1)) * t)
    return np.asarray(rng.uniform(0.1, 1, 3) @ (tones * beats) / 8, np.float32)


def altered(samples: Samples, seed: int) -> Samples:
    """With noise 15 dB below it, another volume, and a tenth cut off at each end."""
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(len(samples)) * samples.std() * 10 ** (-15 / 20)
    cut = len(samples) // 10
    return np.asarray((samples + noise)[cut:-cut] * rng.uniform(0.4, 1), np.float32)


def write(path: Path, samples: Samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", "not compressed"))
        file.writeframes((32_000 * samples).clip(-32_768, 32_767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("front", [AISFX, MUSICNN, VGGISH])
def test_gain_in_a_spectrogram_is_gain_of_the_samples(
    front: MelFrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "QUIET_DB", 200.0)  # no noise
    monkeypatch.setattr(augment, "LOUD_DB", 199.0)
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, front.samples(20)).astype(np.float32)
    view = torch.from_numpy(log_mel(samples, front))[None]
    assert float((augment.to_log(augment.to_power(view, front), front) - view).abs().max()) < 1e-4
    changed = augment.disturb(view, front, seeded(3))[0]
    gain = (augment.to_power(changed, front).sum() / augment.to_power(view[0], front).sum()) ** 0.5
    assert 10 ** (-9 / 20) < float(gain) < 10 ** (9 / 20) and abs(float(gain) - 1) > 0.01
    expected = log_mel(samples * np.float32(gain), front)
    np.testing.assert_allclose(changed.numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("front", [AISFX, MUSICNN, VGGISH])
def test_noise_is_as_loud_as_said(front: MelFrontEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GAIN_DB": 0.0, "QUIET_DB": 10.0, "LOUD_DB": 10.0}.items():
        monkeypatch.setattr(augment, name, value)
    rows = [log_mel(clip(n)[: front.samples(50)], front)[:45] for n in range(20)]
    views = torch.from_numpy(np.stack(rows)).double()
    before = augment.to_power(views, front)
    after = augment.to_power(augment.disturb(views, front, seeded(0)), front)
    ratio = after.mean(dim=(1, 2)) / before.mean(dim=(1, 2))
    assert ratio.sub(1.1).abs().max() < 0.05  # 10 dB below: a tenth
    assert (after >= before * (1 - 1e-3) - 1e-6).all()
    bands, noisy = before.mean(dim=1), after.mean(dim=1)
    heard = bands > 1e-5 * bands.amax(dim=1, keepdim=True)
    grown = torch.where(heard, noisy / bands, 0).amax(dim=1)
    assert 3 < int((grown < 1.3).sum()) < 17  # noise of the sound's own colour, or white
    assert (grown[grown >= 1.3] > 2).all()


def test_stretches_of_time_and_bands_are_hidden() -> None:
    views = torch.rand(300, 40, 24, generator=seeded(0))
    hidden = augment.hide(views, seeded(1)) != views
    frames, bands = hidden.all(dim=2).sum(dim=1), hidden.all(dim=1).sum(dim=1)
    assert frames.max() == 10 and frames.min() == 0 and bands.max() == 6 and bands.min() == 0
    assert (hidden.sum(dim=(1, 2)) == 24 * frames + 40 * bands - frames * bands).all()
    starts = hidden.all(dim=2).int().argmax(dim=1)[frames > 0]
    assert len(set(starts.tolist())) > 25


def test_views_are_parts_of_pieces_seeded_and_each_its_own() -> None:
    pieces = torch.arange(3 * 30 * 2).view(1, 3, 30, 2).expand(200, -1, -1, -1)
    parts = augment.crop(pieces, 20, seeded(0))
    assert parts.shape == (200, 20, 2)
    assert (parts.flatten(1).diff(dim=1) == 1).all()  # without a gap
    first = parts[:, 0, 0] / 2
    assert set((first // 30).tolist()) == {0, 1, 2} and set((first % 30).tolist()) == set(range(11))
    views = augment.alter(torch.rand(50, 2, 30, 96).half(), 20, AISFX, seeded(1))
    assert views.shape == (50, 20, 96) and bool(views.isfinite().all())


def test_what_is_kept_of_a_sound_is_bounded_and_never_silence(tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", np.concatenate([clip(n, 2) for n in range(2)]))
    short = write(tmp_path / "short.wav", clip(0, 0.05))
    for front, length in ((AISFX, 100), (MUSICNN, 187), (VGGISH, 144)):
        decode = Pieces(front, length)
        kept, few = decode(long), decode(short)
        assert kept.shape == few.shape == (1, simclr.PIECES, length, front.bands)
        assert kept.dtype == np.float16 and np.abs(np.diff(kept[0, :, 0], axis=0)).max() > 0.1
        assert few[0].astype(np.float32).max(axis=2).min() > few.min() + 0.1  # at every moment
        bytes_kept = simclr.MOST * kept.nbytes / 1e6
        assert bytes_kept <= 720
        assert front != AISFX or bytes_kept <= 390


def test_learning_brings_altered_copies_nearer_to_sounds_never_heard(tmp_path: Path) -> None:
    seen = [write(tmp_path / f"seen{n}.wav", clip(n)) for n in range(24)]
    originals = [write(tmp_path / f"{n}.wav", clip(n)) for n in range(100, 112)]
    copies = [write(tmp_path / f"c{n}.wav", altered(clip(n), n)) for n in range(100, 112)]

    def found(encoder: Encoder[Path | None]) -> tuple[float, float]:
        """Share of copies whose original is nearest; their cosine above that of others."""
        plain, copied = encoder.encode(originals).vectors, encoder.encode(copies).vectors
        plain, copied = (
            (part - plain.mean(axis=0))
            / np.linalg.norm(part - plain.mean(axis=0), axis=1, keepdims=True)
            for part in (plain, copied)
        )
        cosines = copied @ plain.T
        right = cosines.argmax(axis=1) == np.arange(12)
        return float(right.mean()), float(cosines.diagonal().mean() - cosines.mean())

    net = simclr._net("small", None, 0)
    untaught = {name: value.numpy() for name, value in net.state_dict().items()}
    reads = simclr.STARTS["small"].reads
    before = found(FileEncoder("", reads, lambda: simclr._model(untaught, "small", "cpu")))
    wanted = Wanted(contents=seen, options=EncoderOptions(epochs=8, seed=0))
    after = found(make_encoder("random:simclr-sound", wanted))
    assert after[0] > before[0] + 0.2 and after[1] > before[1] + 0.08


def test_it_is_learnt_once_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [None, *(write(tmp_path / f"{n}.wav", clip(n, 0.5)) for n in range(6))]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....WAVEfmt ")
    paths.append(broken)
    options, keep = EncoderOptions(epochs=2, seed=3), tmp_path / "keep"
    keep.mkdir()
    wanted = Wanted(contents=paths, keep=keep, options=options)
    first = make_encoder("random:simclr-sound", wanted)
    anew = make_encoder("random:simclr-sound", Wanted(contents=paths, options=options))
    other = make_encoder(
        "random:simclr-sound", Wanted(contents=paths, options=EncoderOptions(epochs=2, seed=4))
    )
    assert first.name == anew.name != other.name
    assert first.name.startswith("random:simclr-sound-small@")
    encoded = first.encode(paths)
    assert encoded.vectors.shape == (8, 768) and encoded.present.sum() == 6
    monkeypatch.setattr(simclr, "_learn", None)  # calling it is an error
    again = make_encoder("random:simclr-sound", wanted)
    np.testing.assert_array_equal(again.encode(paths).vectors, encoded.vectors)


@pytest.mark.parametrize("name", list(simclr.STARTS))
def test_nets_take_their_views_and_know_the_layers_that_do_not_learn(name: str) -> None:
    start = simclr.STARTS[name]
    with torch.device("meta"):  # shapes without numbers
        net = simclr._net(name, None, 0)
        views = torch.zeros(2, start.view, start.reads.front.bands)
        assert net(views).shape == (2, start.width) and start.view < start.piece
    names = [name for name, _ in net.named_parameters()]
    for layer in start.kept:
        assert 0 < sum(name.startswith(layer) for name in names) < len(names)


def test_given_weights_keep_their_first_layers_and_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / f"{n}.wav", clip(n)) for n in range(2)]
    given = tmp_path / "given"
    given.write_bytes(b"weights")
    net = simclr._net("aisfx", None, 5)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    monkeypatch.setattr("recsys.content.audio.panns.aisfx_net", lambda *_: net)
    wanted = Wanted(contents=paths, options=EncoderOptions(epochs=1))
    encoder = make_encoder(f"simclr-sound:{given}", wanted)
    assert encoder.name.startswith("simclr-sound-aisfx@") and not net.training
    for name, value in net.state_dict().items():
        stays = name.startswith(simclr.STARTS["aisfx"].kept) or "running" in name or "num" in name
        assert torch.equal(value, before[name]) == stays, name


def test_what_cannot_be_learnt_from_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path))
    with pytest.raises(ConfigError, match="recsys weights fetch aisfx"):
        make_encoder("simclr-sound")
    with pytest.raises(ConfigError, match="expected one of aisfx, musicnn, vggish, or a file"):
        make_encoder("simclr-sound:small")
    with pytest.raises(ConfigError, match="random:simclr-sound:nobody"):
        make_encoder("random:simclr-sound:nobody")
    with pytest.raises(DataError, match="0 of 1 files"):
        make_encoder("random:simclr-sound", Wanted(contents=[tmp_path / "absent.wav"]))
    net = torch.nn.Linear(2, 2)
    other = tmp_path / "other.pth"
    torch.save(net.state_dict(), other)
    sounds = [write(tmp_path / f"{n}.wav", clip(n, 0.3)) for n in range(2)]
    with pytest.raises(ConfigError, match="not the checkpoint of aisfx"):
        make_encoder(f"simclr-sound:{other}", Wanted(contents=sounds))
