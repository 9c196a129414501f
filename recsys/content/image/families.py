"""The image encoders by name."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["IMAGE_ENCODERS"]


def _floor(name: str, wanted: Wanted) -> Encoder[Path | None]:  # noqa: ARG001  (has no options)
    from recsys.content.image.floors import floor_encoder

    return floor_encoder(name)


def _backbone(name: str, wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.image.backbones import backbone_encoder

    return backbone_encoder(name, wanted)


def _simclr(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.image.simclr import simclr_encoder

    return simclr_encoder(wanted)


def _pretrained(
    name: str, width: int, description: str, paper: str, *requires: str
) -> EncoderFamily:
    return EncoderFamily(
        usage=f"{name}[:FILE]",
        modality="image",
        description=description,
        paper=paper,
        make=partial(_backbone, name),
        models=(Listed("", width, name),),
        requires=requires,
        extra="image",
        has_random=True,
    )


IMAGE_ENCODERS: Mapping[str, EncoderFamily] = {
    "colour-histogram": EncoderFamily(
        usage="colour-histogram",
        modality="image",
        description="hue x saturation x value of the whole and its quarters",
        paper="Swain and Ballard, 1991",
        make=partial(_floor, "colour-histogram"),
        models=(Listed("", 500),),
    ),
    "hog": EncoderFamily(
        usage="hog",
        modality="image",
        description="histograms of oriented gradients",
        paper="Dalal and Triggs, 2005",
        make=partial(_floor, "hog"),
        models=(Listed("", 1764),),
    ),
    "resnet50": _pretrained(
        "resnet50", 2048, "residual network, ImageNet (V2)", "He et al., 2016", "torchvision"
    ),
    "vgg16": _pretrained(
        *("vgg16", 4096, "second hidden layer (fc7), ImageNet"),
        *("Simonyan and Zisserman, 2015", "torchvision"),
    ),
    "inception-v3": _pretrained(
        "inception-v3", 2048, "Inception, ImageNet", "Szegedy et al., 2016", "timm"
    ),
    "inception-resnet-v2": _pretrained(
        *("inception-resnet-v2", 1536, "Inception with residual connections, ImageNet"),
        *("Szegedy et al., 2017", "timm"),
    ),
    "efficientnet-lite0": _pretrained(
        *("efficientnet-lite0", 1280, "small and fast on a CPU, ImageNet"),
        *("Tan and Le, 2019", "timm"),
    ),
    "simclr": EncoderFamily(
        usage="simclr[:START]",
        modality="image",
        description="contrastive, on the catalogue's own images, no labels",
        paper="Chen et al., 2020",
        make=_simclr,
        models=(Listed("", 1280, "efficientnet-lite0"),),
        options=frozenset({"epochs", "seed"}),
        requires=("timm",),
        extra="image",
        has_random=True,
    ),
}
