"""The nets that read windows of log-mel spectrograms, as encoders; torch comes with the first file.

Sounds shorter than a window are followed by silence; of longer ones windows are spaced evenly from
start to end, and their vectors pooled.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from recsys.content.audio.mel import AISFX, MUSICNN, VGGISH, MelWindows
from recsys.content.audio.naming import encoder_name, window_pooling
from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.pretrained import precision
from recsys.content.random_networks import RANDOM, is_random
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError
from recsys.files import digest_file, digest_files, digest_json

__all__ = ["aisfx_encoder", "musicnn_encoder", "vggish_encoder"]

AHEAD = 16  # files that wait, decoded: ten minutes are up to 20 MB
RANDOM_WEIGHTS = "seed-0"

VGGISH_WINDOWS = MelWindows(VGGISH, length=96, hop=96)  # .96 s, side by side
MUSICNN_WINDOWS = MelWindows(MUSICNN, length=187, hop=187)  # 3 s, side by side
AISFX_WINDOWS = MelWindows(AISFX, length=100, hop=50)  # 2.3 s, half overlapping


def vggish_encoder(wanted: Wanted) -> FileEncoder:
    """Make VGGish; what follows the colon is a file of weights.

    Raises:
        ConfigError: the weights are not here.
    """

    def load(weights: Path | None, device: str) -> Model:
        from recsys.content.audio.vggish import load_vggish

        return load_vggish(weights, device)

    file = wanted.model.removeprefix(RANDOM)
    return _encoder("vggish", file or "vggish", VGGISH_WINDOWS, load, wanted)


def musicnn_encoder(wanted: Wanted) -> FileEncoder:
    """Make musicnn; what follows the colon is ``mtt`` (if nothing does), or ``msd``.

    Raises:
        ConfigError: the weights are not here, or it is none of these.
    """

    def load(weights: Path | None, device: str) -> Model:
        from recsys.content.audio.musicnn import load_musicnn

        return load_musicnn(weights, device)

    corpus = wanted.model.removeprefix(RANDOM) or "mtt"
    if corpus not in ("mtt", "msd"):
        raise ConfigError(f"encoder musicnn:{corpus}: write musicnn, musicnn:mtt or musicnn:msd")
    return _encoder(f"musicnn:{corpus}", f"musicnn-{corpus}", MUSICNN_WINDOWS, load, wanted)


def aisfx_encoder(wanted: Wanted) -> FileEncoder:
    """Make the CNN for sound effects.

    Raises:
        ConfigError: the weights are not here.
    """

    def load(weights: Path | None, device: str) -> Model:
        from recsys.content.audio.panns import load_aisfx

        return load_aisfx(weights, device)

    return _encoder("aisfx", "aisfx", AISFX_WINDOWS, load, wanted)


def _encoder(
    name: str,
    weights: str,
    decode: MelWindows,
    load: Callable[[Path | None, str], Model],
    wanted: Wanted,
) -> FileEncoder:
    """Make an encoder from the name of its weights and what loads them."""
    pooling = window_pooling(wanted)
    if is_random(wanted.model):
        name, path, mark = RANDOM + name, None, RANDOM_WEIGHTS
    else:
        path = find_weights(weights)
        mark = _digest(path)
    return FileEncoder(
        encoder_name(name, mark, decode, pooling) + precision(wanted.device),
        decode,
        partial(load, path, wanted.device),
        ahead=AHEAD,
        pooling=pooling,
    )


def _digest(weights: Path) -> str:
    """The first 12 hex digits of the sha256 of a file, or of all that a folder holds."""
    if weights.is_file():
        return digest_file(weights)[:12]
    return digest_json(digest_files(weights))[:12]
