import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys.content.encoders import make_encoder

spec = importlib.util.find_spec("wordllama")
if spec is None or spec.origin is None:
    pytest.skip('wordllama is absent: pip install "recsys[text]"', allow_module_level=True)
PACKAGE = Path(spec.origin).parent
TEXTS = ["Alien. 1979. Horror", "a", "In space no one can hear you scream " * 9, "你好 😀", "x\ty"]


def test_parity_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # it would log all that comes
    from wordllama import WordLlama

    original = WordLlama.load(cache_dir=PACKAGE, disable_download=True)
    encoder = make_encoder("wordllama")
    assert encoder.dim == 256
    vectors = encoder.encode(TEXTS).vectors
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, original.embed(TEXTS), atol=1e-5)


def test_order_batches_and_repeats() -> None:
    encoder = make_encoder("wordllama")
    texts = [f"{text} {number}" for number in range(30) for text in TEXTS]
    together = encoder.encode(texts).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, make_encoder("wordllama").encode(texts).vectors)


def test_like_texts_are_near() -> None:
    encoder = make_encoder("wordllama")
    space, ship, pie = encoder.encode(["star wars in space", "a space ship", "apple pie"]).vectors
    assert space @ ship > space @ pie + 1


def test_strange_texts() -> None:
    texts = ["half \ud83d of it", "\x00\x01\x7f" * 500, "x " * 500_000, "👩‍👩‍👧", None, " "]
    vectors, present, reasons, _ = make_encoder("wordllama").encode(texts)
    assert present.tolist() == [True, False, True, True, False, False]
    assert reasons[1] == "binary, not text" and np.isfinite(vectors).all()


def test_its_package_is_not_imported() -> None:
    code = """
import sys
from recsys.content.encoders import make_encoder
make_encoder("wordllama").encode(["a film"])
print({"wordllama", "torch"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
