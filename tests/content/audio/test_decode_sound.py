"""Odd and broken sound files, and the samples of good ones."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from recsys.content.audio import decode
from recsys.content.audio.decode import read_sound, resample
from recsys.content.audio.mel import VGGISH, MelWindows
from recsys.content.encoder import Unreadable
from recsys.content.file_encoder import Failure, decode_all

RATE = 16_000
Samples = NDArray[np.float32]


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0) -> Samples:
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def encoded(samples: NDArray[np.generic], rate: int = RATE, **kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": "WAV"} | kind))
    return file.getvalue()


def cut(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


def with_sizes(content: bytes, size: int) -> bytes:
    """A WAV whose header claims another length, of the file and of its samples."""
    at = content.index(b"data") + 4
    return content[:4] + struct.pack("<I", size) + content[8:at] + struct.pack("<I", size) + (
        content[at + 4 :]
    )  # fmt: skip


def with_rate(content: bytes, rate: int) -> bytes:
    return content[:24] + struct.pack("<I", rate) + content[28:]


def floats(change: Callable[[Samples], None]) -> bytes:
    samples = tone()
    change(samples)
    return encoded(samples, subtype="FLOAT")


def put(samples: Samples, value: float) -> None:
    samples[100] = value


BROKEN = {
    "empty.wav": (b"", "not a sound"),
    "text.wav": (b"this is not a sound at all, but a text\n" * 50, "not a sound"),
    "zeros.mp3": (bytes(4_096), "not a sound"),
    "png.flac": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "not a sound"),
    "header-only.wav": (encoded(tone())[:20], "not a sound"),
    "no-samples.wav": (encoded(tone(0.0)), "shorter than 10 ms"),
    "click.wav": (encoded(tone(0.009)), "shorter than 10 ms"),
    "silence.wav": (encoded(np.zeros(RATE, np.float32)), "silence"),
    "silence.flac": (encoded(np.zeros(RATE, np.float32), format="FLAC"), "silence"),
    "hum-of-nothing.wav": (encoded(tone() * 1e-4), "silence"),
    "constant.wav": (encoded(np.full(RATE, 0.3, np.float32)), "silence"),
    "nan.wav": (floats(lambda samples: put(samples, np.nan)), "NaN or infinity"),
    "infinite.wav": (floats(lambda samples: put(samples, -np.inf)), "NaN or infinity"),
    "absurd.wav": (floats(lambda samples: put(samples, 1e30)), "beyond every scale"),
    "slow.wav": (with_rate(encoded(tone()), 7), "7 samples a second"),
    "fast.wav": (with_rate(encoded(tone()), 2_000_000_000), "2000000000 samples a second"),
    "samples.raw": (bytes(range(256)) * 99, "without a header"),
    "half.ogg-header": (encoded(tone(), format="OGG", subtype="VORBIS")[:80], "not a sound"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_sounds_are_unreadable_with_a_reason(name: str, tmp_path: Path) -> None:
    content, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read_sound(path, RATE)


def test_what_is_no_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    for path in (tmp_path / "folder.wav", tmp_path / "absent.wav", tmp_path / ("x" * 300)):
        with pytest.raises(Unreadable, match=r"not a file|too long"):
            read_sound(path, RATE)


ODD: dict[str, tuple[bytes, float]] = {  # content, seconds to expect
    "flac.flac": (encoded(tone(), format="FLAC"), 1.0),
    "vorbis.ogg": (encoded(tone(), format="OGG", subtype="VORBIS"), 1.0),
    "mp3.mp3": (encoded(tone(), format="MP3", subtype="MPEG_LAYER_III"), 1.0),
    "aiff.aif": (encoded(tone(), format="AIFF"), 1.0),
    "24-bit.wav": (encoded(tone(), subtype="PCM_24"), 1.0),
    "8-bit.wav": (encoded(tone(), subtype="PCM_U8"), 1.0),
    "mu-law.wav": (encoded(tone(), subtype="ULAW"), 1.0),
    "doubles.wav": (encoded(tone(), subtype="DOUBLE"), 1.0),
    "stereo.wav": (encoded(np.stack([tone(), tone()], 1)), 1.0),
    "six channels.wav": (encoded(np.stack([tone()] * 6, 1)), 1.0),
    "a wav called mp3.mp3": (encoded(tone()), 1.0),
    "truncated.wav": (cut(encoded(tone()), 0.5), 0.5),
    "claims too much.wav": (with_sizes(encoded(tone()), 2**31), 1.0),
    "streamed.wav": (with_sizes(encoded(tone()), 2**32 - 1), 1.0),
    "0.1 s.wav": (encoded(tone(0.1)), 0.1),
    "8 kHz.wav": (encoded(tone(1, 8_000), 8_000), 1.0),
    "44.1 kHz.wav": (encoded(tone(1, 44_100), 44_100), 1.0),
    "prime.wav": (encoded(tone(1, 44_101), 44_101), 1.0),
    "loud.wav": (encoded(tone() * 70_000, subtype="FLOAT"), 1.0),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sounds_are_heard(name: str, tmp_path: Path) -> None:
    content, seconds = ODD[name]
    path = tmp_path / name
    path.write_bytes(content)
    samples = read_sound(path, RATE)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert len(samples) == pytest.approx(seconds * RATE, rel=0.08)  # MP3 pads
    assert 0.3 < np.abs(samples).max() <= 1
    loudest = np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)
    assert loudest == pytest.approx(440, abs=12)  # the pitch is that of the tone


def test_a_truncated_flac_is_half_a_sound_or_none(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    path.write_bytes(cut(encoded(tone(), format="FLAC"), 0.5))
    try:
        assert 0 < len(read_sound(path, RATE)) <= RATE
    except Unreadable as reason:
        assert "not a sound" in str(reason)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(), tone(hertz=1_000)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(path, RATE), (left + right) / 2, atol=1e-7)


def test_only_ten_minutes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LONGEST", 2)
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(3, 48_000), 48_000)
    assert len(read_sound(path, RATE)) == 2 * RATE


@pytest.mark.parametrize(("up", "down"), [(160, 441), (1, 3), (2, 1), (147, 320), (640, 441)])
def test_blocks_resample_as_the_whole_does(
    up: int, down: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "BLOCK", 2_000)
    samples = np.random.default_rng(0).standard_normal(15_001).astype(np.float32)
    parts = list(resample(iter(np.array_split(samples, 7)), up, down))
    assert len(parts) > 5
    whole = resample_poly(samples, up, down)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    start=st.sampled_from([b"", b"RIFF\0\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"ID3", b"\xff\xfb"]),
    content=st.binary(max_size=600),
)
def test_any_bytes_are_a_sound_or_unreadable(tmp_path: Path, start: bytes, content: bytes) -> None:
    heard_or_refused(tmp_path / "fuzz", start + content)


FORMATS = [
    encoded(tone(0.2), subtype="FLOAT"),
    encoded(tone(0.2)),
    encoded(tone(0.2), subtype="MS_ADPCM"),
    encoded(tone(0.2), format="FLAC"),
    encoded(tone(0.2), format="OGG", subtype="VORBIS"),
    encoded(tone(0.2), format="MP3", subtype="MPEG_LAYER_III"),
]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.sampled_from(FORMATS),
    flips=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=12),
    in_header=st.booleans(),
    length=st.floats(0, 1),
)
def test_flipped_and_cut_sounds_are_sounds_or_unreadable(
    tmp_path: Path, content: bytes, flips: list[tuple[int, int]], in_header: bool, length: float
) -> None:
    changed = bytearray(content)
    for place, value in flips:
        changed[place % (60 if in_header else len(content))] = value
    heard_or_refused(tmp_path / "fuzz", bytes(changed[: 1 + int(length * len(changed))]))


def heard_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        samples = read_sound(path, RATE)
    except Unreadable as reason:
        assert str(reason)
    else:
        assert len(samples) >= RATE // 100 and np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1


def test_worker_processes_hear_the_same(tmp_path: Path) -> None:
    """Decoders travel to other processes, and a broken file costs nothing but itself."""
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(b"nothing" if i == 2 else encoded(tone(0.5 + i)))
    windows = MelWindows(VGGISH, 96, 96)
    here, there = (list(decode_all(windows, paths, workers)) for workers in (0, 1))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert isinstance(here[2], Failure) and here[2].reason.startswith("not a sound")
    assert pickle.loads(pickle.dumps(windows)) == windows  # noqa: S301
