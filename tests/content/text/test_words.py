import hashlib
import math
from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.config import EncoderOptions
from recsys.content.text.prepare import Preparation
from recsys.content.text.subwords import borrowed_subwords
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.words import How, Pooling, Unknown, WordVectors, word_model
from recsys.errors import ConfigError

WORDS = ["the", "king", "queen", "walks", "walked", "space", "ship"]
TABLE = np.random.default_rng(0).standard_normal((len(WORDS), 4)).astype(np.float32)
VECTORS = WordVectors(WORDS, TABLE)
TRAINING = [
    ["the", "king", "walks"],
    ["the", "queen", "walked", "walked"],
    ["the", "space", "ship"],
    ["nobody", "knows"],
]
POLICIES = get_args(Unknown)
Floats = NDArray[np.float32]


def pooled(texts: list[str], how: How = "mean", unknown: Unknown = "skip", **more: Any) -> Floats:
    pooling = Pooling(how, unknown, **more)
    return word_model(VECTORS, Preparation(), pooling, TRAINING).forward(texts)


def vector(word: str) -> Floats:
    return np.asarray(TABLE[WORDS.index(word)])


def by_a_loop(text: str, how: How) -> NDArray[np.float64]:
    """The pooling of known words, from its definition; sif without the principal component."""
    words = [word for word in text.split() if word in WORDS]
    rows = [vector(word).astype(float) for word in words]
    times = Counter(word for words in TRAINING for word in words)
    total = sum(times.values())
    if how == "max":
        return np.array([max(row[i] for row in rows) for i in range(4)])
    if how == "min":
        return np.array([min(row[i] for row in rows) for i in range(4)])
    sums, shares = np.zeros(4), 0.0
    for word, row in zip(words, rows, strict=True):
        within = sum(word in words for words in TRAINING)
        weight = 1.0
        if how == "tf-idf":
            weight = math.log((1 + len(TRAINING)) / (1 + within)) + 1
        if how == "sif":
            weight = 1e-3 / (1e-3 + times[word] / total)
        sums += weight * row
        shares += weight if how == "tf-idf" else 1.0
    return sums / shares


@pytest.mark.parametrize("how", ["mean", "max", "min", "tf-idf"])
def test_pooling_is_what_a_loop_makes(how: How) -> None:
    texts = ["the king", "queen queen xyz walked the", "ship", "space the the the queen"]
    expected = np.array([by_a_loop(text, how) for text in texts])
    np.testing.assert_allclose(pooled(texts, how), expected, rtol=1e-5)


def test_sif_takes_away_what_all_training_texts_share() -> None:
    texts = ["the king", "queen queen xyz walked the", "space ship"]
    trained = np.array([by_a_loop(" ".join(words), "sif") for words in TRAINING[:3]])
    common = np.linalg.svd(trained)[2][0]  # first right singular vector, not centred
    weighted = np.array([by_a_loop(text, "sif") for text in texts])
    expected = weighted - np.outer(weighted @ common, common)
    np.testing.assert_allclose(pooled(texts, "sif"), expected, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(pooled(texts, "sif") @ common, 0.0, atol=1e-6)


def test_skip_leaves_unknown_words_out() -> None:
    np.testing.assert_allclose(pooled(["king qqq ship"]), pooled(["king ship"]))
    assert np.isnan(pooled(["qqq zzz"])).all()


def test_zero_counts_unknown_words() -> None:
    expected = (vector("king") + vector("ship")) / 3
    np.testing.assert_allclose(pooled(["king qqq ship"], unknown="zero")[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        pooled(["king qqq"], "max", "zero")[0], np.maximum(vector("king"), 0), rtol=1e-6
    )
    assert np.isnan(pooled(["qqq zzz"], unknown="zero")).all()  # zeros alone say nothing


def test_random_is_always_the_same_for_the_same_word() -> None:
    drawn = int.from_bytes(hashlib.sha256(b"0 qqq").digest()[:8], "little")
    normal = np.random.default_rng(drawn).standard_normal(4)
    expected = TABLE.mean(axis=0) + TABLE.std(axis=0) * normal
    alone = pooled(["qqq"], unknown="random")
    np.testing.assert_allclose(alone[0], expected, rtol=1e-5)
    among = pooled(["zzz", "king", "qqq", "qqq qqq"], unknown="random")
    np.testing.assert_array_equal(among[[2, 3]], alone[[0, 0]])
    assert not np.allclose(among[0], alone[0])
    assert not np.allclose(pooled(["qqq"], unknown="random", seed=1), alone)


def test_context_is_the_mean_of_the_known_words_around() -> None:
    text = "king aaa bbb queen ship ccc space"
    a, b, c = (
        np.mean([vector(word) for word in around], axis=0)
        for around in (["king", "queen"], ["king", "queen", "ship"], ["queen", "ship", "space"])
    )
    known = [vector(word) for word in ("king", "queen", "ship", "space")]
    expected = np.mean([*known, a, b, c], axis=0)
    # "x" has no neighbour in its own text, though the texts before and after know words
    made = pooled(["ship", text, "x", "ship"], unknown="context", window=2)
    np.testing.assert_allclose(made[1], expected, rtol=1e-5)
    assert np.isnan(made[2]).all()
    far = pooled(["king x y z"], unknown="context", window=1)  # y and z are too far: skipped
    np.testing.assert_allclose(far[0], vector("king"), rtol=1e-6)


def ngrams_of(word: str) -> set[str]:
    word = f" {word} "
    if len(word) <= 3:
        return {word}
    return {word[i : i + n] for n in range(3, 7) for i in range(len(word) - n + 1)}


def test_ngrams_are_borrowed_from_the_known_words_that_hold_them() -> None:
    means = []
    for ngram in ngrams_of("walking"):
        holders = [vector(word) for word in WORDS if ngram in ngrams_of(word)]
        if holders:
            means.append(np.mean(holders, axis=0))
    assert len(means) > 3  # " wa", "wal", "walk" ...
    made = pooled(["walking"], unknown="ngrams")
    np.testing.assert_allclose(made[0], np.mean(means, axis=0), rtol=1e-5)
    assert np.isnan(pooled(["qqqq"], unknown="ngrams")).all()
    halves = pooled(["walking king"], unknown="ngrams")[0]
    np.testing.assert_allclose(halves, (made[0] + vector("king")) / 2, rtol=1e-5)


def test_a_known_word_is_nearest_to_what_its_ngrams_say() -> None:
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrst"), 8)) for _ in range(300)]
    table = rng.standard_normal((300, 16)).astype(np.float32)
    made = borrowed_subwords(words, table)(words)
    scores = made @ table.T / np.linalg.norm(table, axis=1)
    assert (scores.argmax(axis=1) == np.arange(300)).mean() > 0.99


@pytest.mark.parametrize("unknown", POLICIES)
@pytest.mark.parametrize("how", get_args(How))
def test_a_vector_does_not_depend_on_its_batch(how: How, unknown: Unknown) -> None:
    texts = ["the king qqq", "zzz", "walking the ship", "", "queens space", "a b the"]
    together = pooled(texts, how, unknown)
    alone = np.concatenate([pooled([text], how, unknown) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_array_equal(together, pooled(texts, how, unknown))


@pytest.mark.parametrize("how", ["tf-idf", "sif"])
def test_a_fitted_pooling_needs_texts(how: How) -> None:
    with pytest.raises(ConfigError, match=f"'{how}' is fitted on the texts"):
        word_model(VECTORS, Preparation(), Pooling(how))


def test_sif_of_training_texts_without_a_known_word() -> None:
    model = word_model(VECTORS, Preparation(), Pooling("sif"), [["qqq"]])
    np.testing.assert_allclose(model.forward(["king"])[0], vector("king"), rtol=1e-6)


def test_pooling_of_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cls' is for tokens; of words: mean, max"):
        Pooling.of(EncoderOptions(pooling="cls"))


def test_the_key_tells_poolings_apart() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"pooling": "max"},
        {"unknown": "random"},
        {"unknown": "random", "seed": 1},
        {"unknown": "context"},
        {"unknown": "context", "window": 2},
    ]
    keys = [Pooling.of(EncoderOptions(**option)).key for option in options]
    assert len(set(keys)) == len(keys)
    assert Pooling.of(EncoderOptions(seed=1, window=2)).key == keys[0]  # neither matters there


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=())), max_size=5),
    st.sampled_from(get_args(How)),
    st.sampled_from(POLICIES),
    st.sampled_from(["words", "whitespace"]),
)
def test_any_texts_have_a_vector_or_a_reason(
    texts: list[str], how: How, unknown: Unknown, tokenizer: Any
) -> None:
    preparation = Preparation(tokenizer)
    encoder = TextEncoder(
        "test", lambda: word_model(VECTORS, preparation, Pooling(how, unknown), TRAINING), batch=2
    )
    encoded = encoder.encode(texts)
    assert encoded.vectors.shape == (len(texts), 4) and np.isfinite(encoded.vectors).all()
    assert set(encoded.reasons) == set(np.flatnonzero(~encoded.present))
