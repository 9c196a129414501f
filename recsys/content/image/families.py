"""The image encoders by name."""

from collections.abc import Mapping

from recsys.content.family import EncoderFamily

__all__ = ["IMAGE_ENCODERS"]

IMAGE_ENCODERS: Mapping[str, EncoderFamily] = {}
