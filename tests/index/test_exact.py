"""Exact search passes the shared suite."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from suites.index_answers import clustered
from suites.index_suite import DIGEST, IndexSuite
from threadpoolctl import ThreadpoolController

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.index import scan
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex
from recsys.index.vectors import cosines, cosines_of_pairs


class TestExactIndex(IndexSuite):
    config = IndexConfig(kind="exact")
    exact = True


def test_everything_is_inspected() -> None:
    index = ExactIndex.build(clustered(50, 6, seed=1))
    assert index.inspected(clustered(3, 6, seed=2)).tolist() == [50, 50, 50]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = ExactIndex.build(clustered(500, 33, seed=1)), clustered(70, 33, seed=2)
    whole = index.query(queries, 20)
    monkeypatch.setattr(scan, "ITEMS", 21)
    monkeypatch.setattr(scan, "QUERIES", 9)
    blocks = index.query(queries, 20)
    assert np.array_equal(whole.items, blocks.items)
    assert np.array_equal(whole.scores, blocks.scores)


@pytest.mark.parametrize("block", [1, 7, 60, 4_096])
@pytest.mark.parametrize("k", [1, 7, 60, 75])
def test_ties_across_blocks_go_by_item_number(
    block: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each vector is there ten times, some items are barred; against a sort of everything."""
    monkeypatch.setattr(scan, "ITEMS", block)
    monkeypatch.setattr(scan, "QUERIES", 4)
    random = np.random.default_rng(3)
    vectors = np.tile(clustered(6, 5, seed=1), (10, 1))[random.permutation(60)]
    queries = clustered(9, 5, seed=2)
    barred = [random.choice(60, n, replace=False).tolist() for n in (0, 1, 2, 5, 20, 40, 59, 60, 3)]
    candidates = random.random(60) < 0.8
    for allowed in (None, candidates, np.zeros(60, np.bool_), np.ones(60, np.bool_)):
        found = ExactIndex.build(vectors).query(
            queries, k, exclude=Ragged.of(barred), candidates=allowed
        )
        scores = cosines(queries, vectors)
        for row in range(9):
            left = [
                i for i in range(60) if i not in barred[row] and (allowed is None or allowed[i])
            ]
            right = sorted(left, key=lambda item: (-scores[row, item], item))[:k]
            assert found.items[row].tolist() == right + [-1] * (k - len(right))
            assert found.scores[row, : len(right)].tolist() == scores[row, right].tolist()
            assert np.isneginf(found.scores[row, len(right) :]).all()


def test_what_float32_cannot_tell_is_ranked_by_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items within a few roundings of each other, in an order that float32 products get wrong."""
    monkeypatch.setattr(scan, "ITEMS", 50)
    query = clustered(1, 96, seed=4)
    noise = np.random.default_rng(5).normal(size=(400, 96)) * 2e-5
    near = query + noise
    vectors = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    scores = cosines(query, vectors)[0]
    coarse = (query @ vectors.T)[0]
    assert len(np.unique(coarse)) < 20  # they are hard to tell
    right = np.lexsort((np.arange(400), -scores))[:30]
    assert np.argsort(-coarse, kind="stable")[:30].tolist() != right.tolist()
    found = ExactIndex.build(vectors).query(query, 30)
    assert found.items[0].tolist() == right.tolist()
    assert found.scores[0].tolist() == scores[right].tolist()


def test_memory_is_bounded_where_all_items_tie() -> None:
    """Every item reaches the k-th best: nothing of items x queries is kept, or copied in double."""
    vectors = np.tile(clustered(1, 64, seed=1), (60_000, 1))
    queries = clustered(200, 64, seed=2)
    tracemalloc.start()
    found = ExactIndex.build(vectors).query(queries, 5, candidates=np.arange(60_000) % 3 > 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.items.tolist() == [[1, 2, 4, 5, 7]] * 200
    assert peak < 2e8  # 200 x 40,000 double vectors would be 4 GB, their numbers 100 MB


def test_several_threads_leave_blas_as_it_was() -> None:
    """The limit that a search sets is taken back by the last of those that run at once."""
    blas = ThreadpoolController().select(user_api="blas")
    before = [each["num_threads"] for each in blas.info()]
    index, queries = ExactIndex.build(clustered(3_000, 8, seed=1)), clustered(600, 8, seed=2)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: index.query(queries, 5).items, range(6)))
    assert all(np.array_equal(answers[0], other) for other in answers)
    assert [each["num_threads"] for each in blas.info()] == before


def test_a_forest_is_not_loaded_as_exact(tmp_path: Path) -> None:
    ApproximateIndex.build(clustered(50, 6, seed=1), ids_digest=DIGEST).save(tmp_path)
    with pytest.raises(ArtifactError, match="kind 'annoy', expected 'exact'"):
        ExactIndex.load(tmp_path, ids_digest=DIGEST)


def test_many_pairs_are_compared_in_little_memory() -> None:
    random = np.random.default_rng(0)
    vectors = clustered(500, 64, seed=1)
    rows, items = random.integers(0, 500, (2, 200_000))
    tracemalloc.start()
    found = cosines_of_pairs(vectors, vectors, rows, items)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20, "all pairs in double are 300 MiB"
    assert np.array_equal(found, cosines(vectors, vectors)[rows, items])
