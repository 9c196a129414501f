"""Networks trained on ImageNet, without their heads: images -> features.

Each line of ``BACKBONES`` is a network with the preprocessing that belongs to its weights. Torch is
imported when the first image needs it (`recsys.content.image.networks`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.image.preprocess import Preprocess
from recsys.content.pretrained import precision
from recsys.content.random_networks import RANDOM, is_random
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError
from recsys.files import digest_file

__all__ = ["BACKBONES", "Backbone", "backbone_encoder", "weights_file"]

Colour = tuple[float, float, float]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
SEED = 0  # of random weights


@dataclass(frozen=True)
class Backbone:
    """A network and what its weights expect.

    Attributes:
        name: of the encoder and of its weights in ``recsys weights list``.
        library: who builds it.
        architecture: its name there.
        width: of the features.
        head: how the names of weights begin that are left out: classifiers.
        preprocess: of files.
        mean: of red, green, blue, in 0 to 1: is subtracted.
        std: of the same: divides.
        by_order: whether weights under other names may be taken in the order of layers.
    """

    name: str
    library: Literal["torchvision", "timm"]
    architecture: str
    width: int
    head: tuple[str, ...]
    preprocess: Preprocess
    mean: Colour
    std: Colour
    by_order: bool = False


_ALL = (
    # He et al., 2016. torchvision's second recipe, IMAGENET1K_V2
    Backbone(
        *("resnet50", "torchvision", "resnet50", 2048, ("fc.",)),
        *(Preprocess(232, 224, "bilinear"), IMAGENET_MEAN, IMAGENET_STD),
    ),
    # Simonyan and Zisserman, 2015. Features: the second hidden layer ("fc7"), after its ReLU
    Backbone(
        *("vgg16", "torchvision", "vgg16", 4096, ("classifier.6.",)),
        *(Preprocess(256, 224, "bilinear"), IMAGENET_MEAN, IMAGENET_STD),
    ),
    # Szegedy et al., 2016. torchvision's weights, as timm uses them
    Backbone(
        *("inception-v3", "timm", "inception_v3", 2048, ("fc.", "AuxLogits.")),
        *(Preprocess(341, 299, "bicubic"), HALF, HALF),
    ),
    # Szegedy et al., 2017
    Backbone(
        *("inception-resnet-v2", "timm", "inception_resnet_v2", 1536, ("classif.",)),
        *(Preprocess(333, 299, "bicubic"), HALF, HALF),
    ),
    # Tan and Le, 2019; "lite": for phones, without squeeze-and-excitation
    Backbone(
        *("efficientnet-lite0", "timm", "tf_efficientnet_lite0", 1280, ("classifier.", "_fc.")),
        *(Preprocess(256, 224, "bicubic"), HALF, HALF, True),
    ),
)
BACKBONES: Mapping[str, Backbone] = MappingProxyType({one.name: one for one in _ALL})


def backbone_encoder(name: str, wanted: Wanted) -> FileEncoder:
    """Make an encoder of image files.

    Args:
        name: one of ``BACKBONES``.
        wanted: its ``model`` is "" for the published weights, a file of others, or "random:".

    Raises:
        ConfigError: the weights are not here.
    """
    backbone = BACKBONES[name]
    ending = f"{backbone.preprocess.tag}{precision(wanted.device)}"
    if is_random(wanted.model):
        return FileEncoder(
            f"{RANDOM}{name}/seed{SEED}/{ending}",
            backbone.preprocess,
            lambda: _load(backbone, None, wanted.device),
        )
    path = weights_file(name, wanted.model)
    return FileEncoder(
        f"{name}@{digest_file(path)[:12]}/{ending}",
        backbone.preprocess,
        lambda: _load(backbone, path, wanted.device),
    )


def weights_file(name: str, given: str) -> Path:
    """Return the file ``given``; where that is "", the published weights of ``name``.

    Raises:
        ConfigError: it is not here.
    """
    path = Path(given).expanduser() if given else find_weights(name)
    if not path.is_file():
        raise ConfigError(f"encoder {name}: {path} is not a file; expected .pth or .safetensors")
    return path


def _load(backbone: Backbone, path: Path | None, device: str) -> Model:
    """Load the network; None: with random weights."""
    from recsys.content.image import networks  # here: importing torch takes seconds

    if path is None:
        network = networks.random_network(backbone, SEED)
    else:
        network = networks.load_network(backbone, path)
    return networks.pixel_model(network, backbone, device)
