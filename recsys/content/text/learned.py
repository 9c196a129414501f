"""Word2Vec and fastText, learnt on the catalogue's own texts by gensim.

One worker and one seed: the same texts give the same vectors. What was learnt is kept as arrays;
its digest is in the encoder's name.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import EncoderOptions
from recsys.content.family import Wanted
from recsys.content.learnt import Arrays, digest_arrays, digest_contents, learn_once
from recsys.content.text.prepare import Preparation, training_words
from recsys.content.text.subwords import LENGTHS, Subwords
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.word_encoder import WordEncoder
from recsys.content.text.words import Pooling, Unknown, WordVectors
from recsys.errors import ConfigError, DataError

__all__ = [
    "BATCH",
    "Settings",
    "fasttext_encoder",
    "frequent_words",
    "gensim_settings",
    "learn_once_on_texts",
    "learnt_word_encoder",
    "pack_words",
    "quiet_gensim",
    "stable_hash",
    "train",
    "unpack_words",
    "word2vec_encoder",
]

VERSION = 2  # of the ways of learning below: raise it when they change
AT_LEAST = 2  # times that a word must occur: nothing can be learnt from one
SENTENCE = 10_000  # words that gensim reads of one sentence
NGRAM_BUCKETS = 50_000  # of fastText: its 2,000,000 are for the words of the world
BATCH = 512  # texts in one call of a model

Texts = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Settings:
    """What governs the learning.

    Attributes:
        width: of the vectors.
        window: words on each side that count as context.
        epochs: passes over the texts.
        seed: of all that is random.
    """

    width: int = 100
    window: int = 5
    epochs: int = 30
    seed: int = 0

    @classmethod
    def of(cls, options: EncoderOptions, *, window: int, epochs: int) -> "Settings":
        """Take the settings from an encoder's options, these where they are silent."""
        return cls(
            width=options.width or 100,
            window=options.window or window,
            epochs=options.epochs or epochs,
            seed=options.seed or 0,
        )


Learn = Callable[[Texts, Settings], Arrays]


def word2vec_encoder(wanted: Wanted) -> TextEncoder:
    """Make Word2Vec of the catalogue (Mikolov et al., 2013); the model is its architecture.

    Raises:
        ConfigError: it is neither "cbow" nor "skip-gram", or an option cannot be used.
        DataError: no word occurs twice in the training texts.
    """
    if wanted.model not in ("cbow", "skip-gram"):
        raise ConfigError(
            f"encoder 'word2vec:{wanted.model}': write word2vec:cbow or word2vec:skip-gram"
        )

    def learn(texts: Texts, settings: Settings) -> Arrays:
        from gensim.models import Word2Vec

        model = Word2Vec(**gensim_settings(settings), sg=int(wanted.model == "skip-gram"))
        train(model, [part for words in texts for part in _parts(words)])
        return {"words": pack_words(model.wv.index_to_key), "vectors": model.wv.vectors}

    return learnt_word_encoder(f"word2vec:{wanted.model}", wanted, learn, window=5, epochs=30)


def fasttext_encoder(wanted: Wanted) -> TextEncoder:
    """Make fastText of the catalogue (Bojanowski et al., 2017), skip-gram with character n-grams.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word occurs twice in the training texts.
    """
    return learnt_word_encoder(
        "fasttext", wanted, _learn_fasttext, window=5, epochs=30, unknown="ngrams"
    )


def learnt_word_encoder(
    name: str, wanted: Wanted, learn: Learn, *, window: int, epochs: int, unknown: Unknown = "skip"
) -> TextEncoder:
    """Make an encoder that pools word vectors learnt on the training texts.

    Args:
        name: of the encoder.
        wanted: options, training texts, and where to keep what is learnt.
        learn: makes arrays ``words``, ``vectors (n, width)``, maybe ``ngrams (buckets, width)``.
        window: if the options name none; likewise ``epochs`` and the policy for unknown words.
        epochs: passes over the texts.
        unknown: the policy.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word occurs twice in the training texts.
    """
    settings = Settings.of(wanted.options, window=window, epochs=epochs)
    preparation = Preparation.of(wanted.options)
    pooling = Pooling.of(wanted.options, unknown)
    arrays = learn_once_on_texts(wanted, name, preparation, settings, learn)
    subwords = Subwords(arrays["ngrams"], *LENGTHS) if "ngrams" in arrays else None
    vectors = WordVectors(unpack_words(arrays["words"]), arrays["vectors"], subwords)
    name = f"{name}@{digest_arrays(arrays)[:12]}"
    return WordEncoder(name, lambda: vectors, preparation, pooling, wanted.contents)


def frequent_words(texts: Texts) -> dict[str, int]:
    """Return how often each word occurs that occurs at least twice, the most frequent first."""
    times = Counter(word for words in texts for word in words)
    return {word: n for word, n in times.most_common() if n >= AT_LEAST}


def pack_words(words: Sequence[str]) -> NDArray[np.uint8]:
    """Return words (without line breaks) as the bytes of one text, a line each."""
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)


def unpack_words(packed: NDArray[np.uint8]) -> list[str]:
    """Return the words of `pack_words`."""
    return packed.tobytes().decode().split("\n")


def learn_once_on_texts(
    wanted: Wanted, name: str, preparation: Preparation, settings: Settings, learn: Learn
) -> Arrays:
    """What was learnt on the training texts, now or before."""
    about = {"encoder": name, "version": VERSION, "words": preparation.key, **asdict(settings)}

    def learn_now() -> Arrays:
        texts = training_words(wanted.contents, preparation)
        if not frequent_words(texts):
            raise DataError(
                f"encoder {name}: no word occurs twice in the {len(texts)} texts of training "
                "items; name other columns, or take an encoder that is not learnt on them"
            )
        return learn(texts, settings)

    return learn_once(wanted.keep, digest_contents(wanted.contents, about), learn_now)


def gensim_settings(settings: Settings) -> dict[str, Any]:
    """The settings in gensim's words; one worker, for the order of threads is no seed."""
    return {
        "vector_size": settings.width,
        "window": settings.window,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "min_count": AT_LEAST,
        "workers": 1,
        "hashfxn": stable_hash,
    }


def stable_hash(text: str) -> int:
    """Python's own hash of a text differs from one process to the next."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _parts(words: Sequence[str]) -> Iterator[Sequence[str]]:
    return (words[start : start + SENTENCE] for start in range(0, len(words), SENTENCE))


def train(model: Any, texts: Sequence[Any]) -> None:
    """Build the vocabulary and train."""
    with quiet_gensim():
        model.build_vocab(texts)
        model.train(texts, total_examples=model.corpus_count, epochs=model.epochs)


def _learn_fasttext(texts: Texts, settings: Settings) -> Arrays:
    from gensim.models import FastText

    shortest, longest = LENGTHS
    model = FastText(
        **gensim_settings(settings), sg=1, min_n=shortest, max_n=longest, bucket=NGRAM_BUCKETS
    )
    train(model, [part for words in texts for part in _parts(words)])
    words, ngrams = pack_words(model.wv.index_to_key), model.wv.vectors_ngrams
    return {"words": words, "vectors": model.wv.vectors, "ngrams": ngrams}


@contextmanager
def quiet_gensim() -> Iterator[None]:
    """Keep gensim's advice about small corpora off the terminal."""
    logger = logging.getLogger("gensim")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
