"""Doc2Vec, learnt on the catalogue's own texts by gensim (Le and Mikolov, 2014)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.learnt import Arrays, digest_arrays
from recsys.content.text.learned import (
    BATCH,
    Settings,
    Texts,
    gensim_settings,
    learn_once_on_texts,
    pack_words,
    quiet_gensim,
    stable_hash,
    train,
    unpack_words,
)
from recsys.content.text.prepare import Preparation
from recsys.content.text.text_encoder import TextEncoder

__all__ = ["doc2vec_encoder"]


def doc2vec_encoder(wanted: Wanted) -> TextEncoder:
    """Make Doc2Vec of the catalogue (Le and Mikolov, 2014), distributed bag of words.

    Words are learnt beside the texts, as Lau and Baldwin (2016) found best. Each text's vector is
    inferred with random numbers that its own words seed. The first 10,000 words count.

    Raises:
        ConfigError: an option cannot be used.
        DataError: no word occurs twice in the training texts.
    """
    settings = Settings.of(wanted.options, window=5, epochs=30)
    preparation = Preparation.of(wanted.options)
    arrays = learn_once_on_texts(wanted, "doc2vec", preparation, settings, _learn_doc2vec)
    name = f"doc2vec@{digest_arrays(arrays)[:12]}+{preparation.key}-e{settings.epochs}"
    return TextEncoder(
        f"{name}-s{settings.seed}",
        lambda: _doc2vec_model(arrays, preparation, settings),
        batch=BATCH,
    )


def _learn_doc2vec(texts: Texts, settings: Settings) -> Arrays:
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    model = Doc2Vec(**gensim_settings(settings), dm=0, dbow_words=1)
    train(model, [TaggedDocument(words, [row]) for row, words in enumerate(texts)])
    times = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
    return {
        "words": pack_words(model.wv.index_to_key),
        "times": np.array(times, dtype=np.int64),
        "output": model.syn1neg,  # (words, width): all that inference needs beside the words
    }


def _doc2vec_model(arrays: Arrays, preparation: Preparation, settings: Settings) -> Model:
    """Gensim's model put together again from what was kept."""
    from gensim.models.doc2vec import Doc2Vec

    words = unpack_words(arrays["words"])
    times: Mapping[str, int] = dict(zip(words, arrays["times"].tolist(), strict=True))
    model = Doc2Vec(
        **gensim_settings(settings), dm=0, sorted_vocab=0
    )  # 0: the order as it was kept
    with quiet_gensim():
        model.build_vocab_from_freq(times)
    model.syn1neg = arrays["output"]

    def forward(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [_infer(model, preparation.words(text), settings) for text in texts]
        return np.stack(rows)

    return Model(settings.width, forward)


def _infer(model: Any, words: Sequence[str], settings: Settings) -> NDArray[np.float32]:
    """The vector of one text ``(width,)``, NaN if none of its words is known.

    As ``Doc2Vec.infer_vector``, but that every random number comes from the seed and the words.
    """
    from gensim.models.doc2vec_inner import train_document_dbow

    known = [word for word in words if word in model.wv.key_to_index]
    if not known:
        return np.full(settings.width, np.nan, dtype=np.float32)
    model.random = np.random.RandomState(stable_hash(f"{settings.seed} {' '.join(known)}"))
    vector = (model.random.random_sample((1, settings.width)) - 0.5).astype(np.float32)
    vector /= settings.width
    unlocked, work = np.ones(1, dtype=np.float32), np.zeros(settings.width, dtype=np.float32)
    for rate in np.linspace(model.alpha, model.min_alpha, settings.epochs):
        train_document_dbow(
            model,
            known,
            [0],
            rate,
            work,
            learn_words=False,
            learn_hidden=False,
            doctag_vectors=vector,
            doctags_lockf=unlocked,
        )
    inferred: NDArray[np.float32] = vector[0]
    return inferred
