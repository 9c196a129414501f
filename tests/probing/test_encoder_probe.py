"""An encoder is asked what fits it: words of word vectors, copies of files, pairs of texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recsys.content.encoder import ContentBlock
from recsys.content.encoders import make_encoder
from recsys.content.family import Modality, Wanted
from recsys.probing.encoder import Questions, Subject, probe_encoder
from recsys.probing.pairs import Pair
from recsys.probing.words import Question, WordTests

TESTS = WordTests(
    wordsim353=[Pair("cat", "tiger", 7), Pair("cat", "car", 2), Pair("car", "train", 6)],
    analogies=[Question("family", "man", "king", "woman", "queen")],
)
VECTORS = {
    "man": (1, 0, 0), "king": (1, 1, 0), "woman": (0.1, 0, 1), "queen": (0.1, 1.1, 1),
    "cat": (0, -1, 1), "tiger": (0, -1, 0.8), "car": (-1, 0, 0.1), "train": (-1, 0.5, 0.1),
}  # fmt: skip


def subject(name: str, contents: Sequence[str | Path], modality: Modality = "text") -> Subject:
    encoder = make_encoder(name, Wanted(contents=contents))
    encoded = encoder.encode(contents)
    block = ContentBlock("it", encoded.vectors, encoded.present)
    return Subject(block, encoder, encoder.encode, modality, contents)


def test_word_vectors_of_a_file_are_asked(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    rows = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in VECTORS.items()]
    (tmp_path / "w.txt").write_text("\n".join(rows) + "\n")
    found = probe_encoder(subject(f"words:{tmp_path / 'w.txt'}", ["king"]), Questions(words=TESTS))
    assert found.words is not None and found.words.vocabulary == len(VECTORS)
    similar, solved = (found.words.tests[name] for name in ("wordsim353", "analogies"))
    assert similar.figure is not None and similar.figure.value == pytest.approx(1.0)
    assert solved.figure is not None and (solved.figure.value, solved.known) == (1.0, 1)
    assert list(found.words.tests) == ["wordsim353", "analogies"]
    assert found.figures == {} and found.notes == ()


def test_word_vectors_learnt_on_the_catalogue_are_asked() -> None:
    texts = ["the cat and the tiger", "the car and the train", "a cat a car a train"]
    found = probe_encoder(subject("glove", texts), Questions(words=TESTS))
    assert found.words is not None
    assert found.words.vocabulary == 6  # those that occur twice
    assert [(of.known, of.asked) for of in found.words.tests.values()] == [(2, 3), (0, 1)]


def test_counts_of_words_have_no_word_vectors() -> None:
    texts = ["the cat and the tiger", "the car and the train", "a cat a car a train"]
    pairs = [Pair("the cat", "a cat", 5), Pair("the cat", "a train", 1), Pair("cat", "xyz", 2)]
    found = probe_encoder(subject("tf-idf", texts), Questions(pairs=pairs, words=TESTS))
    assert found.words is None
    assert found.figures["pairs"].value == pytest.approx(1.0) and found.figures["pairs"].n == 2
    assert found.notes == ("it: 2 of 3 pairs could be compared.",)
    alike = [Pair("cat", "cat", 1), Pair("car", "car", 2)]  # all cosines are 1
    assert probe_encoder(subject("tf-idf", texts), Questions(pairs=alike)).figures == {}


def test_sounds_are_recognised(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    time = np.arange(16_000) / 16_000
    paths = []
    for number in range(6):
        tone = 0.3 * np.sin(2 * np.pi * 200 * 2 ** (number / 2) * time)
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], tone, 16_000)
    before = sorted(tmp_path.iterdir())
    found = probe_encoder(subject("log-mel", paths, "audio"), Questions(copies=4))
    assert (found.figures["copies"].value, found.figures["copies"].n) == (1.0, 4)
    assert sorted(tmp_path.iterdir()) == before
