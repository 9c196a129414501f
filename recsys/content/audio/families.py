"""The sound encoders by name."""

from collections.abc import Mapping

from recsys.content.family import EncoderFamily

__all__ = ["AUDIO_ENCODERS"]

AUDIO_ENCODERS: Mapping[str, EncoderFamily] = {}
