"""SimCLR on the catalogue's own images (Chen et al., 2020): learnt without labels.

Made for catalogues that look like no photo of ImageNet: covers, drawings, fabrics. It starts from
weights of ImageNet, so that a few epochs on a thousand images suffice; from scratch the paper needs
hundreds on a million.
"""

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.image.backbones import BACKBONES, Backbone, weights_file
from recsys.content.image.preprocess import Preprocess
from recsys.content.learnt import Arrays, digest_arrays
from recsys.content.pretrained import precision
from recsys.content.random_networks import RANDOM, is_random
from recsys.content.simclr import Task, learn_weights, read_inputs

__all__ = ["simclr_encoder"]

VERSION = "image-1"  # of views and settings: what was learnt with another is learnt anew
SMALL = "efficientnet-lite0"  # fast to train without a GPU
SIDE = 64  # pixels of a view
SOURCE = Preprocess(96, 96, "bicubic")  # what views are cut out of
READ = Preprocess(SIDE, SIDE, "bicubic")  # what is encoded afterwards
MOST = 20_000  # images that are learnt from, 27,648 bytes each: 550 MB beside the network


def simclr_encoder(wanted: Wanted) -> FileEncoder:
    """Learn an encoder of image files from them.

    Args:
        wanted: its ``model`` says where to start: one of ``BACKBONES``, a file of weights of
            ``SMALL``, or "" for the published weights of ``SMALL``; "random:" starts from random
            weights, as the paper does. ``contents`` are the files; those that cannot be read are
            left out, and of more than ``MOST`` a random choice counts. Options: ``epochs`` (5:
            minutes for 1,600 images on two cores), ``seed``.

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
    arrays = learn_weights(wanted, backbone.name, weights, VERSION, _learn)
    name = f"simclr-{backbone.name}@{digest_arrays(arrays)[:12]}/{READ.tag}"
    name += precision(wanted.device)
    return FileEncoder(
        name if weights else RANDOM + name, READ, lambda: _model(arrays, backbone, wanted.device)
    )


def _learn(task: Task) -> Arrays:
    """Train on the images and return the network's weights."""
    import torch

    from recsys.content.contrast import ContrastSettings, contrast, weights_of
    from recsys.content.image import networks
    from recsys.content.image.augment import alter
    from recsys.device import pick_device

    images = torch.from_numpy(read_inputs(task.files, SOURCE, MOST, task.seed))
    backbone = BACKBONES[task.start]
    if task.weights is None:
        network = networks.random_network(backbone, task.seed).train()
    else:  # in evaluation mode: batch norms keep what they know of ImageNet
        network = networks.load_network(backbone, task.weights)
    network = network.to(pick_device(task.device)).to(memory_format=torch.channels_last)
    contrast(
        lambda some, random: networks.standardise(alter(some, SIDE, random), backbone),
        network,
        backbone.width,
        images,
        ContrastSettings(epochs=task.epochs, seed=task.seed),
    )
    return weights_of(network)


def _model(arrays: Arrays, backbone: Backbone, device: str) -> Model:
    """Put the learnt weights into the network."""
    from recsys.content.image import networks

    return networks.pixel_model(networks.filled_network(backbone, arrays), backbone, device)
