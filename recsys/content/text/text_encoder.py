"""What all text encoders share: texts that cannot be read, batches of like length, order kept."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import MISSING, Encoded, Model

__all__ = ["TextEncoder", "why_unreadable"]

VERSION = 1  # of what is read of a text by the limits below; part of every text encoder's name
LONGEST = 100_000  # characters; what follows is not read (no model here reads so far)
LOOKED_AT = 4_096  # characters that show whether it is text at all
STRANGE_SHARE = 0.1  # of control, private, unassigned and replacement characters: then it is not


class TextEncoder:
    """Texts through a model that is loaded when the first text needs it.

    Blank texts are missing; bytes that are no text are unreadable; of a longer text the first
    100,000 characters count. Texts of like length share a batch, so that little is padded.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Model],
        *,
        batch: int = 64,
        lengths: Callable[[Sequence[str]], NDArray[np.int64]] | None = None,
        lacking: str = "no known word",
        halve: Callable[[int], Any] | None = None,
    ) -> None:
        """Prepare an encoder.

        Args:
            name: encoder, weights and preprocessing, but for what is done to all texts alike.
            load: makes the model; its ``forward`` takes a list of texts, and returns rows
                ``(n, dim)``, wholly NaN for a text that it can make nothing of.
            batch: texts in one call of ``forward``.
            lengths: what texts count for, ``(n,)``; their letters if absent.
            lacking: why ``forward`` makes nothing of a text.
            halve: cuts the model below its last n layers (`recsys.content.text.tail.Halves`, which
                imports torch); None where it has no layers that could learn.
        """
        self.name = f"{name}/text-v{VERSION}"
        self._load = load
        self.batch = batch
        self.lengths = lengths or _letters
        self.halve = halve
        self._lacking = lacking

    @cached_property
    def model(self) -> Model:
        """The loaded model."""
        return self._load()

    @property
    def dim(self) -> int:
        """Width of the vectors; asking for it loads the model."""
        return self.model.dim

    def encode(self, contents: Sequence[str | None]) -> Encoded:
        """Return vectors ``(n, dim)``, with the reason of each text that has none."""
        found = {row: why_unreadable(content) for row, content in enumerate(contents)}
        reasons = {row: why for row, why in found.items() if why is not None}
        places, texts = _read(contents, found)
        vectors = np.zeros((len(contents), self.dim), dtype=np.float32)
        if texts:
            longest_first = np.argsort(-self.lengths(texts), kind="stable")
            for start in range(0, len(texts), self.batch):
                batch = longest_first[start : start + self.batch]
                vectors[places[batch]] = self.model.forward([texts[i] for i in batch])
        for row in np.flatnonzero(np.isnan(vectors).all(axis=1)):
            reasons[int(row)] = self._lacking
            vectors[row] = 0.0
        present = np.ones(len(contents), dtype=np.bool_)
        present[list(reasons)] = False
        return Encoded(vectors, present, reasons)

    def readable(self, contents: Sequence[str | None]) -> tuple[NDArray[np.int64], list[str]]:
        """Return the places ``(m,)`` of contents that can be read, and what is read of them."""
        return _read(contents, {row: why_unreadable(text) for row, text in enumerate(contents)})


def why_unreadable(content: object) -> str | None:
    """Why there is nothing to encode, or None; a missing cell may be None or NaN."""
    if not isinstance(content, str) or not content.strip():
        return MISSING
    start = content[:LOOKED_AT]
    strange = sum(
        letter == "\ufffd" or (unicodedata.category(letter)[0] == "C" and not _harmless(letter))
        for letter in start
    )
    return "binary, not text" if strange > STRANGE_SHARE * len(start) else None


def _read(
    contents: Sequence[str | None], found: Mapping[int, str | None]
) -> tuple[NDArray[np.int64], list[str]]:
    places = np.array([row for row, why in found.items() if why is None], dtype=np.int64)
    return places, [_valid(str(contents[row])[:LONGEST]) for row in places]


def _harmless(letter: str) -> bool:
    """White space, and the joiners and direction marks of many scripts and emoji."""
    return letter.isspace() or unicodedata.category(letter) == "Cf"


def _valid(text: str) -> str:
    """The text with "?" for halves of characters (lone surrogates), which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _letters(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.array([len(text) for text in texts], dtype=np.int64)
