"""Pairs of sentences and words, and analogies."""

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
from recsys.probing.words import Question, analogies, read_questions, word_similarity


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


@pytest.mark.parametrize("text", ["a,b\n", "", "a,b,1\nc,d,high\n", "a,b,1\nc,d\n", "a,b,nan\n"])
def test_what_is_no_pair_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.csv: .*expected a text, a text and a number"):
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


def test_gensims_test_data_are_read() -> None:
    utils = pytest.importorskip("gensim.test.utils")
    assert len(read_pairs(Path(utils.datapath("wordsim353.tsv")))) == 353
    assert len(read_pairs(Path(utils.datapath("simlex999.txt")))) == 999
    assert len(read_questions(Path(utils.datapath("questions-words.txt")))) == 19544
