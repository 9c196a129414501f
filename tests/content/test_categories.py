import numpy as np
import pytest

from recsys.content import categories
from recsys.content.categories import CategoryEncoder
from recsys.errors import DataError


def test_rows_are_unit_multi_hots_over_recurring_labels() -> None:
    contents = [("War", "Drama"), ("Drama",), (), ("War", "Once")]
    encoder = CategoryEncoder.fit(contents)
    assert encoder.vocabulary == ("Drama", "War")  # "Once" is on one item only
    vectors, present, *_ = encoder.encode(contents)
    half = 0.5**0.5
    np.testing.assert_allclose(vectors, [[half, half], [1, 0], [0, 0], [0, 1]])
    np.testing.assert_array_equal(present, [True, True, False, True])
    assert vectors.dtype == np.float32 and encoder.dim == 2


def test_an_item_of_unknown_labels_only_is_absent() -> None:
    encoder = CategoryEncoder.fit([("a",), ("a",)])
    vectors, present, *_ = encoder.encode([("b",), ("a", "a", "b")])
    assert present.tolist() == [False, True]
    np.testing.assert_array_equal(vectors, [[0], [1]])


def test_a_label_twice_on_one_item_is_one_item() -> None:
    with pytest.raises(DataError, match="none of 1 labels"):
        CategoryEncoder.fit([("a", "a"), ()])


def test_the_most_frequent_labels_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "MOST_LABELS", 2)
    contents = [("c", "b", "a"), ("c", "b", "a"), ("c",)]
    assert CategoryEncoder.fit(contents).vocabulary == ("a", "c")  # of a and b the first


def test_the_name_tells_vocabularies_apart() -> None:
    one = CategoryEncoder.fit([("a", "b"), ("a", "b")])
    same = CategoryEncoder.fit([("b", "a"), ("b", "a"), ("c",)])
    other = CategoryEncoder.fit([("a",), ("a",)])
    assert one.name == same.name != other.name


def test_nothing_to_encode() -> None:
    vectors, present, *_ = CategoryEncoder.fit([("a",), ("a",)]).encode([])
    assert vectors.shape == (0, 1) and present.shape == (0,)
