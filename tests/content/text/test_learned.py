import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from small_texts import FARM, SPACE, make, small_texts

from recsys.content.text.learned import stable_hash, unpack_words
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.text.word_families import WORD_ENCODERS
from recsys.errors import ConfigError, DataError

LEARNT = ["word2vec:cbow", "word2vec:skip-gram", "fasttext", "doc2vec", "glove"]
QUICK: dict[str, Any] = {"width": 8, "epochs": 3}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.fixture(scope="module")
def encoders() -> dict[str, TextEncoder]:
    return {name: make(name, **QUICK) for name in LEARNT}


@pytest.mark.parametrize("name", LEARNT)
def test_order_count_width_and_reasons(name: str, encoders: dict[str, TextEncoder]) -> None:
    encoded = encoders[name].encode(["rocket planet", None, "漢字", " ", "cow the"])
    assert encoded.vectors.shape == (5, 8) == (5, encoders[name].dim)
    assert np.isfinite(encoded.vectors).all()
    known = [True, False, name == "fasttext", False, True]  # fastText has n-grams of any word
    assert encoded.present.tolist() == known
    assert encoded.reasons.keys() == set(np.flatnonzero(~encoded.present))
    assert name == "fasttext" or encoded.reasons[2] == "no known word"
    assert not encoded.vectors[~encoded.present].any()


@pytest.mark.parametrize("name", LEARNT)
def test_a_vector_does_not_depend_on_its_batch(name: str, encoders: dict[str, TextEncoder]) -> None:
    texts = ["rocket", "the cow and the horse", *small_texts(9, seed=1)]
    together = encoders[name].encode(texts).vectors
    alone = np.concatenate([encoders[name].encode([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    backwards = encoders[name].encode(texts[::-1]).vectors[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-6)


@pytest.mark.parametrize("name", LEARNT)
def test_texts_of_one_subject_are_alike(name: str) -> None:
    encoder = make(name, small_texts(400), width=16, epochs=20)
    texts = [" ".join(SPACE[:5]), " ".join(SPACE[5:]), " ".join(FARM[:5]), " ".join(FARM[5:])]
    vectors = encoder.encode(texts).vectors
    vectors = vectors - vectors.mean(axis=0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[0, 1], alike[2, 3]) > alike[:2, 2:].max() + 0.5


PROCESS = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from small_texts import make, small_texts
texts = [*small_texts(5, seed=2), "unseen wordish rocketry", "rocket"]
for name in sys.argv[2:]:
    for options in ({}, {"unknown": "random", "pooling": "sif"}):
        if name != "doc2vec" or not options:
            encoder = make(name, width=8, epochs=2, **options)
            print(encoder.name, hashlib.sha256(encoder.encode(texts).vectors.tobytes()).hexdigest())
for name in ("tf-idf", "lsa"):
    encoder = make(name, width=8)
    print(encoder.name, hashlib.sha256(encoder.encode(texts).vectors.tobytes()).hexdigest())
"""


def test_two_processes_learn_the_same_bytes() -> None:
    printed = []
    for hash_seed, threads in (("1", "1"), ("2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", PROCESS, str(Path(__file__).parent), *LEARNT]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stderr == ""  # no library gives advice
        printed.append(done.stdout)
    assert printed[0] == printed[1] and len(printed[0].splitlines()) == 2 * len(LEARNT) + 1


@pytest.mark.parametrize("name", LEARNT)
def test_the_order_of_threads_is_no_seed(name: str) -> None:
    texts = small_texts(3000)  # more words than one of gensim's jobs takes
    assert len({make(name, texts, width=8, epochs=2).name for _ in range(2)}) == 1


@pytest.mark.parametrize("name", [*LEARNT, "tf-idf", "lsa"])
def test_what_was_learnt_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"width": 8} if name in ("tf-idf", "lsa") else QUICK
    first = make(name, keep=tmp_path, **options)
    kept = list(tmp_path.glob("*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr("recsys.content.text.learned.frequent_words", None)  # learning would fail
    monkeypatch.setattr("recsys.content.text.counts.Corpus", None)
    again = make(name, keep=tmp_path, **options)
    assert again.name == first.name
    texts = ["rocket cow", "the moon"]
    np.testing.assert_array_equal(again.encode(texts).vectors, first.encode(texts).vectors)


@pytest.mark.parametrize("name", LEARNT)
def test_every_setting_changes_name_and_vectors(name: str) -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"epochs": 4},
        {"window": 2},
        {"width": 9},
        {"stop_words": "en"},
    ]
    assert {key for setting in settings for key in setting} <= WORD_ENCODERS[
        name.partition(":")[0]
    ].options
    made = [make(name, **{**QUICK, **setting}) for setting in settings]
    assert len({encoder.name for encoder in made}) == len(made)
    vectors = [encoder.encode(["the rocket of the moon and cow"]).vectors for encoder in made]
    assert len({each.tobytes() for each in vectors}) == len(made)
    other = make(name, small_texts(seed=5), **QUICK)
    assert other.name not in {encoder.name for encoder in made}


def test_fasttext_is_gensims_for_known_and_unknown_words(tmp_path: Path) -> None:
    from gensim.models import FastText

    encoder = make("fasttext", keep=tmp_path, **QUICK)
    theirs = FastText(
        [text.split() for text in small_texts()],
        vector_size=8,
        window=5,
        epochs=3,
        seed=0,
        min_count=2,
        workers=1,
        sg=1,
        min_n=3,
        max_n=6,
        bucket=50_000,
    )
    words = ["rocket", "rockets", "cow", "cowboyish"]
    expected = np.stack([theirs.wv.get_vector(word) for word in words])
    np.testing.assert_allclose(encoder.encode(words).vectors, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["cbow", "skip-gram"])
def test_word2vec_is_gensims(kind: str, tmp_path: Path) -> None:
    from gensim.models import Word2Vec

    make(f"word2vec:{kind}", keep=tmp_path, **QUICK)
    theirs = Word2Vec(
        [text.split() for text in small_texts()],
        sg=int(kind == "skip-gram"),
        vector_size=8,
        window=5,
        epochs=3,
        seed=0,
        min_count=2,
        workers=1,
    )
    kept = load_file(next(tmp_path.iterdir()))
    assert unpack_words(kept["words"]) == theirs.wv.index_to_key
    np.testing.assert_array_equal(kept["vectors"], theirs.wv.vectors)


def test_doc2vec_infers_as_gensim_does(
    encoders: dict[str, TextEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model put together from arrays infers what the model that was trained infers."""
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    documents = [TaggedDocument(text.split(), [i]) for i, text in enumerate(small_texts())]
    theirs = Doc2Vec(
        documents,
        dm=0,
        dbow_words=1,
        vector_size=8,
        window=5,
        epochs=3,
        seed=0,
        min_count=2,
        workers=1,
    )
    words = ["the", "rocket", "rocket", "cow", "moon"]
    theirs.random = np.random.RandomState(stable_hash(f"0 {' '.join(words)}"))
    start = (theirs.random.random_sample(8).astype(np.float64) - 0.5).astype(np.float32) / 8

    def begin(_size: int, seed_string: str) -> NDArray[np.float32]:
        assert seed_string
        return np.array(start)

    monkeypatch.setattr("gensim.models.doc2vec.pseudorandom_weak_vector", begin)
    expected = theirs.infer_vector(words)
    made = encoders["doc2vec"].encode([" ".join(words)]).vectors[0]
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert not np.allclose(made, start, atol=1e-4)


def test_texts_longer_than_gensim_reads_are_learnt_whole(tmp_path: Path) -> None:
    text = " ".join(["start"] * 9_999 + ["end", "of", "end", "of"] * 20)
    make("word2vec:cbow", [text], tmp_path, epochs=1, width=4)
    kept = load_file(next(tmp_path.iterdir()))
    assert set(unpack_words(kept["words"])) == {"start", "end", "of"}


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("contents", [[], ["one two", "three"], [None, " "]])
def test_nothing_to_learn_from(name: str, contents: list[Any]) -> None:
    with pytest.raises(DataError, match=f"{name}: no word occurs twice in the"):
        make(name, contents, **QUICK)


def test_the_kind_of_word2vec() -> None:
    with pytest.raises(ConfigError, match="write word2vec:cbow or word2vec:skip-gram"):
        make("word2vec:glove")


def test_making_a_family_imports_nothing_heavy() -> None:
    code = (
        "import sys, recsys.content.text.word_families;"
        "print({'gensim', 'torch', 'sklearn', 'jieba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ANY_TEXT, max_size=4))
def test_any_texts_have_a_vector_or_a_reason(
    encoders: dict[str, TextEncoder], texts: list[str]
) -> None:
    for encoder in encoders.values():
        encoded = encoder.encode([*texts, "rocket"])
        assert np.isfinite(encoded.vectors).all() and encoded.present[-1]
        assert set(encoded.reasons) == set(np.flatnonzero(~encoded.present))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(ANY_TEXT, max_size=6),
    st.sampled_from(LEARNT),
    st.sampled_from(["words", "whitespace", "chinese"]),
)
def test_anything_can_be_learnt_from(texts: list[str], name: str, tokenizer: Any) -> None:
    encoder = make(name, [*texts, *texts, "a a a"], width=3, epochs=1, tokenizer=tokenizer)
    encoded = encoder.encode([*texts, "a"])
    assert np.isfinite(encoded.vectors).all() and encoded.present[-1]
