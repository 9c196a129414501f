"""What notebooks measure for themselves: clicks, latency, curves out of MLflow."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.config_file import make_config
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.errors import ArtifactError
from recsys.index.exact import ExactIndex
from recsys.index.index import build_index
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries
from recsys.report.clicks import ndcg_by_clicks
from recsys.report.latency import measure_index
from recsys.tracking import open_tracker, read_curves


class Recorder:
    """Recommends the lowest numbers, and keeps what it was shown."""

    name = "recorder"
    abilities = Abilities(new_users=True, new_items=True)

    def __init__(self) -> None:
        self.shown: list[list[list[int]]] = []
        self.users: list[int] = []

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        self.shown.append([queries.histories[row].tolist() for row in range(len(queries))])
        self.users += queries.users.tolist()
        scores = np.tile(-np.arange(8, dtype=np.float32), (len(queries), 1))
        return top_k_of_scores(scores, k, exclude=exclude, candidates=candidates)


def log(users: list[int], items: list[int]) -> Interactions:
    n = len(users)
    return Interactions(
        np.array(users, np.int32), np.array(items, np.int32), np.arange(n), np.ones(n, np.float32),
        np.arange(n), 2, 8,
    )  # fmt: skip


def test_only_the_last_clicks_are_shown_but_all_is_left_out() -> None:
    history = log([0, 0, 0, 1, 1], [0, 1, 2, 3, 0])
    task = Task(history, log([0, 1], [3, 2]), np.ones(8, np.bool_), {})
    ranker = Recorder()
    found = ndcg_by_clicks(ranker, task, (0, 2), k=1)
    assert ranker.shown == [[[], []], [[1, 2], [3, 0]]]
    assert set(ranker.users) == {-1}
    # 0, 1, 2 are excluded for the first: 3 is a hit; 0, 3 for the second: 1 is none.
    assert {n: values.tolist() for n, values in found.items()} == {0: [1, 0], 2: [1, 0]}


def test_exact_search_finds_all_and_a_forest_less_the_less_it_looks_at() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(3_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = Ragged.of([[row] for row in range(20)])
    exact = measure_index(ExactIndex.build(vectors), vectors[:20], exclude=seen)
    assert exact["recall"] == exact["inspected"] == 1
    assert 0 < exact["median_ms"] <= exact["p95_ms"]
    config = IndexConfig(trees=5, inspect=0.02, recall=1.0)
    forest = build_index(vectors, config, askers=vectors)
    little = measure_index(forest, vectors[:20], exclude=seen)
    assert little["inspected"] < 0.1
    assert little["recall"] < 0.9


def test_curves_come_back_from_mlflow_of_the_newest_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = make_config({"data": {"interactions": "log.csv"}})
    out = tmp_path / "mine"
    for folder, shift in ((out, 5.0), (out, 0.0), (tmp_path / "other", 9.0), (out, None)):
        tracker = open_tracker(config, folder)
        for epoch in (1, 2) if shift is not None else ():
            tracker.log({"search/validation_ndcg@10/seed-0": epoch + (shift or 0)}, step=epoch)
        tracker.tag({"out": str(folder)})
        tracker.finish({"two-tower/ndcg@10": 0.5}, {}, ok=True)
    assert read_curves(config, out) == {"search/validation_ndcg_at_10/seed-0": {1: 1.0, 2: 2.0}}
    with pytest.raises(ArtifactError, match=r"no training of .*elsewhere"):
        read_curves(config, tmp_path / "elsewhere")
    silent = make_config({"data": {"interactions": "log.csv"}, "tracking": {"kind": "none"}})
    with pytest.raises(ArtifactError, match="not in MLflow"):
        read_curves(silent, out)
