"""Pairs of sentences and words, and analogies."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from recsys.content.encoder import Encoded
from recsys.errors import DataError
from recsys.probing.pairs import Pair, rank_correlation, read_pairs, sentence_similarity
from recsys.probing.words import (
    Question,
    WordTests,
    analogies,
    read_questions,
    word_similarity,
    word_test_files,
)


class Words(NamedTuple):
    words: list[str]
    vectors: NDArray[np.float32]


def test_rank_correlation_is_spearmans() -> None:
    draw = np.random.default_rng(0)
    ours = draw.integers(6, size=80).astype(np.float64)
    theirs = ours + draw.normal(scale=2.0, size=80)
    figure = rank_correlation(ours, theirs)
    assert figure is not None
    assert figure.value == pytest.approx(spearmanr(ours, theirs).statistic)
    assert figure.low < figure.value < figure.high
    assert figure.low > spearmanr(ours, draw.permutation(theirs)).statistic
    assert rank_correlation(ours, np.ones(80)) is None
    assert rank_correlation(ours[:1], theirs[:1]) is None


def test_resamples_take_ranks_anew() -> None:
    ours = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    theirs = np.array([2.0, 1.0, 4.0, 3.0, 9.0])
    from recsys.probing.pairs import _spearman

    counts = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 2, 0], [0, 3, 0, 1, 1]], np.float64)
    found = _spearman(ours, theirs, counts)
    for row, value in zip(counts.astype(int), found, strict=True):
        expected = spearmanr(np.repeat(ours, row), np.repeat(theirs, row)).statistic
        assert value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'a,b,score\n"one, two",three,4.5\nfour,five,1\n'),
        ("a.csv", '"one, two",three,4.5\n\nfour,five,1\n'),
        ("a.tsv", "# a comment, with commas\n# Word 1\tWord 2\tmean\none, two\tthree\t4.5\n"
                  "four\tfive\t1\n"),
    ],
)  # fmt: skip
def test_pairs_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_pairs(tmp_path / name) == [Pair("one, two", "three", 4.5), Pair("four", "five", 1)]


def test_numbers_and_separators_in_texts_are_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('#1 hit,"two\nlines",3\na\u2028b,c,4\n', encoding="utf-8")
    assert read_pairs(path) == [Pair("#1 hit", "two\nlines", 3), Pair("a\u2028b", "c", 4)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n", "line 1: 'a,b' is 2 cells by ',', expected three"),
        ("", "holds no pair, expected a text, a text and a number"),
        ("a,b,score\n", "holds no pair"),
        ("a,b,1\nc,d,high\n", "line 2: 'c,d,high' is 3 cells by ',', expected three: a text, a"),
        ('a,b,1\n\n"c\nd",e\n', "line 4: "),
        ("a,b,score\nc,d,nan\n", "line 2: 'c,d,nan'"),
        ("a,b,1\nc,d,e,2\n", "line 2: 'c,d,e,2' is 4 cells"),
        ("a" * 200_000, "cannot be read as pairs"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.csv: " + re.escape(reason)):
        read_pairs(tmp_path / "a.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "absent.csv")


class Lengths:
    """The angle of a text grows with its length."""

    name, dim = "lengths", 2

    def encode(self, contents: Sequence[str | None]) -> Encoded:
        angles = np.array([len(text or "") / 20 for text in contents])
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        return Encoded(vectors, np.array([bool(text) for text in contents]))


def test_sentences_are_compared_where_both_are_there() -> None:
    pairs = [Pair("x" * n, "x" * 20, n) for n in range(20)]
    figure = sentence_similarity(Lengths(), pairs)
    assert figure is not None and figure.value == pytest.approx(1.0) and figure.n == 19


def test_words_are_looked_up_as_written_then_in_lower_case() -> None:
    angles = np.array([0.0, 0.1, 0.5, 1.5])
    model = Words(
        ["tiger", "cat", "dog", "book"],
        np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
    )
    pairs = [Pair("Tiger", "cat", 9), Pair("tiger", "dog", 7), Pair("cat", "book", 1),
             Pair("cat", "jaguar", 8)]  # fmt: skip
    found = word_similarity(model, pairs)
    assert (found.known, found.asked) == (3, 4)
    assert found.figure is not None and found.figure.value == pytest.approx(1.0)
    assert word_similarity(model, [Pair("a", "b", 1)]).figure is None


def test_analogies_are_solved_as_a_plain_loop_solves_them() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(50, 4)).astype(np.float32)
    vectors[3] = vectors[1] - vectors[0] + vectors[2]  # w0 : w1 = w2 : w3
    words = [f"w{n}" for n in range(50)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    questions = [Question("s", "w0", "w1", "w2", "w3"), Question("s", "w0", "w1", "w2", "nobody")]
    right = []
    for _ in range(200):
        a, b, c, d = draw.choice(50, 4, replace=False)
        near = unit @ (unit[b] - unit[a] + unit[c])
        near[[a, b, c]] = -np.inf
        d = near.argmax() if draw.random() < 0.5 else d
        questions.append(Question("s", f"w{a}", f"w{b}", f"w{c}", f"W{d}"))
        right.append(near.argmax() == d)
    found = analogies(Words(words, vectors), questions[2:])
    assert (found.known, found.asked) == (200, 200)
    assert found.figure is not None and found.figure.value == pytest.approx(np.mean(right))
    assert analogies(Words(words, vectors), questions[:2]).known == 1
    assert analogies(Words(words, vectors), questions, most_words=3) == (None, 0, 202)


def test_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(": family\nking man queen woman\n\n: other\na b c d\n", encoding="utf-8")
    assert read_questions(path) == [
        Question("family", "king", "man", "queen", "woman"), Question("other", "a", "b", "c", "d")
    ]  # fmt: skip
    path.write_text("a b c\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1 has 3 words"):
        read_questions(path)


def test_gensims_test_data_are_found_and_asked() -> None:
    pytest.importorskip("gensim")
    tests = WordTests.read(word_test_files())
    assert list(map(len, tests)) == [353, 999, 19_544]
    words = sorted({word for pair in tests.wordsim353[:40] for word in (pair.a, pair.b)})
    vectors = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    told = tests.ask(Words(words, vectors)).as_dict()
    assert told["vocabulary"] == len(words)
    assert told["wordsim353"]["asked"] == 353 and told["wordsim353"]["known"] >= 40
    assert told["wordsim353"]["figure"]["low"] < 0 < told["wordsim353"]["figure"]["high"]
    assert told["analogies"] == {"figure": None, "known": 0, "asked": 19_544}


def test_without_gensim_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert word_test_files() == ()
    assert not any(WordTests.read(()))
