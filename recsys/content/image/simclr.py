"""SimCLR on the catalogue's own images (Chen et al., 2020): learnt without labels.

Made for catalogues that look like no photo of ImageNet: covers, drawings, fabrics. It starts from
weights of ImageNet, so that a few epochs on a thousand images suffice; from scratch the paper needs
hundreds on a million.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder, decode_all
from recsys.content.image.backbones import BACKBONES, Backbone, weights_file
from recsys.content.image.preprocess import Preprocess
from recsys.content.learnt import Arrays, digest_arrays, digest_contents, learn_once
from recsys.content.random_networks import RANDOM, is_random
from recsys.errors import DataError
from recsys.files import digest_file

__all__ = ["simclr_encoder"]

VERSION = 1  # of the augmentations and settings: what was learnt with another is learnt anew
SMALL = "efficientnet-lite0"  # fast to train without a GPU
SIDE = 64  # pixels of a view
SOURCE = Preprocess(96, 96, "bicubic")  # what views are cut out of
READ = Preprocess(SIDE, SIDE, "bicubic")  # what is encoded afterwards
MOST = 20_000  # images that are learnt from, chosen at random: 550 MB of memory
FEW = 500  # images that are decoded faster here than in other processes
WORKERS = 2
EPOCHS = 5


def simclr_encoder(wanted: Wanted) -> FileEncoder:
    """Learn an encoder of image files from them.

    Args:
        wanted: its ``model`` says where to start: one of ``BACKBONES``, a file of weights of
            ``SMALL``, or "" for the published weights of ``SMALL``; "random:" starts from random
            weights, as the paper does. ``contents`` are the files; those that cannot be read are
            left out. Options: ``epochs`` (5: minutes for 1,600 images on two cores), ``seed``.

    Raises:
        ConfigError: the weights to start from are not here.
        DataError: there are fewer than two images.
        TrainingDiverged: the loss is not finite.
    """
    start = wanted.model.removeprefix(RANDOM)
    backbone = BACKBONES[start if start in BACKBONES else SMALL]
    weights = None
    if not is_random(wanted.model):
        weights = weights_file(backbone.name, "" if start in BACKBONES else start)
    epochs, seed = wanted.options.epochs or EPOCHS, wanted.options.seed or 0
    settings = {
        "simclr": VERSION,
        "start": backbone.name,
        "weights": digest_file(weights) if weights else "random",
        "epochs": epochs,
        "seed": seed,
    }
    files = [content for content in wanted.contents if isinstance(content, Path)]
    arrays = learn_once(
        wanted.keep,
        f"simclr-{digest_contents(files, settings)}",
        lambda: _learn(files, backbone, weights, epochs, seed, wanted.device),
    )
    name = f"simclr-{backbone.name}@{digest_arrays(arrays)[:12]}/{READ.tag}"
    return FileEncoder(
        name if weights else RANDOM + name, READ, lambda: _model(arrays, backbone, wanted.device)
    )


def _learn(
    files: list[Path], backbone: Backbone, weights: Path | None, epochs: int, seed: int, device: str
) -> Arrays:
    """Train on the images and return the network's weights by name, without counters."""
    import torch

    from recsys.content.contrast import ContrastSettings, contrast
    from recsys.content.image import networks
    from recsys.content.image.augment import alter
    from recsys.device import pick_device

    images = torch.from_numpy(_read(files, seed))
    if weights is None:
        network = networks.random_network(backbone, seed).train()
    else:  # in evaluation mode: batch norms keep what they know of ImageNet
        network = networks.load_network(backbone, weights)
    network = network.to(pick_device(device)).to(memory_format=torch.channels_last)
    contrast(
        lambda some, random: networks.standardise(alter(some, SIDE, random), backbone),
        network,
        backbone.width,
        images,
        ContrastSettings(epochs=epochs, seed=seed),
    )
    state = network.cpu().state_dict()
    return {name: value.numpy() for name, value in state.items() if value.is_floating_point()}


def _read(files: list[Path], seed: int) -> NDArray[np.uint8]:
    """Decode at most ``MOST`` of the files to ``(n, h, w, 3)``.

    Raises:
        DataError: fewer than two can be read.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(files))[:MOST])
    workers = 0 if len(chosen) < FEW else WORKERS
    decoded = decode_all(SOURCE, (files[i] for i in chosen), workers)
    images = [views[0] for views in decoded if not isinstance(views, str)]
    if len(images) < 2:
        raise DataError(
            f"simclr: {len(images)} of {len(files)} images can be read, expected at least 2"
        )
    return np.stack(images)


def _model(arrays: Arrays, backbone: Backbone, device: str) -> Model:
    """Put the learnt weights into the network."""
    from recsys.content.image import networks

    return networks.pixel_model(networks.filled_network(backbone, arrays), backbone, device)
