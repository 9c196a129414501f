"""The shared suite of encoders: whatever is in the list keeps these promises."""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recsys.content.encoder import Encoder
from recsys.content.encoders import ENCODERS, make_encoder
from recsys.content.family import EncoderFamily, Wanted
from recsys.content.random_networks import RANDOM
from recsys.content.store import VectorStore
from recsys.errors import ConfigError

WORDS = [
    "king",
    "queen",
    "man",
    "woman",
    "space",
    "war",
    "love",
    "story",
    "film",
    "night",
    "day",
    "ship",
    "old",
    "young",
    "new",
]


def name_of(prefix: str, family: EncoderFamily) -> str:
    """With random weights where there are such; "tiny" where a model must be named."""
    model = ":tiny" if ":" in family.usage and "[:" not in family.usage else ""
    if family.has_random:
        return f"{RANDOM}{prefix}{model}"
    if prefix == "words":
        return "words:FILE"
    listed = family.models[0].model
    return f"{prefix}:{listed}" if listed else prefix


NAMES = [name_of(prefix, family) for prefix, family in ENCODERS.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contents")


def contents(modality: str, folder: Path) -> Sequence[Any]:
    """Five contents, the third missing and the fifth like the first."""
    rng = np.random.default_rng(5)
    made: list[Any]
    if modality == "text":
        made = [" ".join(rng.choice(WORDS, 5 + 14 * n)) for n in range(5)]
    elif modality == "image":
        made = [write_image(folder / f"{n}.png", rng) for n in range(5)]
    elif modality == "audio":
        made = [write_sound(folder / f"{n}.wav", rng, 0.1 + 0.5 * n) for n in range(5)]
    elif modality == "categories":
        made = [("a", "b"), ("b",), (), ("a",), ()]
    else:
        made = [(float(n), n * 1.5) for n in range(5)]
    made[4] = made[0]
    made[2] = {"categories": (), "numbers": (np.nan, np.nan)}.get(modality)
    return made


def write_image(path: Path, rng: np.random.Generator) -> Path:
    Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).resize((92, 138)).save(path)
    return path


def write_sound(path: Path, rng: np.random.Generator, seconds: float) -> Path:
    t = np.arange(int(8_000 * seconds)) / 8_000
    samples = np.sin(2 * np.pi * rng.uniform(200, 900) * t) + 0.1 * rng.standard_normal(len(t))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, len(t), "NONE", "not compressed"))
        file.writeframes((9_000 * samples).astype("<i2").tobytes())
    return path


def write_words(path: Path) -> Path:
    rows = np.random.default_rng(3).standard_normal((len(WORDS), 4)).round(3)
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, rows, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make(name: str, folder: Path) -> tuple[Encoder[Any], Sequence[Any]]:
    family = ENCODERS[name.removeprefix(RANDOM).partition(":")[0]]
    given = contents(family.modality, folder)
    keep = folder / "learnt"
    name = name.replace("FILE", str(write_words(folder / "words.txt")))
    wanted = Wanted(contents=given, keep=keep if family.modality == "image" else None)
    try:
        return make_encoder(name, wanted), given
    except ConfigError as error:
        if "weights fetch" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("name", NAMES)
def test_every_encoder_keeps_its_promises(name: str, folder: Path, tmp_path: Path) -> None:
    encoder, given = make(name, folder)
    encoded = encoder.encode(given)
    assert encoded.vectors.shape == (5, encoder.dim) and encoded.vectors.dtype == np.float32
    assert np.isfinite(encoded.vectors).all()
    assert encoded.present.tolist() == [True, True, False, True, True]
    assert not encoded.vectors[2].any()
    assert encoded.vectors[encoded.present].any(axis=1).all()

    # Batches do not matter, beyond what rounding does to sums.
    largest = np.abs(encoded.vectors).max()
    one_by_one = np.concatenate([encoder.encode([one]).vectors for one in given])
    np.testing.assert_allclose(one_by_one, encoded.vectors, rtol=0, atol=1e-5 * max(1, largest))
    backwards = encoder.encode(given[::-1]).vectors[::-1]
    np.testing.assert_allclose(backwards, encoded.vectors, rtol=0, atol=1e-5 * max(1, largest))
    assert np.abs(encoded.vectors[0] - encoded.vectors[1]).max() > 1e-4 * largest

    # The same again, and made again, to the last bit.
    assert encoder.encode(given).vectors.tobytes() == encoded.vectors.tobytes()
    again, _ = make(name, folder)
    assert again.name == encoder.name
    assert again.encode(given).vectors.tobytes() == encoded.vectors.tobytes()
    if ENCODERS[name.removeprefix(RANDOM).partition(":")[0]].stored:
        assert VectorStore(tmp_path).encode(encoder, given).report[:3] == (0, 4, 1)


def test_random_weights_say_so(folder: Path) -> None:
    for name in NAMES:
        if name.startswith(RANDOM):
            assert make(name, folder)[0].name.startswith(RANDOM)
