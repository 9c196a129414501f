"""What SimCLR on files shares, of images or of sounds: what is learnt from, and what is kept of it.

The training itself is `recsys.content.contrast`, the views are `image.augment` and `audio.augment`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recsys.content.family import Wanted
from recsys.content.file_encoder import Decode, Views, decode_all
from recsys.content.learnt import Arrays, digest_contents, learn_once
from recsys.errors import DataError
from recsys.files import digest_file, digest_files

__all__ = ["Task", "learn_weights", "read_inputs"]

FEW = 500  # files that are decoded faster here than in other processes
WORKERS = 2
EPOCHS = 5


class Task(NamedTuple):
    """What is to be learnt.

    Attributes:
        files: to learn from.
        start: the name of the network.
        weights: the file or folder that it starts from; None for random weights.
        epochs: passes over the files.
        seed: of all that is drawn.
        device: where to compute.
    """

    files: Sequence[Path]
    start: str
    weights: Path | None
    epochs: int
    seed: int
    device: str


def learn_weights(
    wanted: Wanted, start: str, weights: Path | None, version: str, learn: Callable[[Task], Arrays]
) -> Arrays:
    """Return what ``learn`` makes of the wanted contents, or what it made of them before.

    Args:
        wanted: its contents that are paths are learnt from. Options: ``epochs``, ``seed``.
        start: the name of the network that learns.
        weights: a file or folder that it starts from; None for random weights.
        version: of ``learn``: what was learnt by another is learnt anew.
        learn: makes the network's weights by name.
    """
    files = [content for content in wanted.contents if isinstance(content, Path)]
    options = wanted.options
    task = Task(files, start, weights, options.epochs or EPOCHS, options.seed or 0, wanted.device)
    settings = {
        "simclr": version,
        "start": start,
        "weights": "random" if weights is None else _mark(weights),
        "epochs": task.epochs,
        "seed": task.seed,
    }
    key = f"simclr-{digest_contents(files, settings)}"
    return learn_once(wanted.keep, key, lambda: learn(task))


def read_inputs(files: Sequence[Path], decode: Decode, most: int, seed: int) -> Views:
    """Decode at most ``most`` files, chosen at random, to one array ``(n, ...)``.

    It is filled in place: memory is that of ``most`` inputs, however many files there are.

    Args:
        files: paths; those that cannot be read are left out.
        decode: makes views ``(v, ...)`` of a file, the first of which is learnt from.
        most: files.
        seed: of the choice.

    Raises:
        DataError: fewer than two can be read.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(files))[:most])
    workers = 0 if len(chosen) < FEW else WORKERS
    inputs, n = np.empty((0,)), 0
    for views in decode_all(decode, (files[i] for i in chosen), workers):
        if not isinstance(views, np.ndarray):
            continue
        if n == 0:
            inputs = np.empty((len(chosen), *views.shape[1:]), views.dtype)
        inputs[n] = views[0]
        n += 1
    if n < 2:
        raise DataError(f"simclr: {n} of {len(files)} files can be read, expected at least 2")
    return inputs[:n]


def _mark(weights: Path) -> str | dict[str, str]:
    """What tells a file or folder of weights from others."""
    return digest_files(weights) if weights.is_dir() else digest_file(weights)
