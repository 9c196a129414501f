"""The image encoders of transformers, by name."""

from collections.abc import Mapping
from pathlib import Path

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["TRANSFORMER_IMAGE_ENCODERS"]

VIT = "google/vit-base-patch16-224"
CLIP = "openai/clip-vit-base-patch32"


def _vit(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.image.vit_clip import vit_encoder

    return vit_encoder(wanted)


def _clip(wanted: Wanted) -> Encoder[Path | None]:
    from recsys.content.image.vit_clip import clip_image_encoder

    return clip_image_encoder(wanted)


TRANSFORMER_IMAGE_ENCODERS: Mapping[str, EncoderFamily] = {
    "vit": EncoderFamily(
        usage="vit:MODEL",
        modality="image",
        description="vision transformer's tokens pooled: cls, mean, pooler",
        paper="Dosovitskiy et al., 2021",
        make=_vit,
        models=(Listed(VIT, 768, VIT),),
        options=frozenset({"pooling"}),
        has_random=True,
    ),
    "clip": EncoderFamily(
        usage="clip:MODEL",
        modality="image",
        description="CLIP's image side, in the space of clip-text:MODEL's texts",
        paper="Radford et al., 2021",
        make=_clip,
        models=(Listed(CLIP, 512, CLIP),),
        has_random=True,
    ),
}
