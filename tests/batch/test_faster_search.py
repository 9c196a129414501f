"""Exact search on a device gives the answers of exact search; what answers is measured."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from recsys.batch import on_device, search
from recsys.batch.job import Job
from recsys.batch.on_device import DeviceIndex
from recsys.batch.search import choose_search, with_search
from recsys.config import IndexConfig, TowersConfig
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.index.exact import ExactIndex
from recsys.index.index import build_index
from recsys.index.live import LiveIndex
from recsys.index.topk import TopK
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.two_tower import TwoTower

N_USERS, N_ITEMS = 50, 400


def unit(rows: int, dim: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 10, 399, 500])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_device_answers_as_exact_search_does(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, k: int, filtered: bool
) -> None:
    monkeypatch.setattr(on_device, "SCORES", 7 * N_ITEMS)  # several blocks
    vectors, queries = unit(N_ITEMS, 16, 0), unit(30, 16, 1)
    # As many equal and all but equal items as can hide one another.
    vectors[100:200] = vectors[99]
    vectors[200:300] = vectors[99] + unit(100, 16, 2) * 1e-7
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries[0] = vectors[99]
    exact = ExactIndex.build(vectors)
    index = DeviceIndex(exact.vectors, exact.config, "", device)
    random = np.random.default_rng(3)
    exclude = Ragged.of([random.permutation(N_ITEMS)[: row * 13].tolist() for row in range(30)])
    options: dict[str, Any] = {}
    if filtered:
        options = {"exclude": exclude, "candidates": random.random(N_ITEMS) < 0.5}
    found, expected = index.query(queries, k, **options), exact.query(queries, k, **options)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.fixture
def job() -> Job:
    random = np.random.default_rng(0)
    users = np.sort(random.integers(N_USERS, size=300)).astype(np.int32)
    items = random.integers(N_ITEMS, size=300).astype(np.int32)
    n = np.arange(300)
    log = Interactions(users, items, n, np.ones(300, np.float32), n, N_USERS, N_ITEMS)
    towers = TwoTower(TowersConfig(dim=8), N_USERS, [], np.ones(N_ITEMS, np.bool_), seed=0).eval()
    askers = towers.user_vectors(np.arange(N_USERS, dtype=np.int32), log.histories())
    index = build_index(towers.item_vectors(), IndexConfig(recall=0.9), askers=askers)
    ids = UserIds(np.arange(N_USERS)), ItemIds(np.arange(N_ITEMS))
    frame = pd.DataFrame(index=range(N_ITEMS))
    recommender = Recommender(TwoTowerRanker(towers, index), *ids, log, frame)
    return Job(recommender, np.arange(N_USERS, dtype=np.int32), k=5)


@pytest.mark.parametrize(("slow", "expected"), [("index", "exact"), ("exact", "index")])
def test_the_faster_one_is_taken(
    job: Job, monkeypatch: pytest.MonkeyPatch, slow: str, expected: str
) -> None:
    """A clock that runs fast while the one of them works."""
    seconds = {"index": 0.1, "exact": 0.1, slow: 1.0}
    clock = [0.0]
    top_k = Job.top_k

    def timed(self: Job, users: NDArray[np.int32]) -> TopK:
        ranker = self.recommender.ranker
        assert isinstance(ranker, TwoTowerRanker)
        clock[0] += seconds["exact" if isinstance(ranker.index, ExactIndex) else "index"]
        return top_k(self, users)

    monkeypatch.setattr(Job, "top_k", timed)
    monkeypatch.setattr("recsys.batch.search.time.perf_counter", lambda: clock[0])
    choice = choose_search(job, "auto", torch.device("cpu"))
    assert choice.search == expected
    assert choice.users_per_second == {
        "index": round(N_USERS / seconds["index"]),
        "exact": round(N_USERS / seconds["exact"]),
    }
    assert choose_search(job, "index", torch.device("cpu")) == ("index", {})


def test_a_recall_below_one_is_kept_only_for_speed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_measure", lambda *_: {"index": 105, "exact": 100})
    assert choose_search(job, "auto", torch.device("cpu")).search == "exact"


def test_exact_answers_come_from_the_vectors_of_the_index(job: Job) -> None:
    ranker = job.recommender.ranker
    assert isinstance(ranker, TwoTowerRanker)
    found = with_search(job, "exact", torch.device("cpu")).top_k(job.users)
    alone = replace(ranker, index=ExactIndex.build(np.asarray(ranker.index.vectors)))
    expected = replace(job, recommender=replace(job.recommender, ranker=alone)).top_k(job.users)
    np.testing.assert_array_equal(found.items, expected.items)
    kept = with_search(job, "index", torch.device("cpu")).recommender.ranker
    assert isinstance(kept, TwoTowerRanker) and kept.index is ranker.index


def test_changed_items_stay_changed(job: Job) -> None:
    ranker = job.recommender.ranker
    assert isinstance(ranker, TwoTowerRanker)
    before = job.top_k(job.users).items
    live = LiveIndex.over(ranker.index).without(np.unique(before[:, 0]))
    live = live.put(np.array([N_ITEMS]), ranker.index.vectors[before[:1, 0]])
    recommender = replace(
        job.recommender,
        ranker=replace(ranker, index=live),
        item_ids=ItemIds(np.arange(N_ITEMS + 1)),
        known=replace(job.recommender.known, n_items=N_ITEMS + 1),
    )
    changed = replace(job, recommender=recommender)
    found = with_search(changed, "exact", torch.device("cpu")).top_k(job.users)
    assert not np.isin(found.items, before[:, 0]).any()
    assert found.items[0, 0] == N_ITEMS
