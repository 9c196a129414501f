"""Whoever asks for known users hands on when they took what: nothing on the way drops it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recsys
from recsys.batch.generate import generate
from recsys.config import TowersConfig, TrainingConfig
from recsys.data.dataset import Dataset
from recsys.data.splits import Split, split
from recsys.evaluation.evaluate import evaluate, evaluate_ranker
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Split, Recommender]:
    """Towers that look at times, of a log with moments."""
    random = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(30), 8),
            "item_id": np.concatenate(
                [random.choice(20, size=8, replace=False) for _ in range(30)]
            ),
            "time": 1_500_000_000 + random.integers(0, 10**8, size=240),
        }
    )
    path = tmp_path_factory.mktemp("log") / "log.csv"
    log.to_csv(path, index=False)
    dataset = Dataset.from_files(path, time="time")
    cut = split(dataset, "leave-last-out")
    towers = TowersConfig(dim=8, encoder=("transformer",), time_gaps=True)
    training = TrainingConfig(epochs=1, batch_size=8, prefixes="all", device="cpu")
    return dataset, cut, recsys.fit(dataset, cut, towers=towers, training=training)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Queries]:
    """All that is asked of the towers."""
    queries: list[Queries] = []
    answer = TwoTowerRanker.top_k

    def note(self: TwoTowerRanker, given: Queries, *args: int, **options: object) -> TopK:
        queries.append(given)
        return answer(self, given, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(TwoTowerRanker, "top_k", note)
    return queries


def check(asked: list[Queries], n_users: int) -> None:
    """Everybody's times ascend and lie in the span of the log: they are theirs."""
    assert sum(len(queries) for queries in asked) == n_users
    for queries in asked:
        times = queries.histories.times
        assert times is not None
        assert times.min() >= 1_500_000_000_000
        inside = np.diff(queries.histories.row_numbers) == 0
        assert (np.diff(times)[inside] >= 0).all()


def test_validation_and_test(
    data: tuple[Dataset, Split, Recommender], asked: list[Queries]
) -> None:
    _, cut, recommender = data
    for part in ("validation", "test"):
        asked.clear()
        evaluate(recommender, cut, part=part)
        check(asked, 30)
    asked.clear()
    evaluate_ranker(recommender.ranker, cut.task("validation"), batch_size=7)
    check(asked, 30)


def test_recommendations(
    data: tuple[Dataset, Split, Recommender], asked: list[Queries], tmp_path: Path
) -> None:
    dataset, _, recommender = data
    recommender.recommend([3, 4], k=2)
    check(asked, 2)
    asked.clear()
    generate(recommender, tmp_path, k=2, search="index")  # auto would ask to measure
    check(asked, 30)
    asked.clear()
    again = Queries.known(dataset.log, np.array([5, 6]))
    recommender.top_k(again, 2)
    check(asked, 2)


def test_whoever_is_new_comes_without_times(
    data: tuple[Dataset, Split, Recommender], asked: list[Queries]
) -> None:
    recommender = data[2]
    known = data[0].item_ids.values[:3].tolist()
    table = recommender.recommend(history=known, k=4)
    assert len(table) == 4
    assert np.isfinite(table["score"]).all()
    assert asked[0].histories.times is None
