"""Altered copies: what the alterations do, and whether copies find their originals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from recsys.content.encoder import ContentBlock, Encoded, Unreadable
from recsys.probing import copies as copies_module
from recsys.probing.augment import altered_image, altered_sound, altered_text
from recsys.probing.copies import copy_figure, recognise_copies


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_texts_lose_words_in_order_and_never_all_nor_none() -> None:
    text = " ".join(f"w{n}" for n in range(1000))
    words = altered_text(text, draw()).split()
    assert 750 < len(words) < 850
    assert sorted(words, key=lambda word: int(word[1:])) == words
    assert altered_text(text, draw()).split() == words != altered_text(text, draw(1)).split()
    assert altered_text("one", draw()) == "one" and altered_text("", draw()) == ""
    assert {altered_text("a b", draw(seed)) for seed in range(20)} == {"a", "b"}


def test_images_are_cropped_mirrored_and_recoloured(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "a.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "b.png")
    copy = altered_image(tmp_path / "a.png", tmp_path / "copy", draw())
    with Image.open(copy) as image:
        pixels = np.asarray(image.convert("L"), dtype=int)
    assert pixels.shape == (40, 80)
    assert (np.diff(pixels[0]) <= 0).all() and pixels[0, 0] > pixels[0, -1]  # mirrored
    again = altered_image(tmp_path / "a.png", tmp_path / "again", draw())
    assert again.read_bytes() == copy.read_bytes()
    assert altered_image(tmp_path / "b.png", tmp_path / "one", draw()).is_file()


def test_sounds_get_noise_and_another_volume(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(np.arange(8000) / 8).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 8000, subtype="FLOAT")
    copy = altered_sound(tmp_path / "a.wav", tmp_path / "copy", draw())
    samples, rate = soundfile.read(copy)
    assert rate == 8000 and samples.shape == (8000, 2)
    gain = (samples[:, 0] @ tone) / (tone @ tone)
    assert 0.49 < gain < 2.01
    rest = (samples[:, 0] - gain * tone).std() / (gain * tone.std())
    assert rest == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_broken_files_are_told(tmp_path: Path, kind: str) -> None:
    if kind == "sound":
        pytest.importorskip("soundfile")
    (tmp_path / "bad").write_bytes(b"no file of any kind")
    alter = altered_image if kind == "image" else altered_sound
    for name in ("bad", "absent"):
        with pytest.raises(Unreadable):
            alter(tmp_path / name, tmp_path / "copy", draw())


def test_copies_are_found_as_a_plain_loop_finds_them() -> None:
    normal = draw().normal
    vectors = normal(size=(40, 6)).astype(np.float32)
    originals = np.array([4, 0, 17, 31, 8, 22, 39, 5])
    copies = vectors[originals] + normal(scale=0.6, size=(8, 6)).astype(np.float32)
    there = np.arange(8) != 2
    mean = vectors.mean(axis=0)
    right = []
    for copy, original, known in zip(copies, originals, there, strict=True):
        cosines = [(copy - mean) @ (of - mean) / np.linalg.norm(of - mean) for of in vectors]
        right.append(known and int(np.argmax(cosines)) == original)
    found = copy_figure(vectors, copies, there, originals)
    assert found is not None
    assert 0.2 < found.value < 0.95  # not trivial
    assert found.value == pytest.approx(np.mean(right))
    assert found.n == 8 and found.chance == 1 / 40


def test_the_same_content_twice_counts_by_its_share() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [-3, 1]], np.float32)
    there, rows = np.ones(4, np.bool_), np.arange(4)
    found = copy_figure(vectors, vectors, there, rows)
    assert found is not None and found.value == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    constant = np.full_like(vectors, 1 / 3)
    same = copy_figure(constant, constant, there, rows)
    assert same is not None and same.value == pytest.approx(0.25)
    assert copy_figure(vectors[:1], vectors[:1], there[:1], rows[:1]) is None


def letters(contents: Sequence[str | None]) -> Encoded:
    """Count letters: knows a text again that lost a few words."""
    rows = [[(text or "").count(chr(97 + n)) for n in range(26)] for text in contents]
    return Encoded(np.array(rows, np.float32), np.array([bool(text) for text in contents]))


def make_texts() -> list[str | None]:
    """Each text has its own three letters; every fourth item has none."""
    choice = draw(1).choice
    favourites = ["".join(chr(97 + (n * 7 + k) % 26) for k in range(3)) for n in range(24)]
    return [" ".join(choice(list(own), 60)) if n % 4 else None for n, own in enumerate(favourites)]


def make_block(vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> ContentBlock:
    return ContentBlock("letters", vectors, present)


def test_copies_of_drawn_items_are_looked_for_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies_module, "CHUNK", 5)
    texts = make_texts()
    encoded = letters(texts)
    block = make_block(encoded.vectors, encoded.present)
    seen: list[str] = []

    def encode(contents: Sequence[str]) -> Encoded:
        seen.extend(contents)
        return letters(contents)

    found = recognise_copies(block, texts, "text", encode, 12)
    assert found.figure is not None and found.unaltered == 0
    assert found.figure.n == 12 == len(seen) and found.figure.chance == 1 / 18
    assert found.figure.value > 0.9
    assert all(copy not in texts for copy in seen)
    twelve = list(seen)
    seen.clear()
    assert recognise_copies(block, texts, "text", encode, 100).figure is not None
    assert seen[:12] == twelve and len(seen) == 18  # more of them are the same and others
    shuffled = make_block(encoded.vectors[::-1], encoded.present[::-1])
    other = recognise_copies(shuffled, texts[::-1], "text", lambda c: letters(c[::-1]), 100)
    assert other.figure is not None and other.figure.value < 0.4


def test_files_that_cannot_be_altered_are_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(6)]
    for n, path in enumerate(paths):
        Image.new("RGB", (20, 20), (40 * n, 250 - 40 * n, 90)).save(path)

    def mean_colour(contents: Sequence[Path]) -> Encoded:
        rows = [np.asarray(Image.open(path)).mean(axis=(0, 1)) for path in contents]
        vectors = np.array(rows, np.float32).reshape(-1, 3)
        return Encoded(vectors, np.ones(len(rows), np.bool_))

    block = make_block(*mean_colour(paths)[:2])
    paths[2].write_bytes(b"gone")
    found = recognise_copies(block, paths, "image", mean_colour, 6)
    assert found.figure is not None and (found.figure.n, found.unaltered) == (5, 1)
    for path in paths:
        path.write_bytes(b"gone")
    assert recognise_copies(block, paths, "image", mean_colour, 6) == (None, 6)
