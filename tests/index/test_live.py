"""Changes without building again: answers are those of an index of the resulting vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from suites.index_answers import (
    CANDIDATES,
    DIM,
    EXCLUSIONS,
    N_ITEMS,
    N_QUERIES,
    QUERIES,
    VECTORS,
    candidate_mask,
    clustered,
    exclusions,
)
from suites.index_suite import DIGEST, AnswersSuite

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError, DataError
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex
from recsys.index.index import Index, build_index
from recsys.index.live import LiveIndex, vectors_of
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors

ANNOY = IndexConfig(kind="annoy", trees=10)


class ChangedSuite(AnswersSuite):
    """A third of the items is in the base as it is, a third replaced, a third added."""

    @classmethod
    def build(cls, vectors: Vectors) -> Index:
        n = len(vectors)
        if n < 3:  # too few, or no vectors at all: what is refused, is refused by the base
            return build_index(vectors, cls.config, ids_digest=DIGEST)
        ready = ExactIndex.build(vectors).vectors
        first, second = n // 3, 2 * (n // 3)
        stale = np.concatenate([ready[:first], np.roll(ready[first:second], 1, axis=1)])
        base = build_index(stale, cls.config, ids_digest="of the base")
        live = LiveIndex.over(base).put(np.arange(second, n), vectors[second:], ids_digest=DIGEST)
        changed = np.random.default_rng(0).permutation(np.arange(first, second))
        live = live.without(changed[:5])
        return live.put(changed, ready[changed])

    def test_all_vectors_equal(self) -> None:
        """The base is exact or not; what changed always is."""
        index = self.build(np.repeat(VECTORS[:1], 300, axis=0))
        found = index.query(VECTORS[:1], 3, exclude=Ragged.of([[0, 2]])).items[0].tolist()
        assert found == [1, 3, 4] if self.exact else found == sorted(set(found) - {-1, 0, 2})


class TestLiveOverExact(ChangedSuite):
    config = IndexConfig(kind="exact")
    exact = True


class TestLiveOverAnnoy(ChangedSuite):
    config = ANNOY
    exact = False


class TestLiveOverInt8(ChangedSuite):
    config = IndexConfig(kind="exact", vectors="int8")
    exact = True


Change = tuple[str, list[int]]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "replace", "remove"]),
        st.lists(st.integers(0, 10_000), min_size=1, max_size=8),
    ),
    max_size=8,
)


def changed(live: LiveIndex, changes: list[Change]) -> tuple[LiveIndex, Vectors, NDArray[Any]]:
    """The index after the changes, and by plain loops the vectors and who may be answered."""
    vectors, allowed = list(live.vectors), [True] * len(live)
    fresh = iter(clustered(80, DIM, seed=11))
    for kind, picks in changes:
        picked = sorted({pick % len(vectors) for pick in picks})
        if kind == "remove":
            live = live.without(np.array(picked))
            for item in picked:
                allowed[item] = False
            continue
        if kind == "add":
            picked = list(range(len(vectors), len(vectors) + len(picks)))
            vectors += [np.empty(0)] * len(picks)
            allowed += [True] * len(picks)
        for item in picked:
            vectors[item], allowed[item] = next(fresh), True
        # in any order
        live = live.put(np.array(picked[::-1]), np.array([vectors[i] for i in picked[::-1]]))
    return live, np.array(vectors), np.array(allowed)


@given(CHANGES, st.integers(1, 60), st.sampled_from(EXCLUSIONS), st.sampled_from(CANDIDATES))
@settings(max_examples=60, deadline=None)
def test_any_changes_answer_as_an_index_built_from_scratch(
    changes: list[Change], k: int, exclude: str, candidates: str
) -> None:
    live, vectors, allowed = changed(LiveIndex.over(ExactIndex.build(VECTORS)), changes)
    assert len(live) == len(vectors)
    assert np.array_equal(live.vectors, vectors)
    barred, named = exclusions(exclude), candidate_mask(candidates)
    if named is not None:
        named = np.append(named, np.ones(len(vectors) - len(named), dtype=np.bool_))
    scratch = ExactIndex.build(vectors).query(
        QUERIES, k, exclude=barred, candidates=allowed if named is None else allowed & named
    )
    found = live.query(QUERIES, k, exclude=barred, candidates=named)
    assert np.array_equal(found.items, scratch.items)
    assert np.array_equal(found.scores, scratch.scores)


@given(CHANGES)
@settings(max_examples=15, deadline=None)
def test_an_approximate_base_keeps_its_recall_and_never_answers_fewer(
    approximate: Index, changes: list[Change]
) -> None:
    live, vectors, allowed = changed(LiveIndex.over(approximate), changes)
    k = 20
    found = live.query(QUERIES, k)
    right = ExactIndex.build(vectors).query(QUERIES, k, candidates=allowed)
    assert np.array_equal(found.items >= 0, right.items >= 0)
    assert allowed[found.items[found.items >= 0]].all()
    hits = sum(np.isin(a, b).sum() for a, b in zip(found.items, right.items, strict=True))
    assert hits >= 0.95 * N_QUERIES * k


@pytest.fixture(scope="module")
def approximate() -> Index:
    return build_index(VECTORS, ANNOY, ids_digest=DIGEST)


def test_few_removed_items_do_not_make_an_approximate_base_look_at_everything() -> None:
    """The base is asked for more than k, not for all that is left."""
    vectors = clustered(3_000, DIM, seed=4)
    base = ApproximateIndex.build(vectors, IndexConfig(recall=0.95), askers=QUERIES)
    asked: list[bool] = []

    class Watched(ApproximateIndex):
        def query(self, queries: Vectors, k: int, **more: Any) -> TopK:
            asked.append(more.get("candidates") is None)
            return super().query(queries, k, **more)

    parts = (base.proposer, base.vectors, base.calibration, base.config, base.ids_digest)
    watched = Watched(*parts)
    popular = base.query(QUERIES, 1).items[:, 0]
    live = LiveIndex.over(watched).without(popular)
    found = live.query(QUERIES, 10)
    assert asked == [True]
    assert not np.isin(found.items, popular).any() and (found.items >= 0).all()
    everything = live.query(QUERIES, 10, candidates=np.ones(3_000, dtype=np.bool_))
    assert np.array_equal(everything.items, found.items) and asked == [True, True]
    allowed = np.ones(3_000, dtype=np.bool_)
    allowed[popular] = False
    right = ExactIndex.build(vectors).query(QUERIES, 10, candidates=allowed)
    hits = sum(np.isin(a, b).sum() for a, b in zip(found.items, right.items, strict=True))
    assert hits >= 0.93 * found.items.size


def test_all_neighbours_removed_still_gives_k() -> None:
    live = LiveIndex.over(ExactIndex.build(VECTORS))
    best = live.query(QUERIES[:1], 50).items[0]
    found = live.without(best).query(QUERIES[:1], 20)
    assert (found.items >= 0).all() and not np.isin(found.items, best).any()


def test_a_change_leaves_the_index_before_it_as_it_was() -> None:
    before = LiveIndex.over(ExactIndex.build(VECTORS))
    answers = before.query(QUERIES, 5)
    after = before.without(answers.items[:, 0]).put(np.array([N_ITEMS]), QUERIES[:1])
    assert np.array_equal(before.query(QUERIES, 5).items, answers.items)
    assert len(before) == N_ITEMS and len(after) == N_ITEMS + 1
    assert after.query(QUERIES[:1], 1).items.tolist() == [[N_ITEMS]]


def test_rows_of_some_items(approximate: Index) -> None:
    live, vectors, _ = changed(LiveIndex.over(approximate), [("add", [1, 2]), ("replace", [3])])
    some = np.array([3, N_ITEMS + 1, 0, 3])
    assert np.array_equal(vectors_of(live, some), vectors[some])
    assert np.array_equal(vectors_of(approximate, some[2:]), VECTORS[some[2:]])


@pytest.mark.parametrize(
    ("numbers", "rows", "says"),
    [
        ([N_ITEMS + 1], 1, "next ones from 240 on"),
        ([-1], 1, "next ones from 240 on"),
        ([3, 3], 2, "2 different ones"),
        ([3], 2, "2 different ones"),
    ],
)
def test_numbers_that_do_not_fit(numbers: list[int], rows: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LiveIndex.over(ExactIndex.build(VECTORS)).put(np.array(numbers), VECTORS[:rows])


def test_vectors_and_numbers_that_are_none() -> None:
    live = LiveIndex.over(ExactIndex.build(VECTORS))
    with pytest.raises(DataError, match="not of length 1"):
        live.put(np.array([0]), 2 * VECTORS[:1])
    with pytest.raises(DataError, match=r"expected \(n, 12\)"):
        live.put(np.array([0]), clustered(1, 5, seed=0))
    with pytest.raises(ValueError, match=r"item numbers are 0\.\.239"):
        live.without(np.array([N_ITEMS]))


def saved(base: Index, folder: Path) -> LiveIndex:
    live, _, _ = changed(
        LiveIndex.over(base), [("add", [1, 2]), ("replace", [3, 50]), ("remove", [7, N_ITEMS])]
    )
    live.save(folder)
    return live


def test_saved_and_loaded(approximate: Index, tmp_path: Path) -> None:
    live = saved(approximate, tmp_path)
    loaded = LiveIndex.load(tmp_path, approximate, ids_digest=DIGEST)
    assert np.array_equal(loaded.vectors, live.vectors)
    before, after = live.query(QUERIES, 9), loaded.query(QUERIES, 9)
    assert np.array_equal(before.items, after.items)
    assert np.array_equal(before.scores, after.scores)


def test_changes_of_another_base_are_refused(approximate: Index, tmp_path: Path) -> None:
    saved(approximate, tmp_path)
    for vectors, digest, says in (
        (VECTORS[:-1], DIGEST, "240 items x 12"),
        (clustered(N_ITEMS, 5, seed=1), DIGEST, "240 items x 12"),
        (VECTORS, "other", "asked for"),
        (VECTORS[::-1].copy(), DIGEST, "answers otherwise"),
    ):
        base = build_index(vectors, IndexConfig(kind="exact"), ids_digest=digest)
        with pytest.raises(ArtifactError, match=says):
            LiveIndex.load(tmp_path, base, ids_digest=DIGEST)
    with pytest.raises(ArtifactError, match="asked for"):
        LiveIndex.load(tmp_path, approximate, ids_digest="other")
