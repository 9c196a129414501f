"""Altered copies: what the alterations do, and whether copies find their originals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsys.content.encoder import Encoded
from recsys.errors import DataError
from recsys.probing.augment import altered_images, altered_sounds, altered_texts
from recsys.probing.copies import copy_figure, encoder_copy_figure


def test_texts_lose_words_in_order_and_never_all() -> None:
    text = " ".join(f"w{n}" for n in range(1000))
    first, none, short, empty = altered_texts([text, None, "one", ""], kept=0.8)
    assert none is None and short == "one" and empty == ""
    assert first is not None
    words = first.split()
    assert 750 < len(words) < 850
    assert sorted(words, key=lambda word: int(word[1:])) == words
    assert altered_texts([text], kept=0.8) == [first] != altered_texts([text], kept=0.8, seed=1)


def test_images_are_cropped_mirrored_and_recoloured(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "a.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "b.png")
    copies = altered_images([tmp_path / "a.png", None, tmp_path / "b.png"], tmp_path / "copies")
    assert copies[1] is None
    assert copies[0] is not None and copies[2] is not None
    with Image.open(copies[0]) as image:
        pixels = np.asarray(image.convert("L"), dtype=int)
    assert pixels.shape == (40, 80)
    assert (np.diff(pixels[0]) <= 0).all() and pixels[0, 0] > pixels[0, -1]  # mirrored
    bytes_before = copies[0].read_bytes()
    altered_images([tmp_path / "a.png"], tmp_path / "copies")
    assert copies[0].read_bytes() == bytes_before


def test_sounds_get_noise_and_another_volume(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(np.arange(8000) / 8).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 8000, subtype="FLOAT")
    (copy,) = altered_sounds([tmp_path / "a.wav"], tmp_path / "copies")
    samples, rate = soundfile.read(copy)
    assert rate == 8000 and samples.shape == (8000, 2)
    gain = (samples[:, 0] @ tone) / (tone @ tone)
    assert 0.49 < gain < 2.01
    rest = (samples[:, 0] - gain * tone).std() / (gain * tone.std())
    assert rest == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "bad").write_bytes(b"no file of any kind")
    alter = altered_images if kind == "image" else altered_sounds
    with pytest.raises(DataError, match="bad: cannot be read"):
        alter([tmp_path / "bad"], tmp_path / "copies")
    with pytest.raises(DataError, match="absent: cannot be read"):
        alter([tmp_path / "absent"], tmp_path / "copies")


def test_copies_are_found_as_a_plain_loop_finds_them() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 6)).astype(np.float32)
    copies = vectors + draw.normal(scale=0.8, size=(40, 6)).astype(np.float32)
    present, copied = np.arange(40) != 3, np.arange(40) != 9
    kept = [n for n in range(40) if n not in (3, 9)]
    mean = vectors[kept].mean(axis=0)
    right = []
    for item in kept:
        cosines = [
            (copies[item] - mean) @ (vectors[n] - mean) / np.linalg.norm(vectors[n] - mean)
            for n in kept
        ]
        right.append(kept[int(np.argmax(cosines))] == item)
    found = copy_figure(vectors, present, copies, copied)
    assert found is not None
    assert 0.2 < found.value < 0.95  # neither trivial
    assert found.value == pytest.approx(np.mean(right))
    assert found.n == 38 and found.chance == 1 / 38


def test_the_same_content_twice_counts_by_its_share() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [-3, 1]], np.float32)
    there = np.ones(4, np.bool_)
    found = copy_figure(vectors, there, vectors, there)
    assert found is not None and found.value == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    constant = copy_figure(np.ones_like(vectors), there, np.ones_like(vectors), there)
    assert constant is not None and constant.value == pytest.approx(0.25)
    assert copy_figure(vectors, np.arange(4) == 0, vectors, there) is None


class Letters:
    """Counts letters: knows a text again that lost a few words."""

    name, dim = "letters", 26

    def encode(self, contents: Sequence[str | None]) -> Encoded:
        rows = [[(text or "").count(chr(97 + n)) for n in range(26)] for text in contents]
        return Encoded(np.array(rows, np.float32), np.array([bool(text) for text in contents]))


def test_an_encoder_is_asked_for_both() -> None:
    draw = np.random.default_rng(1)
    favourites = ["".join(chr(97 + (n * 7 + k) % 26) for k in range(3)) for n in range(20)]
    texts = [" ".join(draw.choice(list(own), 60)) for own in favourites]
    found = encoder_copy_figure(Letters(), [*texts, None], altered_texts([*texts, None]))
    assert found is not None and found.n == 20 and found.value > 0.8
