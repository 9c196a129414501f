"""Log-mel spectrograms as the nets were trained on, in numpy: decoders run where torch is not.

Every net is bound to its own front end: which mel scale, how triangles are weighted, what is done
at the edges. `tests` compare these with the definitions; the docstrings of the presets tell what
was measured against the libraries that made them.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.content.audio.decode import read_sound

__all__ = [
    "AISFX",
    "MUSICNN",
    "STATISTICS",
    "VGGISH",
    "MelFrontEnd",
    "MelWindows",
    "from_mel",
    "log_mel",
    "mel_bank",
    "to_mel",
    "windows",
]

Scale = Literal["htk", "slaney"]
Floats = NDArray[np.float64]

BLOCK = 512  # frames transformed at once: what is in between stays small
LINEAR, BREAK, STEP = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney's scale: hertz a mel up to 1 kHz
SLACK = 0.1  # of a window at the end of a sound that is not worth a further window


@dataclass(frozen=True)
class MelFrontEnd:
    """How samples become a log-mel spectrogram.

    Attributes:
        rate: samples a second, hertz.
        window: length of the Hann window, samples.
        fft: length of the transform, samples; at least ``window``.
        hop: samples between frames.
        bands: mel bands.
        low: lower edge of the lowest band, hertz.
        high: upper edge of the highest band, hertz.
        scale: HTK's mel, 2595 log10(1 + f / 700), or Slaney's, linear up to 1 kHz.
        slopes: whether the sides of the triangles are straight over hertz or over mels.
        weights: the triangles have peak 1, area 1 over hertz, or sum 1 over the bins.
        power: 2 for the power spectrum, 1 for magnitudes.
        edges: frames are centred on every hop, beyond the ends the sound is mirrored or zero;
            or ("inside") frames lie wholly inside.
        symmetric: whether the Hann window ends where it begins, or one sample before.
        log: ``"log10(1 + 10^4 x)"`` or ``"ln(x + 0.01)"``.
    """

    rate: int
    window: int
    fft: int
    hop: int
    bands: int
    low: float
    high: float
    scale: Scale
    slopes: Literal["hertz", "mel"]
    weights: Literal["peak", "area", "sum"]
    power: Literal[1, 2]
    edges: Literal["mirror", "zero", "inside"]
    symmetric: bool
    log: Literal["log10(1 + 10^4 x)", "ln(x + 0.01)"]

    def samples(self, frames: int) -> int:
        """How many samples it takes for that many frames."""
        return (frames - 1) * self.hop + (self.window if self.edges == "inside" else 0)


# Hershey et al., 2017; the same as torchvggish's
VGGISH = MelFrontEnd(
    rate=16_000, window=400, fft=512, hop=160, bands=64, low=125, high=7_500, scale="htk",
    slopes="mel", weights="peak", power=1, edges="inside", symmetric=False, log="ln(x + 0.01)",
)  # fmt: skip
# Pons and Serra, 2019; librosa's melspectrogram. Theirs rounds it to float16 before the logarithm
MUSICNN = MelFrontEnd(
    rate=16_000, window=512, fft=512, hop=256, bands=96, low=0, high=8_000, scale="slaney",
    slopes="hertz", weights="area", power=2, edges="mirror", symmetric=False,
    log="log10(1 + 10^4 x)",
)  # fmt: skip
# Ma and Lerch, 2022; essentia's MelBands
AISFX = MelFrontEnd(
    rate=44_100, window=2_048, fft=2_048, hop=1_024, bands=96, low=0, high=22_050, scale="htk",
    slopes="mel", weights="sum", power=2, edges="zero", symmetric=True, log="log10(1 + 10^4 x)",
)  # fmt: skip
# for statistics over time, where no net says what it should be
STATISTICS = MelFrontEnd(
    rate=22_050, window=1_024, fft=1_024, hop=512, bands=64, low=20, high=11_025, scale="slaney",
    slopes="hertz", weights="area", power=2, edges="zero", symmetric=False,
    log="log10(1 + 10^4 x)",
)  # fmt: skip


def to_mel(hertz: Floats, scale: Scale) -> Floats:
    """Return frequencies in mels."""
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    above = BREAK / LINEAR + np.log(np.maximum(hertz, BREAK) / BREAK) / STEP
    return np.where(hertz < BREAK, hertz / LINEAR, above)


def from_mel(mels: Floats, scale: Scale) -> Floats:
    """Return frequencies in hertz."""
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    start = BREAK / LINEAR
    return np.where(mels < start, mels * LINEAR, BREAK * np.exp(STEP * np.maximum(mels - start, 0)))


@lru_cache(maxsize=8)
def mel_bank(front: MelFrontEnd) -> NDArray[np.float32]:
    """Return the triangles: weights (fft // 2 + 1, bands) of the bins of a spectrum."""
    bins = np.linspace(0, front.rate / 2, front.fft // 2 + 1)[:, None]
    ends = to_mel(np.array([front.low, front.high]), front.scale)
    corners = np.linspace(ends[0], ends[1], front.bands + 2)
    hertz = from_mel(corners, front.scale)
    if front.slopes == "mel":
        bins = to_mel(bins, front.scale)
    else:
        corners = hertz
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    bank: Floats = np.maximum(0, np.minimum(rising, falling))
    if front.weights == "area":
        bank *= 2 / (hertz[2:] - hertz[:-2])
    elif front.weights == "sum":
        bank /= bank.sum(axis=0)
    return bank.astype(np.float32)


def log_mel(samples: NDArray[np.float32], front: MelFrontEnd) -> NDArray[np.float32]:
    """Return the log-mel spectrogram (frames, bands) of samples (n,).

    Centred frames are ``1 + n // hop``; those inside, ``1 + (n - window) // hop``.
    """
    if front.edges != "inside":
        mode: Literal["reflect", "constant"] = "reflect" if front.edges == "mirror" else "constant"
        samples = np.pad(samples, front.fft // 2, mode=mode)
    frames = np.lib.stride_tricks.sliding_window_view(samples, front.window)[:: front.hop]
    period = front.window - 1 if front.symmetric else front.window
    hann = (0.5 - 0.5 * np.cos(2 * np.pi / period * np.arange(front.window))).astype(np.float32)
    bank = mel_bank(front)
    out = np.empty((len(frames), front.bands), np.float32)
    for start in range(0, len(frames), BLOCK):
        spectrum = np.abs(np.fft.rfft(frames[start : start + BLOCK] * hann, front.fft))
        out[start : start + BLOCK] = (spectrum**front.power) @ bank
    if front.log == "ln(x + 0.01)":
        out += np.float32(0.01)
        return np.log(out, out=out)
    out *= 10_000
    out += 1
    return np.log10(out, out=out)


def windows(frames: NDArray[np.float32], length: int, hop: int) -> NDArray[np.float32]:
    """Return windows (v, length, ...) spaced evenly over frames (n, ...), from start to end.

    They lie about ``hop`` apart. ``n`` must not be under ``length``; of a tenth of a
    hop at the end no further window is made.
    """
    spare = len(frames) - length
    count = 1 + max(0, int(np.ceil(spare / hop - SLACK)))
    starts = np.linspace(0, spare, count).astype(np.int64) if count > 1 else np.array([0])
    cut: NDArray[np.float32] = frames[starts[:, None] + np.arange(length)]
    return cut


@dataclass(frozen=True)
class MelWindows:
    """A decoder: the windows (v, length, bands) of a file's log-mel spectrogram.

    What is shorter than a window is followed by silence.

    Attributes:
        front: the front end of the net.
        length: frames in a window.
        hop: frames between the starts of windows.
    """

    front: MelFrontEnd
    length: int
    hop: int

    def __call__(self, path: Path) -> NDArray[np.float32]:
        """Return the windows of a file.

        Raises:
            Unreadable: see `read_sound`.
        """
        samples = read_sound(path, self.front.rate)
        short = max(0, self.front.samples(self.length) - len(samples))
        frames = log_mel(np.pad(samples, (0, short)), self.front)
        return windows(frames, self.length, self.hop)
