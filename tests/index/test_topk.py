"""The choice of the best k, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.topk import TopK, top_k_in_blocks, top_k_of_found, top_k_of_scores

SCORES = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 3.4e38, -3.4e38, 0.1, 0.1, 1 + 2**-23]


def plainly(scores: NDArray[np.float32], k: int, barred: list[list[int]]) -> list[list[int]]:
    rows = []
    for row, values in enumerate(scores.tolist()):
        allowed = sorted((-value, item) for item, value in enumerate(values))
        items = [item for _, item in allowed if item not in barred[row]]
        rows.append((items + [-1] * k)[:k])
    return rows


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_against_plain_loops(data: st.DataObject) -> None:
    q, n = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 9))
    k = data.draw(st.integers(1, 12))
    values = data.draw(st.lists(st.sampled_from(SCORES), min_size=q * n, max_size=q * n))
    scores = np.array(values, dtype=np.float32).reshape(q, n)
    exclude = [data.draw(st.lists(st.integers(0, n - 1), max_size=n)) for _ in range(q)]
    candidates = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    barred = [row + np.flatnonzero(~candidates).tolist() for row in exclude]

    found = top_k_of_scores(scores, k, exclude=Ragged.of(exclude), candidates=candidates)

    assert found.items.tolist() == plainly(scores, k, barred)
    for row in range(q):
        padded = [scores[row, item] if item >= 0 else -np.inf for item in found.items[row]]
        assert found.scores[row].tolist() == padded


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_scattered_findings_follow_the_same_rule(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(-3, 3, size=(5, 20)).astype(np.float32)
    met = random.random((5, 20)) < 0.4
    rows, items = np.nonzero(met)
    order = random.permutation(len(rows))
    rows, items = rows[order], items[order]
    found = top_k_of_found(rows, items.astype(np.int32), scores[rows, items], 5, 6)
    unmet = Ragged.of([np.flatnonzero(~row).tolist() for row in met])
    same(found, top_k_of_scores(scores, 6, exclude=unmet))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scores = random.integers(-3, 3, size=(11, 20)).astype(np.float32)
    exclude = Ragged.of([random.permutation(20)[:row].tolist() for row in range(11)])
    asked: list[int] = []

    def scores_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append(len(rows))
        return scores[rows]

    monkeypatch.setattr("recsys.index.topk.BLOCK", 60)
    found = top_k_in_blocks(scores_of, 11, 20, 4, exclude=exclude)
    same(found, top_k_of_scores(scores, 4, exclude=exclude))
    assert asked == [3, 3, 3, 2]


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers(fault: float) -> None:
    scores = np.zeros((2, 3), dtype=np.float32)
    scores[1, 2] = fault
    with pytest.raises(ValueError, match=r"score of row 1, item 2 is .*, not finite"):
        top_k_of_scores(scores, 1)


def same(one: TopK, other: TopK) -> None:
    assert np.array_equal(one.items, other.items)
    assert np.array_equal(one.scores, other.scores)
