"""The names of sound encoders: everything that changes a vector is in them."""

from typing import Literal

from recsys.content.audio.decode import DECODE_VERSION
from recsys.content.family import Wanted
from recsys.errors import ConfigError
from recsys.files import digest_json

__all__ = ["Pooling", "encoder_name", "window_pooling"]

Pooling = Literal["mean", "max"]


def encoder_name(model: str, weights: str, decode: object, pooling: Pooling = "mean") -> str:
    """Return a name such as ``"vggish@0123456789ab,front-89abcdef,mean"``.

    Args:
        model: family and model.
        weights: what tells weights from others: 12 hex digits, or a seed.
        decode: the decoder; its ``repr`` says all that it does.
        pooling: of the windows.
    """
    front = digest_json([DECODE_VERSION, repr(decode)])[:8]
    return f"{model}@{weights},front-{front},{pooling}"


def window_pooling(wanted: Wanted) -> Pooling:
    """Return how the windows of a sound become one vector.

    Raises:
        ConfigError: it is a pooling of words or tokens.
    """
    match wanted.options.pooling:
        case None | "mean":
            return "mean"
        case "max":
            return "max"
        case other:
            raise ConfigError(
                f"pooling = {other!r}: the windows of a sound are pooled by mean or max"
            )
