"""The text encoders that go by words: learnt here, read from files, or only counted."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from recsys.content.encoder import Encoder
from recsys.content.family import EncoderFamily, Listed, Wanted

__all__ = ["WORD_ENCODERS"]

PREPARATION = frozenset({"tokenizer", "lower_case", "stop_words"})
POOLING = frozenset({"pooling", "unknown", "window", "seed"})
LEARNING = frozenset({"width", "window", "epochs", "seed"})


def _from(module: str, function: str) -> Callable[[Wanted], Encoder[Any]]:
    """A function of a module here that is imported when it is called."""
    return partial(_make, f"recsys.content.text.{module}", function)


def _make(module: str, function: str, wanted: Wanted) -> Encoder[Any]:
    encoder: Encoder[Any] = getattr(import_module(module), function)(wanted)
    return encoder


WORD_ENCODERS: Mapping[str, EncoderFamily] = {
    "word2vec": EncoderFamily(
        usage="word2vec:KIND",
        modality="text",
        description="word vectors learnt on the catalogue, cbow or skip-gram, pooled",
        paper="Mikolov et al., 2013",
        make=_from("learned", "word2vec_encoder"),
        models=(Listed("cbow", None), Listed("skip-gram", None)),
        options=PREPARATION | POOLING | LEARNING,
        requires=("gensim",),
        extra="text",
    ),
    "fasttext": EncoderFamily(
        usage="fasttext",
        modality="text",
        description="word and character n-gram vectors learnt on the catalogue, pooled",
        paper="Bojanowski et al., 2017",
        make=_from("learned", "fasttext_encoder"),
        models=(Listed("", None),),
        options=PREPARATION | POOLING | LEARNING,
        requires=("gensim",),
        extra="text",
    ),
    "doc2vec": EncoderFamily(
        usage="doc2vec",
        modality="text",
        description="vectors of whole texts learnt on the catalogue, bag of words",
        paper="Le and Mikolov, 2014",
        make=_from("doc2vec", "doc2vec_encoder"),
        models=(Listed("", None),),
        options=PREPARATION | LEARNING,
        requires=("gensim",),
        extra="text",
    ),
    "glove": EncoderFamily(
        usage="glove",
        modality="text",
        description="word vectors from co-occurrences in the catalogue, pooled",
        paper="Pennington et al., 2014",
        make=_from("glove", "glove_encoder"),
        models=(Listed("", None),),
        options=PREPARATION | POOLING | LEARNING,
    ),
    "words": EncoderFamily(
        usage="words:FILE",
        modality="text",
        description="word vectors of a GloVe, word2vec or fastText file, pooled",
        paper="Pennington et al., 2014",
        make=_from("word_files", "word_file_encoder"),
        models=(Listed("glove-6b-50d", 50, "glove-6b-50d"),),
        options=PREPARATION | POOLING,
        requires=("gensim",),
        extra="text",
    ),
    "tf-idf": EncoderFamily(
        usage="tf-idf",
        modality="text",
        description="weighted counts of the catalogue's commonest words, at most 4,096",
        paper="Salton and Buckley, 1988",
        make=_from("counts", "tf_idf_encoder"),
        models=(Listed("", None),),
        options=PREPARATION | {"width"},
    ),
    "lsa": EncoderFamily(
        usage="lsa",
        modality="text",
        description="singular vectors of TF-IDF",
        paper="Deerwester et al., 1990",
        make=_from("counts", "lsa_encoder"),
        models=(Listed("", None),),
        options=PREPARATION | {"width", "seed"},
    ),
}
