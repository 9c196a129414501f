"""Exact search passes the shared suite."""

from pathlib import Path

import numpy as np
import pytest
from suites.index_answers import clustered
from suites.index_suite import DIGEST, IndexSuite

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.index import exact, topk
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex
from recsys.index.vectors import Vectors, cosines


class TestExactIndex(IndexSuite):
    config = IndexConfig(kind="exact")
    exact = True


def test_everything_is_inspected() -> None:
    index = ExactIndex.build(clustered(50, 6, seed=1))
    assert index.inspected(clustered(3, 6, seed=2)).tolist() == [50, 50, 50]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = ExactIndex.build(clustered(500, 33, seed=1)), clustered(70, 33, seed=2)
    whole = index.query(queries, 20)
    monkeypatch.setattr(topk, "BLOCK", 1_500)  # 21 items at a time
    blocks = index.query(queries, 20)
    assert np.array_equal(whole.items, blocks.items)
    assert np.array_equal(whole.scores, blocks.scores)


@pytest.mark.parametrize("block", [60, 500, 1 << 22])
@pytest.mark.parametrize("k", [1, 7, 60, 75])
def test_ties_across_blocks_go_by_item_number(
    block: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each vector is there ten times, some items are barred; against a sort of everything."""
    monkeypatch.setattr(topk, "BLOCK", block)  # from one item at a time
    monkeypatch.setattr(exact, "QUERIES", 4)
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


def test_memory_is_bounded_by_items_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No block of scores is larger than ``topk.BLOCK``, nor is what is copied of the vectors."""
    monkeypatch.setattr(topk, "BLOCK", 1_000)
    largest = []

    def watched(queries: Vectors, vectors: Vectors) -> Vectors:
        largest.append(max(len(queries) * len(vectors), vectors.size))
        return cosines(queries, vectors)

    monkeypatch.setattr(exact, "cosines", watched)
    index = ExactIndex.build(clustered(700, 6, seed=1))
    index.query(clustered(300, 6, seed=2), 5, candidates=np.arange(700) % 3 > 0)
    index.query(clustered(1, 6, seed=2), 5)
    assert max(largest) <= 1_000


def test_a_forest_is_not_loaded_as_exact(tmp_path: Path) -> None:
    ApproximateIndex.build(clustered(50, 6, seed=1), ids_digest=DIGEST).save(tmp_path)
    with pytest.raises(ArtifactError, match="kind 'annoy', expected 'exact'"):
        ExactIndex.load(tmp_path, ids_digest=DIGEST)
