"""Front ends against plain loops over the published definitions, and figures of other libraries."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recsys.content.audio.log_mel import statistics
from recsys.content.audio.mel import (
    AISFX,
    MUSICNN,
    STATISTICS,
    VGGISH,
    MelFrontEnd,
    MelWindows,
    from_mel,
    log_mel,
    mel_bank,
    to_mel,
    windows,
)

LIBROSA = {  # bin, band -> weight
    (1, 0): 0.03199922293424606,
    (2, 1): 0.031840648502111435,
    (10, 10): 0.001585724181495607,
    (33, 35): 0.0,
    (100, 66): 0.0032151637133210897,
    (255, 95): 0.0004980700323358178,
}
FRONTS = [VGGISH, MUSICNN, AISFX, STATISTICS]


def chirp(rate: int, seconds: float = 0.5) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.2 * np.sin(2 * np.pi * (200 * time + 3_000 * time**2))
    return (wave + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def mel_of(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 1127.0 * math.log(1 + hertz / 700)
    return hertz * 3 / 200 if hertz < 1_000 else 15 + 27 * math.log(hertz / 1_000) / math.log(6.4)


def hertz_of(mel: float, scale: str) -> float:
    if scale == "htk":
        return 700 * (math.exp(mel / 1127.0) - 1)
    return mel * 200 / 3 if mel < 15 else 1_000 * 6.4 ** ((mel - 15) / 27)


def triangle(x: float, left: float, peak: float, right: float) -> float:
    if left < x <= peak:
        return (x - left) / (peak - left)
    return (right - x) / (right - peak) if peak < x < right else 0.0


def bank_by_loops(front: MelFrontEnd) -> NDArray[np.float64]:
    low, high = mel_of(front.low, front.scale), mel_of(front.high, front.scale)
    corners = [low + (high - low) * i / (front.bands + 1) for i in range(front.bands + 2)]
    hertz = [hertz_of(corner, front.scale) for corner in corners]
    n_bins = front.fft // 2 + 1
    bank = np.zeros((n_bins, front.bands))
    for band in range(front.bands):
        for k in range(n_bins):
            frequency = k * front.rate / front.fft
            if front.slopes == "mel":
                x, (left, peak, right) = mel_of(frequency, front.scale), corners[band : band + 3]
            else:
                x, (left, peak, right) = frequency, hertz[band : band + 3]
            bank[k, band] = triangle(x, left, peak, right)
        if front.weights == "area":
            bank[:, band] *= 2 / (hertz[band + 2] - hertz[band])
        elif front.weights == "sum":
            bank[:, band] /= bank[:, band].sum()
    return bank


def by_loops(samples: NDArray[np.float32], front: MelFrontEnd) -> NDArray[np.float64]:
    if front.edges != "inside":
        half, inner = front.fft // 2, list(map(float, samples))
        before = inner[half:0:-1] if front.edges == "mirror" else [0.0] * half
        after = inner[-2 : -2 - half : -1] if front.edges == "mirror" else [0.0] * half
        samples = np.array(before + inner + after)
    period = front.window - (1 if front.symmetric else 0)
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / period) for i in range(front.window)]
    bank = bank_by_loops(front)
    rows = []
    for start in range(0, len(samples) - front.window + 1, front.hop):
        frame = [samples[start + i] * hann[i] for i in range(front.window)]
        magnitudes = np.abs(np.fft.rfft(np.array(frame), front.fft))
        energy = np.array([(magnitudes**front.power * band).sum() for band in bank.T])
        rows.append(
            np.log(energy + 0.01) if front.log.startswith("ln") else np.log10(1 + 1e4 * energy)
        )
    return np.array(rows)


@pytest.mark.parametrize("front", FRONTS, ids=["vggish", "musicnn", "aisfx", "statistics"])
def test_spectrograms_are_those_of_plain_loops(front: MelFrontEnd) -> None:
    samples = chirp(front.rate)
    mine = log_mel(samples, front)
    assert mine.dtype == np.float32
    expected = by_loops(samples, front)
    assert mine.shape == expected.shape and np.ptp(expected) > 2
    np.testing.assert_allclose(mine, expected, atol=2e-5)


@pytest.mark.parametrize("front", FRONTS, ids=["vggish", "musicnn", "aisfx", "statistics"])
def test_banks_are_those_of_plain_loops(front: MelFrontEnd) -> None:
    np.testing.assert_allclose(mel_bank(front), bank_by_loops(front), atol=1e-6)


def test_a_bank_is_that_of_librosa() -> None:
    """Figures of librosa 0.11, ``filters.mel(sr=16000, n_fft=512, n_mels=96)``."""
    bank = mel_bank(MUSICNN)
    for (k, band), figure in LIBROSA.items():
        assert bank[k, band] == pytest.approx(figure, abs=1e-8), (k, band)


def test_scales_turn_back() -> None:
    hertz = np.array([0.0, 20, 440, 999, 1_000, 1_001, 8_000, 22_050])
    for scale in ("htk", "slaney"):
        np.testing.assert_allclose(from_mel(to_mel(hertz, scale), scale), hertz, atol=1e-8)
    assert to_mel(np.array([1_000.0]), "htk")[0] == pytest.approx(1_000, abs=0.1)  # by design


def test_blocks_of_frames_join(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = chirp(MUSICNN.rate, 1.0)
    whole = log_mel(samples, MUSICNN)
    monkeypatch.setattr("recsys.content.audio.mel.BLOCK", 7)
    np.testing.assert_allclose(log_mel(samples, MUSICNN), whole, atol=1e-5)


@pytest.mark.parametrize("n", [10, 11, 19, 20, 21, 25, 30, 31, 1_000])
def test_windows_cover_a_sound_evenly(n: int) -> None:
    cut = windows(np.arange(n, dtype=np.float32), length=10, hop=5)
    assert (np.diff(cut, axis=1) == 1).all()
    starts = cut[:, 0]
    assert starts[0] == 0 and (np.diff(starts) > 0).all() and (np.diff(starts) <= 6).all()
    assert n - 1 - cut[-1, -1] <= 0.5  # of what is at the end less than a tenth of a hop is lost


def test_whole_windows_lie_side_by_side() -> None:
    frames = np.arange(60, dtype=np.float32).reshape(30, 2)
    np.testing.assert_array_equal(windows(frames, 10, 10), frames.reshape(3, 10, 2))
    assert len(windows(frames, 29, 29)) == 1  # one frame more is not worth a second window


@pytest.mark.parametrize("front", FRONTS, ids=["vggish", "musicnn", "aisfx", "statistics"])
def test_a_short_sound_is_one_window(front: MelFrontEnd, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    samples = chirp(front.rate, 0.1)
    soundfile.write(path, samples, front.rate, subtype="FLOAT")
    views = MelWindows(front, 100, 50)(path)
    assert views.shape == (1, 100, front.bands)
    sounding = views[0, : len(samples) // front.hop - 2]
    assert sounding.mean(axis=1).min() > views[0, -1].mean() + 0.3  # silence behind the sound
    assert len(log_mel(np.zeros(front.samples(7), np.float32), front)) == 7


def test_statistics_by_hand() -> None:
    frames = np.array([[0.0, 5.0], [2.0, 5.0], [1.0, 5.0]], np.float32)
    np.testing.assert_allclose(statistics(frames), [1, 5, math.sqrt(2 / 3), 0, 1.5, 0], rtol=1e-6)
    np.testing.assert_allclose(statistics(frames[:1]), [0, 5, 0, 0, 0, 0])


def test_fronts_that_differ_have_banks_that_differ() -> None:
    assert not np.allclose(mel_bank(MUSICNN), mel_bank(replace(MUSICNN, scale="htk")))
