"""Statistics of a log-mel spectrogram over time: the floor that a net must beat; no weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.content.audio.decode import read_sound
from recsys.content.audio.mel import STATISTICS, MelFrontEnd, log_mel
from recsys.content.audio.naming import encoder_name
from recsys.content.encoder import Model
from recsys.content.file_encoder import FileEncoder

__all__ = ["WIDTH", "LogMelStatistics", "log_mel_encoder", "statistics"]

WIDTH = 3 * STATISTICS.bands


def statistics(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (3 bands,) of a spectrogram (t, bands).

    For each band, over time: the mean (timbre), the standard deviation (dynamics), and the mean
    absolute change from one frame to the next (roughness, rhythm; 0 if there is but one frame).
    """
    changes = np.abs(np.diff(frames, axis=0)).sum(axis=0) / max(1, len(frames) - 1)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), changes])


@dataclass(frozen=True)
class LogMelStatistics:
    """A decoder that does all the work: one view (1, 3 bands) of a file."""

    front: MelFrontEnd = STATISTICS
    version: int = 1

    def __call__(self, path: Path) -> NDArray[np.float32]:
        """Return the statistics of a file.

        Raises:
            Unreadable: see `read_sound`.
        """
        return statistics(log_mel(read_sound(path, self.front.rate), self.front))[None]


def log_mel_encoder() -> FileEncoder:
    """Make the encoder."""
    decode = LogMelStatistics()
    return FileEncoder(
        encoder_name("log-mel", "none", decode), decode, lambda: Model(WIDTH, np.asarray)
    )
