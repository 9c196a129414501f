"""A graph of hnswlib passes the shared suite of all indexes."""

from suites.index_answers import clustered
from suites.index_suite import IndexSuite

from recsys.config import IndexConfig
from recsys.index.approximate import ApproximateIndex
from recsys.index.graph import HnswGraph
from recsys.index.recall import recall_against_exact


class TestGraph(IndexSuite):
    config = IndexConfig(kind="hnsw", recall=0.99)
    exact = False


class TestGraphThatKeepsEverything(IndexSuite):
    config = IndexConfig(kind="hnsw", search_k=10_000)
    exact = True


def test_recall_is_reached_by_keeping_few() -> None:
    items, users = clustered(3_000, 24, seed=1), clustered(200, 24, seed=2)
    index = ApproximateIndex.build(items, TestGraph.config, askers=users[:100])
    assert isinstance(index.proposer, HnswGraph)
    found = recall_against_exact(index, users[100:], k=20)
    assert found["recall"] >= 0.98
    assert found["inspected"] < 0.1
    assert index.calibration.chosen in index.calibration.curve
    recalls = [effort.recall for effort in index.calibration.curve]
    assert recalls == sorted(recalls)
