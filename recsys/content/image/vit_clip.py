"""Images as vectors by ViT (Dosovitskiy et al., 2021) and CLIP (Radford et al., 2021).

Both through transformers; the preprocessing is the one that the weights were trained with.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.file_encoder import FileEncoder
from recsys.content.image.processor import ImageProcessor, read_processor
from recsys.content.pretrained import check_architecture, digest_folder, load_pretrained, precision
from recsys.content.random_networks import RANDOM, SIDE, is_random, random_network
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

__all__ = ["VIT_POOLINGS", "clip_image_encoder", "vit_encoder"]

VIT_POOLINGS = ("cls", "mean", "pooler")  # the first is the default
HALF = (0.5, 0.5, 0.5)

Network = Any  # of transformers
Pool = Callable[[Network, Any], Any]  # a network and pixels (n, 3, h, w) -> vectors (n, dim)


def vit_encoder(wanted: Wanted) -> FileEncoder:
    """Find a vision transformer, and load it when the first image is encoded.

    Args:
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``;
            its pooling is ``cls`` (the first token's last hidden vector), ``mean`` (of the
            patches'), or ``pooler`` (the first through the trained layer).

    Raises:
        ConfigError: there is no such model, it is no ViT, or has no such pooling.
    """
    pooling = wanted.options.pooling or VIT_POOLINGS[0]
    if pooling not in VIT_POOLINGS:
        raise ConfigError(
            f"encoder vit: pooling = {pooling!r}: expected one of {', '.join(VIT_POOLINGS)}"
        )

    def pool(network: Network, pixels: Any) -> Any:
        output = network(pixel_values=pixels)
        if pooling == "pooler":
            return output.pooler_output
        hidden = output.last_hidden_state
        return hidden[:, 0] if pooling == "cls" else hidden[:, 1:].mean(dim=1)

    def load(folder: Path) -> Network:
        from transformers import AutoModel

        return load_pretrained(AutoModel, folder, () if pooling == "pooler" else ("pooler.",))

    return _encoder("vit", wanted, f"/{pooling}", load, pool)


def clip_image_encoder(wanted: Wanted) -> FileEncoder:
    """Find CLIP's image side, and load it when the first image is encoded.

    Vectors are of unit length, in the space of ``clip-text`` with the same model.

    Args:
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``.

    Raises:
        ConfigError: there is no such model, or it is no CLIP.
    """

    def pool(network: Network, pixels: Any) -> Any:
        from torch.nn import functional as F

        pooled = network.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(network.visual_projection(pooled).float(), dim=-1)

    def load(folder: Path) -> Network:
        from transformers import CLIPModel

        return load_pretrained(CLIPModel, folder)

    return _encoder("clip", wanted, "", load, pool)


def _encoder(
    family: Literal["vit", "clip"],
    wanted: Wanted,
    ending: str,
    load: Callable[[Path], Network],
    pool: Pool,
) -> FileEncoder:
    """Make an encoder of a folder, or of a tiny random network."""
    width_key = "hidden_size" if family == "vit" else "projection_dim"
    if is_random(wanted.model):
        name = f"{RANDOM}{family}:tiny"
        processor = ImageProcessor(SIDE, 3, (SIDE, SIDE), 1 / 255, HALF, HALF)
        make = partial(random_network, family)
    else:
        folder = find_weights(wanted.model)
        config = check_architecture(folder, family)
        name = f"{family}:{Path(wanted.model).name}@{digest_folder(folder)}"
        processor = read_processor(folder, "shorter side" if family == "clip" else "square")
        side = (config if family == "vit" else config.get("vision_config", {})).get("image_size")
        if side is not None and processor.size != (side, side):
            raise ConfigError(
                f"{folder}: preprocessing makes images of {processor.size}, the network takes "
                f"{side} x {side}"
            )
        make = partial(load, folder)
    return FileEncoder(
        f"{name}/{processor.tag}{ending}{precision(wanted.device)}",
        processor,
        lambda: _model(make().to(wanted.device), width_key, processor, pool),
    )


def _model(network: Network, width_key: str, processor: ImageProcessor, pool: Pool) -> Model:
    import torch

    from recsys.device import autocast, to_device

    def forward(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = to_device(processor.normalise(views), network.device)
        with torch.inference_mode(), autocast(network.device):
            vectors = pool(network, pixels).float()
        numbers: NDArray[np.float32] = vectors.cpu().numpy()
        return numbers

    return Model(int(getattr(network.config, width_key)), forward)
