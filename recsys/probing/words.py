"""Word vectors: word similarity and analogies."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.probing.figures import Figure, share_figure
from recsys.probing.neighbours import blocks
from recsys.probing.pairs import Pair, cosines, rank_correlation, read_pairs

__all__ = [
    "Answered",
    "Question",
    "WordAnswers",
    "WordTests",
    "WordVectors",
    "analogies",
    "read_questions",
    "word_similarity",
    "word_test_files",
]

TEST_FILES = ("wordsim353.tsv", "simlex999.txt", "questions-words.txt")  # gensim has them
MOST_WORDS = 30_000  # the first ones answer analogies, as is customary: the most frequent


class WordVectors(Protocol):
    """Words with their vectors, the most frequent first."""

    @property
    def words(self) -> Sequence[str]:
        """The vocabulary, ``v`` words."""
        ...

    @property
    def vectors(self) -> NDArray[np.float32]:
        """``(v, d)``."""
        ...


class Question(NamedTuple):
    """``a`` is to ``b`` as ``c`` is to ``d``."""

    section: str
    a: str
    b: str
    c: str
    d: str


class Answered(NamedTuple):
    """A figure, and how much of the test could be asked at all."""

    figure: Figure | None  # None where too little is known
    known: int  # pairs or questions all of whose words have vectors
    asked: int


class WordAnswers(NamedTuple):
    """What word vectors answer to `WordTests`."""

    vocabulary: int  # words that have a vector
    tests: dict[str, Answered]  # by the name of the test

    def as_dict(self) -> dict[str, Any]:
        """Return it for json."""
        return {"vocabulary": self.vocabulary} | {
            name: {
                "figure": None if of.figure is None else of.figure.as_dict(),
                "known": of.known,
                "asked": of.asked,
            }
            for name, of in self.tests.items()
        }


class WordTests(NamedTuple):
    """The tests of word vectors; empty ones are not asked."""

    wordsim353: Sequence[Pair] = ()
    simlex999: Sequence[Pair] = ()
    analogies: Sequence[Question] = ()

    @classmethod
    def read(cls, files: Sequence[Path]) -> "WordTests":
        """Read what `word_test_files` found.

        Raises:
            DataError: a file is damaged.
        """
        if not files:
            return cls()
        alike, similar, questions = files
        return cls(read_pairs(alike), read_pairs(similar), read_questions(questions))

    def ask(self, model: WordVectors, *, seed: int = 0) -> WordAnswers:
        """Ask a model all of them."""
        found = {
            name: word_similarity(model, pairs, seed=seed)
            for name, pairs in (("wordsim353", self.wordsim353), ("simlex999", self.simlex999))
            if pairs
        }
        if self.analogies:
            found["analogies"] = analogies(model, self.analogies)
        return WordAnswers(len(model.words), found)


def word_test_files() -> tuple[Path, ...]:
    """WordSim353, SimLex-999 and the analogies among gensim's test data; nothing without gensim."""
    spec = importlib.util.find_spec("gensim")  # not imported: that takes a second
    if spec is None or spec.origin is None:
        return ()
    files = tuple(Path(spec.origin).parent / "test" / "test_data" / name for name in TEST_FILES)
    return files if all(file.is_file() for file in files) else ()


def word_similarity(model: WordVectors, pairs: Sequence[Pair], *, seed: int = 0) -> Answered:
    """Spearman's correlation of the cosines of words with people's scores, lower-cased if need be.

    Pairs with an unknown word are left out and counted: scores of vocabularies of different size
    are of different pairs.
    """
    numbers = _numbers(model.words)
    found = np.array([[_number(numbers, p.a), _number(numbers, p.b)] for p in pairs]).reshape(-1, 2)
    known = (found >= 0).all(axis=1)
    ours, theirs = (np.asarray(model.vectors)[found[known, side]] for side in (0, 1))
    scores = np.array([pair.score for pair in pairs])[known]
    figure = rank_correlation(cosines(ours, theirs), scores, seed=seed)
    return Answered(figure, int(known.sum()), len(pairs))


def read_questions(path: Path) -> list[Question]:
    """Read questions-words.txt: ``: section`` lines, then four words a line.

    Mikolov and others, Efficient estimation of word representations in vector space, 2013.

    Raises:
        DataError: the file cannot be read or holds a line of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as analogies ({error})") from None
    section, questions = "", []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            questions.append(Question(section, *words))
        elif words:
            raise DataError(f"{path}: line {number} has {len(words)} words, expected 4")
    return questions


def analogies(
    model: WordVectors,
    questions: Sequence[Question],
    *,
    most_words: int = MOST_WORDS,
) -> Answered:
    """The share of analogies solved: king - man + woman = queen.

    The answer is the word whose direction is nearest to ``b - a + c`` of unit vectors (3CosAdd),
    the three themselves excepted. It is looked for among the first ``most_words`` words;
    questions with a word that is not among them are left out and counted. The interval is over
    questions; many share words, so over words it would be wider.
    """
    words = list(model.words)[:most_words]
    vectors = np.asarray(model.vectors, dtype=np.float32)[: len(words)]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, 1.0).astype(np.float32)
    numbers = _numbers(words)
    found = np.array([[_number(numbers, word) for word in q[1:]] for q in questions]).reshape(-1, 4)
    known = found[(found >= 0).all(axis=1)]
    if not len(known):
        return Answered(None, 0, len(questions))
    a, b, c, d = known.T
    right = np.empty(len(known))
    for rows in blocks(len(known), len(words)):
        near = (units[b[rows]] - units[a[rows]] + units[c[rows]]) @ units.T
        np.put_along_axis(near, known[rows, :3], -np.inf, axis=1)
        right[rows] = near.argmax(axis=1) == d[rows]
    figure = share_figure(right, chance=1 / max(1, len(words) - 3))
    return Answered(figure, len(known), len(questions))


def _numbers(words: Sequence[str]) -> dict[str, int]:
    """The place of every word."""
    return {word: place for place, word in reversed(list(enumerate(words)))}


def _number(numbers: dict[str, int], word: str) -> int:
    """The place of a word as it is written, else in lower case, else -1."""
    return numbers.get(word, numbers.get(word.lower(), -1))
