"""Exact search passes the shared suite."""

from pathlib import Path

import numpy as np
import pytest
from suites.index_answers import clustered
from suites.index_suite import DIGEST, IndexSuite

from recsys.config import IndexConfig
from recsys.errors import ArtifactError
from recsys.index import topk
from recsys.index.exact import ExactIndex
from recsys.index.forest import AnnoyForest


class TestExactIndex(IndexSuite):
    config = IndexConfig(kind="exact")
    exact = True


def test_everything_is_inspected() -> None:
    index = ExactIndex.build(clustered(50, 6, seed=1))
    assert index.inspected(clustered(3, 6, seed=2)).tolist() == [50, 50, 50]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = ExactIndex.build(clustered(500, 33, seed=1)), clustered(70, 33, seed=2)
    whole = index.query(queries, 20)
    monkeypatch.setattr(topk, "BLOCK", 1_500)  # three queries at a time
    blocks = index.query(queries, 20)
    assert np.array_equal(whole.items, blocks.items)
    assert np.array_equal(whole.scores, blocks.scores)


def test_a_forest_is_not_loaded_as_exact(tmp_path: Path) -> None:
    AnnoyForest.build(clustered(50, 6, seed=1), ids_digest=DIGEST).save(tmp_path)
    with pytest.raises(ArtifactError, match="kind 'annoy', expected 'exact'"):
        ExactIndex.load(tmp_path, ids_digest=DIGEST)
