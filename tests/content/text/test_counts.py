import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds
from sklearn.feature_extraction.text import TfidfVectorizer
from small_texts import FARM, SPACE, make, small_texts

from recsys.errors import DataError


def test_tf_idf_is_scikit_learns() -> None:
    texts = [*small_texts(), "the solitary word", "", "rocket rocket cow"]
    ours = make("tf-idf", texts).encode(texts)
    theirs = TfidfVectorizer(min_df=2, analyzer=str.split)
    matrix = theirs.fit_transform(t for t in texts if t)
    assert ours.vectors.shape[1] == matrix.shape[1] == 25
    order = [row for row, text in enumerate(texts) if text]
    expected = matrix.toarray()
    # the columns stand in another order: compare what lies between texts
    np.testing.assert_allclose(
        ours.vectors[order] @ ours.vectors[order].T, expected @ expected.T, atol=1e-5
    )


def test_the_width_keeps_the_words_of_most_texts() -> None:
    texts = ["z y x"] * 3 + ["z y"] * 2 + ["z"]
    encoder = make("tf-idf", texts, width=2)
    assert encoder.dim == 2
    encoded = encoder.encode(["z", "y", "x"])
    np.testing.assert_allclose(encoded.vectors, [[1, 0], [0, 1], [0, 0]])
    assert encoded.reasons == {2: "no known word"}


def test_lsa_is_the_singular_vectors_of_tf_idf() -> None:
    texts = small_texts(200)
    counted = make("tf-idf", texts).encode(texts).vectors.astype(np.float64)
    left, values, _ = svds(counted, k=2)
    ours = make("lsa", texts, width=2).encode(texts).vectors
    np.testing.assert_allclose(ours @ ours.T, (left * values**2) @ left.T, atol=1e-3)


def test_lsa_separates_the_subjects() -> None:
    space, farm, moon = make("lsa", width=2).encode([" ".join(SPACE), " ".join(FARM), "moon"])[0]
    space, farm, moon = (row / np.linalg.norm(row) for row in (space, farm, moon))
    assert moon @ space > moon @ farm + 0.5


def test_lsa_is_no_wider_than_there_are_texts_or_words() -> None:
    assert make("lsa", ["a b", "a b", "a c"]).dim == 2
    assert make("lsa", small_texts(7)).dim == 7
    assert make("lsa").dim == 25


@pytest.mark.parametrize("name", ["tf-idf", "lsa"])
def test_nothing_to_count(name: str) -> None:
    for contents in ([], ["one two", "three"], [None, " "]):
        with pytest.raises(DataError, match=f"{name}: no word is in two of the"):
            make(name, contents)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_any_texts_have_a_vector_or_a_reason(texts: list[str]) -> None:
    for encoder in ENCODERS:
        encoded = encoder.encode([*texts, "rocket"])
        assert np.isfinite(encoded.vectors).all() and encoded.present[-1]
        assert set(encoded.reasons) == set(np.flatnonzero(~encoded.present))


ENCODERS = [make("tf-idf"), make("lsa", width=3), make("lsa", width=3, tokenizer="whitespace")]
