"""Word vectors pooled to the vector of a text, with a stated policy for words that have none.

Shapes: ``m`` words of a batch one after another, ``n`` texts, ``dim`` the width of a vector.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recsys.config import EncoderOptions
from recsys.content.encoder import Model
from recsys.content.text.prepare import Preparation
from recsys.content.text.subwords import Subwords, borrowed_subwords
from recsys.errors import ConfigError

__all__ = ["Corpus", "Pooling", "WordVectors", "word_model"]

How = Literal["mean", "max", "min", "tf-idf", "sif"]
Unknown = Literal["skip", "zero", "random", "ngrams", "context"]

VERSION = 1  # of the pooling: raise it when the same words give another vector
SIF_A = 1e-3  # of Arora, Liang and Ma: a word of this probability counts half
BATCH = 1024  # texts pooled at once where the training texts are gone through

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Weight = Callable[[str], float]


@dataclass(frozen=True)
class Pooling:
    """How the vectors of words become one.

    Attributes:
        how: ``"mean"``, ``"max"`` and ``"min"`` of each component; ``"tf-idf"``: mean weighted by
            ``log((1 + texts) / (1 + texts with the word)) + 1``; ``"sif"`` (Arora, Liang and Ma,
            2017): weighted by ``a / (a + p(word))``, less the first principal component of the
            training texts.
        unknown: what stands for a word without a vector. ``"skip"``: nothing; ``"zero"``: zeros,
            which draw a mean to zero; ``"random"``: a normal vector of the known words' spread,
            always the same for the same word; ``"ngrams"``: the mean of the vectors of its
            character n-grams: fastText's own, else of an n-gram the mean of the known words that
            contain it; ``"context"``: the mean of the known words around it. Where the policy
            makes nothing, the word is skipped.
        window: words on each side that are context.
        seed: of the random vectors.
    """

    how: How = "mean"
    unknown: Unknown = "skip"
    window: int = 5
    seed: int = 0

    @classmethod
    def of(cls, options: EncoderOptions, unknown: Unknown = "skip") -> "Pooling":
        """Take the pooling from an encoder's options; ``unknown`` if they name no policy.

        Raises:
            ConfigError: it is no pooling of words.
        """
        match options.pooling or "mean":
            case "mean" | "max" | "min" | "tf-idf" | "sif" as how:
                return cls(how, options.unknown or unknown, options.window or 5, options.seed or 0)
            case other:
                raise ConfigError(
                    f"pooling = {other!r} is for tokens; of words: {', '.join(get_args(How))}"
                )

    @property
    def key(self) -> str:
        """The settings that matter in a word, for the key of a cache."""
        matters = {"random": f"-{self.seed}", "context": f"-{self.window}"}.get(self.unknown, "")
        return f"{self.how}+{self.unknown}{matters}-v{VERSION}"

    @property
    def fitted(self) -> bool:
        """Whether it depends on the training texts."""
        return self.how in ("tf-idf", "sif")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: ``n`` words, each once, the most frequent first.
        vectors: float32 ``(n, dim)``.
        subwords: vectors of character n-grams that were learnt with them.
    """

    words: Sequence[str]
    vectors: Floats
    subwords: Subwords | None = None

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.vectors.shape[1])

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def of_subwords(self) -> Callable[[Sequence[str]], Floats]:
        """Maps ``u`` unknown words to vectors ``(u, dim)``, NaN where no n-gram is known."""
        if self.subwords is not None:
            return self.subwords.mean
        return borrowed_subwords(self.words, self.vectors)

    @cached_property
    def spread(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each component, ``(dim,)`` each."""
        return self.vectors.mean(axis=0), self.vectors.std(axis=0)


class Corpus:
    """What is known of the words of the training texts."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        """Count the words of texts."""
        self.texts = len(texts)
        self.times = Counter(word for words in texts for word in words)
        self.within = Counter(word for words in texts for word in set(words))
        self.total = self.times.total()

    def idf(self, word: str) -> float:
        """Return ``log((1 + texts) / (1 + texts with the word)) + 1``."""
        return math.log((1 + self.texts) / (1 + self.within[word])) + 1.0

    def rarity(self, word: str) -> float:
        """Return ``a / (a + p(word))``: 1 for a word never seen, less for frequent ones."""
        return SIF_A / (SIF_A + self.times[word] / max(self.total, 1))


class _Batch(NamedTuple):
    """The words of ``n`` texts that have a vector, one after another."""

    words: list[str]  # m
    rows: Ints  # (m,), in ``table``
    table: NDArray[np.float64]  # (distinct, dim)
    counts: Ints  # (n,), words of each text


def word_model(
    vectors: WordVectors,
    preparation: Preparation,
    pooling: Pooling,
    training: Sequence[Sequence[str]] = (),
) -> Model:
    """Make the model of a `TextEncoder`: rows are NaN where no word has a vector.

    Args:
        vectors: of the words.
        preparation: how a text becomes words.
        pooling: how they become one vector.
        training: the words of the training texts, for poolings that are fitted on them.

    Raises:
        ConfigError: the pooling needs training texts and there are none.
    """
    weight: Weight | None = None
    if pooling.fitted:
        corpus = Corpus(training)
        if not corpus.total:
            raise ConfigError(
                f"pooling = {pooling.how!r} is fitted on the texts of the training items, and "
                "there are none; take pooling = 'mean'"
            )
        weight = corpus.idf if pooling.how == "tf-idf" else corpus.rarity
    pool = partial(_pool, vectors, pooling, weight)
    if pooling.how != "sif":
        return Model(vectors.dim, lambda texts: pool([preparation.words(text) for text in texts]))
    common = _principal(pool, training, vectors.dim)

    def forward(texts: Sequence[str]) -> Floats:
        pooled = pool([preparation.words(text) for text in texts])
        pooled -= np.einsum("nd,d->n", pooled, common)[:, None] * common
        return pooled

    return Model(vectors.dim, forward)


def _pool(
    vectors: WordVectors, pooling: Pooling, weight: Weight | None, texts: Sequence[Sequence[str]]
) -> Floats:
    """The vectors of texts ``(n, dim)``; each is summed in the order of its own words."""
    batch = _look_up(vectors, pooling, texts)
    pooled = np.full((len(texts), vectors.dim), np.nan, dtype=np.float32)
    filled = batch.counts > 0
    if not filled.any():
        return pooled
    starts = np.concatenate([[0], np.cumsum(batch.counts)])
    if pooling.how in ("max", "min"):
        reduce = np.maximum if pooling.how == "max" else np.minimum
        pooled[filled] = reduce.reduceat(batch.table[batch.rows], starts[:-1][filled], axis=0)
        return pooled
    weights = np.ones(len(batch.words))
    if weight is not None:
        weights = np.array([weight(word) for word in batch.words])
    shape = (len(texts), len(batch.table))
    sums = csr_array((weights, batch.rows, starts), shape=shape) @ batch.table
    shares = batch.counts.astype(np.float64)  # of sif too: the paper divides by the words
    if pooling.how == "tf-idf":
        shares[filled] = np.add.reduceat(weights, starts[:-1][filled])
    pooled[filled] = sums[filled] / shares[filled, None]
    return pooled


def _look_up(vectors: WordVectors, pooling: Pooling, texts: Sequence[Sequence[str]]) -> _Batch:
    """Find the vector of every word; those that have none and get none are left out."""
    words = [word for text in texts for word in text]
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    ids = np.array([vectors.rows.get(word, -1) for word in words], dtype=np.int64)
    known, rows = np.unique(ids[ids >= 0], return_inverse=True)
    made = _stand_ins(vectors, pooling, words, ids, text_of)  # (unknown words, dim)
    usable = ~np.isnan(made).all(axis=1)
    place = np.full(len(words), -1, dtype=np.int64)
    place[ids >= 0] = rows
    place[ids < 0] = np.where(usable, len(known) + np.arange(len(made)), -1)
    kept = place >= 0
    if pooling.unknown == "zero":  # zeros alone say nothing of a text
        kept &= np.bincount(text_of, weights=ids >= 0, minlength=len(texts))[text_of] > 0
    table = np.concatenate([vectors.vectors[known], made]).astype(np.float64)
    counts = np.bincount(text_of[kept], minlength=len(texts))
    return _Batch([words[i] for i in np.flatnonzero(kept)], place[kept], table, counts)


def _stand_ins(
    vectors: WordVectors, pooling: Pooling, words: list[str], ids: Ints, text_of: Ints
) -> Floats:
    """What stands for each unknown word ``(u, dim)``; NaN for nothing."""
    places = np.flatnonzero(ids < 0)
    made = np.full((len(places), vectors.dim), np.nan, dtype=np.float32)
    if pooling.unknown == "skip" or not len(places):
        return made
    if pooling.unknown == "zero":
        return np.zeros_like(made)
    if pooling.unknown == "context":
        return _of_context(vectors, pooling.window, ids, text_of)
    distinct = {word: row for row, word in enumerate(dict.fromkeys(words[i] for i in places))}
    if pooling.unknown == "random":
        of_distinct = np.stack([_of_chance(vectors, word, pooling.seed) for word in distinct])
    else:
        of_distinct = vectors.of_subwords(list(distinct))
    return np.take(of_distinct, [distinct[words[i]] for i in places], axis=0)


def _of_chance(vectors: WordVectors, word: str, seed: int) -> Floats:
    """A normal vector ``(dim,)`` that the word itself has drawn."""
    mean, deviation = vectors.spread
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {word}".encode()).digest()[:8], "little")
    normal = np.random.default_rng(drawn).standard_normal(vectors.dim)
    made: Floats = (mean + deviation * normal).astype(np.float32)
    return made


def _of_context(vectors: WordVectors, window: int, ids: Ints, text_of: Ints) -> Floats:
    """The mean of the known words of the same text within the window of each unknown word."""
    places = np.flatnonzero(ids < 0)
    steps = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    around = places[:, None] + steps  # (u, 2 window)
    near = np.clip(around, 0, len(ids) - 1)
    inside = (around == near) & (text_of[near] == text_of[places][:, None]) & (ids[near] >= 0)
    found = inside.sum(axis=1)
    table, columns = np.unique(ids[near[inside]], return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(found)])
    pairs = csr_array((np.ones(len(columns)), columns, starts), shape=(len(places), len(table)))
    made = np.full((len(places), vectors.dim), np.nan, dtype=np.float32)
    some = found > 0
    sums = pairs @ vectors.vectors[table].astype(np.float64)
    made[some] = sums[some] / found[some, None]
    return made


def _principal(
    pool: Callable[[Sequence[Sequence[str]]], Floats], texts: Sequence[Sequence[str]], dim: int
) -> Floats:
    """The first right singular vector ``(dim,)`` of the vectors of texts, not centred."""
    gram = np.zeros((dim, dim))
    for start in range(0, len(texts), BATCH):
        pooled = pool(texts[start : start + BATCH])
        pooled = pooled[~np.isnan(pooled).any(axis=1)].astype(np.float64)
        gram += pooled.T @ pooled
    return np.linalg.eigh(gram)[1][:, -1].astype(np.float32) if gram.any() else gram[0]
