"""Contrastive learning on the catalogue's own sounds, without labels.

SimCLR (Chen et al., 2020) with two parts of one sound as its views, as in COLA (Saeed et al.,
2021). It starts from the weights of a net that was trained on other sounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.audio.decode import read_sound
from recsys.content.audio.mel import MelFrontEnd, MelWindows, log_mel
from recsys.content.audio.mel_nets import AISFX_WINDOWS, MUSICNN_WINDOWS, VGGISH_WINDOWS
from recsys.content.audio.naming import encoder_name
from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.learnt import Arrays, digest_arrays
from recsys.content.pretrained import precision
from recsys.content.random_networks import RANDOM, is_random, seeded
from recsys.content.simclr import Task, learn_weights, read_inputs
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

__all__ = ["STARTS", "Pieces", "simclr_sound_encoder"]

VERSION = "sound-1"  # of views and settings: what was learnt with another is learnt anew
PIECES = 4  # of a sound: its views are cut out of them
MOST = 5_000  # sounds that are learnt from: 380 MB beside the net, from musicnn 720 MB
AHEAD = 16  # files that wait, decoded, when they are encoded


@dataclass(frozen=True)
class Start:
    """A net to start from.

    Attributes:
        weights: their name in the list of weights; "" where there are none.
        reads: windows of sounds, as the net reads them.
        width: of its vectors.
        piece: frames of what is kept of a sound, ``PIECES`` times.
        view: frames of a view; less than a piece.
        kept: how the names of given weights begin that do not learn: of the first layers, which
            take most of the time and serve any sound.
    """

    weights: str
    reads: MelWindows
    width: int
    piece: int
    view: int
    kept: tuple[str, ...] = ()


STARTS: Mapping[str, Start] = MappingProxyType(
    {
        "aisfx": Start(
            "aisfx", AISFX_WINDOWS, 512, piece=100, view=64, kept=("conv_block1.", "conv_block2.")
        ),
        "musicnn": Start(
            "musicnn-mtt", MUSICNN_WINDOWS, 200, piece=187, view=128, kept=("front.",)
        ),
        "vggish": Start(
            "vggish", VGGISH_WINDOWS, 128, piece=144, view=96, kept=("features.0.", "features.3.")
        ),
        "small": Start("", AISFX_WINDOWS, 768, piece=100, view=64),
    }
)
USUAL = "aisfx"
UNTRAINED = "small"  # learns from nothing, fast enough for that without a GPU


def simclr_sound_encoder(wanted: Wanted) -> FileEncoder:
    """Learn an encoder of sound files from them.

    Args:
        wanted: its ``model`` says where to start: aisfx, vggish, musicnn, a file of weights of
            aisfx, or "" for the published weights of aisfx; "random:" starts a small net, or one of
            these, from random weights. ``contents`` are the files; those that cannot be read are
            left out, and of more than ``MOST`` a random choice counts. Options: ``epochs`` (5),
            ``seed``. An epoch of 1,600 sounds from aisfx takes minutes without a GPU.

    Raises:
        ConfigError: the weights to start from are not here.
        DataError: there are fewer than two sounds.
        TrainingDiverged: the loss is not finite.
    """
    name, weights = _start(wanted.model)
    arrays = learn_weights(wanted, name, weights, VERSION, _learn)
    start = STARTS[name]
    full = encoder_name(f"simclr-sound-{name}", digest_arrays(arrays)[:12], start.reads)
    full += precision(wanted.device)
    return FileEncoder(
        full if weights else RANDOM + full,
        start.reads,
        lambda: _model(arrays, name, wanted.device),
        ahead=AHEAD,
    )


def _start(model: str) -> tuple[str, Path | None]:
    """Return one of ``STARTS``, and its weights.

    Raises:
        ConfigError: it is none of them, or the weights are not here.
    """
    given = model.removeprefix(RANDOM)
    if is_random(model) and (given or UNTRAINED) in STARTS:
        return given or UNTRAINED, None
    trained = {name: start.weights for name, start in STARTS.items() if start.weights}
    if not is_random(model):
        if (given or USUAL) in trained:
            return given or USUAL, find_weights(trained[given or USUAL])
        if Path(given).expanduser().is_file():
            return USUAL, Path(given).expanduser()
    raise ConfigError(
        f"encoder {'random:' * is_random(model)}simclr-sound:{given}: expected one of "
        f"{', '.join(STARTS if is_random(model) else trained)}, or a file of weights of {USUAL}"
    )


@dataclass(frozen=True)
class Pieces:
    """A decoder: what is learnt from of a file's log-mel spectrogram.

    Pieces lie evenly from start to end. A sound that is shorter than a piece is repeated: two views
    of silence would say that all sounds are alike.

    Attributes:
        front: the front end of the net.
        length: frames of a piece.
    """

    front: MelFrontEnd
    length: int

    def __call__(self, path: Path) -> NDArray[np.float16]:
        """Return one view of ``PIECES`` pieces, ``(1, PIECES, length, bands)``.

        Raises:
            Unreadable: see `read_sound`.
        """
        samples = read_sound(path, self.front.rate)
        short = max(0, self.front.fft - len(samples))
        frames = log_mel(np.pad(samples, (0, short)), self.front)
        if len(frames) < self.length:
            frames = frames[np.arange(self.length) % len(frames)]
        first = np.linspace(0, len(frames) - self.length, PIECES).astype(np.int64)
        pieces: NDArray[np.float16] = frames.astype(np.float16)[
            first[:, None] + np.arange(self.length)
        ]
        return pieces[None]


def _learn(task: Task) -> Arrays:
    """Train on the sounds and return the net's weights."""
    import torch

    from recsys.content.audio.augment import alter
    from recsys.content.contrast import ContrastSettings, contrast, weights_of
    from recsys.device import pick_device

    start = STARTS[task.start]
    front = start.reads.front
    decode = Pieces(front, start.piece)
    sounds = torch.from_numpy(read_inputs(task.files, decode, MOST, task.seed))
    net = _net(task.start, task.weights, task.seed)
    contrast(
        lambda some, random: alter(some, start.view, front, random),
        net.to(pick_device(task.device)),
        start.width,
        sounds,
        ContrastSettings(epochs=task.epochs, seed=task.seed),
    )
    return weights_of(net)


def _net(name: str, weights: Path | None, seed: int) -> Any:
    """Make the torch net to start from; given weights keep the batch norms' statistics."""
    from recsys.content.audio import musicnn, panns, small_net, vggish

    match name:
        case "aisfx":
            net = panns.aisfx_net(weights, seed)
        case "musicnn":
            net = musicnn.musicnn_net(weights, seed)
        case "vggish":
            net = vggish.vggish_net(weights, seed)
        case _:
            net = seeded(small_net.SmallNet, seed)
    if weights is not None:
        for key, parameter in net.named_parameters():
            parameter.requires_grad_(not key.startswith(STARTS[name].kept))
    return net.train(weights is None)


def _model(arrays: Arrays, name: str, device: str) -> Model:
    """Put the learnt weights into the net."""
    import torch

    from recsys.content.audio.nets import as_model

    with torch.device("meta"):
        net = _net(name, None, 0)
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    net.load_state_dict(state, assign=True)  # counters of batches that are absent become 0
    return as_model(net, STARTS[name].width, device)
