"""The border: catalogue ids in, catalogue ids out, and clear words for what is unknown."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError, DataError
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries
from recsys.recommenders.recommender import Recommender

USERS, ITEMS = [10, 20, 30], ["b", "c", "d", "e"]


@dataclass(frozen=True)
class FixedOrder:
    """Ranks items by number, the first best."""

    name: str = "fixed"

    @property
    def abilities(self) -> Abilities:
        return Abilities(new_users=True, new_items=False)

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        scores = np.tile(-np.arange(len(ITEMS), dtype=np.float32), (len(queries), 1))
        return top_k_of_scores(scores, k, exclude=exclude, candidates=candidates)


@pytest.fixture
def recommender() -> Recommender:
    users, items = np.array([0, 0, 2], dtype=np.int32), np.array([0, 2, 1], dtype=np.int32)
    n = np.arange(3)
    log = Interactions(users, items, n, np.ones(3, np.float32), n, len(USERS), len(ITEMS))
    frame = pd.DataFrame({"title": ["Bee", "Sea", None, "Ease"]})
    ids = ItemIds(np.array(ITEMS, dtype=object))
    return Recommender(FixedOrder(), UserIds(np.array(USERS)), ids, log, frame)


def rows(table: pd.DataFrame) -> list[tuple[object, int, object]]:
    columns = (table["user_id"], table["rank"], table["item_id"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_ids_come_back_in_order_of_rank_without_what_was_seen(recommender: Recommender) -> None:
    table = recommender.recommend([30, "10"], k=2)
    assert rows(table) == [(30, 1, "b"), (30, 2, "d"), (10, 1, "c"), (10, 2, "e")]
    assert table["score"].tolist() == [0.0, -2.0, -1.0, -3.0]


def test_everybody_and_seen_items_on_request(recommender: Recommender) -> None:
    assert recommender.recommend(k=1)["user_id"].tolist() == USERS
    assert rows(recommender.recommend([10], k=1, exclude_seen=False)) == [(10, 1, "b")]


def test_exclude_and_candidates(recommender: Recommender) -> None:
    assert rows(recommender.recommend([20], k=9, exclude=["b", "e"])) == [
        (20, 1, "c"),
        (20, 2, "d"),
    ]
    assert rows(recommender.recommend([20], k=9, candidates=["e", "d"])) == [
        (20, 1, "d"),
        (20, 2, "e"),
    ]
    assert rows(recommender.recommend([20], candidates=["e", "d"], exclude=["d"])) == [(20, 1, "e")]


def test_a_new_user_by_history(recommender: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = recommender.recommend(history=["b", "nothing"], k=2)
    assert table["item_id"].tolist() == ["c", "d"]
    assert table["user_id"].isna().all()
    assert "nothing" in caplog.text


def test_somebody_of_whom_nothing_is_told_is_answered_too(recommender: Recommender) -> None:
    table = recommender.recommend(history=[], k=9)
    assert table["user_id"].isna().all()
    assert sorted(table["item_id"]) == ["b", "c", "d", "e"], "all that can be recommended"


def test_what_cannot_be_answered_is_said(recommender: Recommender) -> None:
    with pytest.raises(
        DataError, match=r"1 unknown user ids, first: '99'; known are 3 such as '10'"
    ):
        recommender.recommend([10, 99])
    with pytest.raises(DataError, match=r"none of the 1 items .*first: 'nothing'"):
        recommender.recommend(history=["nothing"])
    with pytest.raises(DataError, match="unknown item id"):
        recommender.recommend([10], candidates=["nothing"])
    with pytest.raises(ConfigError, match="not both"):
        recommender.recommend([10], history=["b"])
    with pytest.raises(ConfigError, match="at least 1"):
        recommender.recommend([10], k=0)
    with pytest.raises(ConfigError, match="no item vectors"):
        recommender.similar("b")


def test_labels_are_titles_where_there_are_any(recommender: Recommender) -> None:
    assert recommender.label(["c", "d"]) == ["Sea", "d"]
