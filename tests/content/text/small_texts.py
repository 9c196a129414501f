"""Texts of two subjects that share no word but the small ones, and an encoder of any name."""

from pathlib import Path
from typing import Any

import numpy as np

from recsys.config import EncoderOptions
from recsys.content.family import Wanted
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.word_families import WORD_ENCODERS

SPACE_TEXT = "rocket planet orbit crew captain alien star moon ship engine"
FARM_TEXT = "barn horse field wheat farmer cow harvest tractor village meadow"
SPACE, FARM = SPACE_TEXT.split(), FARM_TEXT.split()
SMALL = ["the", "a", "of", "and", "in"]


def small_texts(n: int = 120, length: int = 12, seed: int = 0) -> list[str]:
    """Texts by turns of space and of farms."""
    rng = np.random.default_rng(seed)
    subjects = [[*SPACE, *SMALL], [*FARM, *SMALL]]
    return [" ".join(rng.choice(subjects[i % 2], size=length)) for i in range(n)]


def make(
    name: str, contents: list[Any] | None = None, keep: Path | None = None, **options: Any
) -> TextEncoder:
    """Make an encoder, learnt on the small texts if on no others."""
    prefix, _, model = name.partition(":")
    wanted = Wanted(
        model=model,
        options=EncoderOptions(**options),
        contents=small_texts() if contents is None else contents,
        keep=keep,
    )
    encoder = WORD_ENCODERS[prefix].make(wanted)
    assert isinstance(encoder, TextEncoder)
    return encoder
