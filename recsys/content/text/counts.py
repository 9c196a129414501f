"""Floors without neural learning: TF-IDF, and its singular vectors (LSA).

What a trained encoder must beat. Both count the words that occur in at least two training texts.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.learnt import Arrays, digest_arrays, digest_contents, learn_once
from recsys.content.text.learned import pack_words, unpack_words
from recsys.content.text.prepare import Preparation, training_words
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.words import Corpus
from recsys.errors import DataError

__all__ = ["lsa_encoder", "tf_idf_encoder"]

VERSION = 1  # of what is computed: raise it when that changes
COLUMNS = 4096  # of TF-IDF, which is stored dense: 16 KiB an item
TERMS = 50_000  # under LSA, where they stay sparse
LSA_WIDTH = 128
AT_LEAST = 2  # texts that hold a word: what is in one text likens no two
BATCH = 256  # texts in one call, dense at the end


def tf_idf_encoder(wanted: Wanted) -> TextEncoder:
    """Make unit vectors of TF-IDF over the commonest words (Salton and Buckley, 1988).

    A column for each of the ``width`` (else 4,096) words that most training texts hold; fewer if
    there are fewer.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word is in two of the training texts.
    """
    preparation = Preparation.of(wanted.options)
    arrays = _fitted(wanted, "tf-idf", preparation, wanted.options.width or COLUMNS)
    vectorizer = _vectorizer(arrays, preparation)

    def forward(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = vectorizer.transform(texts).toarray()
        return _nan_where_blank(vectors)

    model = Model(len(arrays["idf"]), forward)
    name = f"tf-idf@{digest_arrays(arrays)[:12]}+{preparation.key}"
    return TextEncoder(name, lambda: model, batch=BATCH)


def lsa_encoder(wanted: Wanted) -> TextEncoder:
    """Make LSA (Deerwester et al., 1990): TF-IDF over its first right singular vectors.

    As many as ``width`` (else 128), fewer where there are fewer training texts or words.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word is in two of the training texts.
    """
    preparation = Preparation.of(wanted.options)
    arrays = _fitted(wanted, "lsa", preparation, TERMS)
    vectorizer = _vectorizer(arrays, preparation)
    components = arrays["components"]

    def forward(texts: Sequence[str]) -> NDArray[np.float32]:
        counted = vectorizer.transform(texts)
        vectors: NDArray[np.float32] = (counted @ components.T).astype(np.float32)
        vectors[np.diff(counted.indptr) == 0] = np.nan
        return vectors

    model = Model(len(components), forward)
    name = f"lsa@{digest_arrays(arrays)[:12]}+{preparation.key}"
    return TextEncoder(name, lambda: model, batch=BATCH)


def _fitted(
    wanted: Wanted, name: Literal["tf-idf", "lsa"], preparation: Preparation, terms: int
) -> Arrays:
    """Words ``(bytes)``, ``idf (words,)``, and for LSA ``components (width, words)``."""
    seed, width = wanted.options.seed or 0, wanted.options.width or LSA_WIDTH
    about = {"encoder": name, "version": VERSION, "words": preparation.key, "terms": terms}
    if name == "lsa":
        about |= {"seed": seed, "width": width}

    def learn() -> Arrays:
        texts = training_words(wanted.contents, preparation)
        corpus = Corpus(texts)
        ranked = sorted(corpus.within.items(), key=lambda pair: (-pair[1], pair[0]))
        words = [word for word, within in ranked[:terms] if within >= AT_LEAST]
        if not words:
            raise DataError(
                f"encoder {name}: no word is in two of the {len(texts)} texts of training items; "
                "name other columns, or take an encoder that is not fitted on them"
            )
        arrays = {"words": pack_words(words), "idf": np.array([corpus.idf(word) for word in words])}
        if name == "lsa":
            arrays["components"] = _singular_vectors(arrays, texts, width, seed)
        return arrays

    return learn_once(wanted.keep, digest_contents(wanted.contents, about), learn)


def _vectorizer(arrays: Arrays, preparation: Preparation | None) -> Any:
    """Scikit-learn's, from what was kept; it takes texts, or lists of words if not prepared."""
    analyzer = list if preparation is None else preparation.words
    words = unpack_words(arrays["words"])
    vectorizer = TfidfVectorizer(vocabulary=words, analyzer=analyzer, dtype=np.float32)
    vectorizer.idf_ = arrays["idf"]
    return vectorizer


def _singular_vectors(
    arrays: Arrays, texts: Sequence[Sequence[str]], width: int, seed: int
) -> NDArray[np.float32]:
    counted = _vectorizer(arrays, None).transform(texts)
    svd = TruncatedSVD(min(width, *counted.shape), random_state=seed)
    components: NDArray[np.float32] = svd.fit(counted).components_.astype(np.float32)
    return components


def _nan_where_blank(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    vectors[~vectors.any(axis=1)] = np.nan
    return vectors
