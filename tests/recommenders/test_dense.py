"""What all rankers that score every item share."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries

COUNTS = np.array([2, 0, 5, 5, 1, 0])


@dataclass
class Fixed:
    """Scores by number, whoever asks; remembers how many asked at a time."""

    values: NDArray[np.float32]
    asked: list[int]

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        self.asked.append(len(queries))
        return np.tile(self.values, (len(queries), 1))


def ranker(values: list[float] | None = None, *, new_users: bool = True) -> DenseRanker:
    scores = np.array(values or [-3, -2, -1, -4, -5, 0], dtype=np.float32)
    return DenseRanker("fixed", Abilities(new_users, False), Fixed(scores, []), COUNTS)


def asking(*histories: list[int], user: int = 0) -> Queries:
    return Queries(np.full(len(histories), user, dtype=np.int32), Ragged.of(list(histories)))


def test_by_score_and_untrained_items_last() -> None:
    found = ranker().top_k(asking([0]), 6)
    assert found.items.tolist() == [[2, 0, 3, 4, 1, 5]]
    assert found.scores.tolist() == [[-1, -3, -4, -5, -6, -6]]


def test_without_a_history_by_popularity() -> None:
    found = ranker().top_k(asking([0], []), 3)
    assert found.items.tolist() == [[2, 0, 3], [2, 3, 0]]
    assert found.scores[1].tolist() == [5, 5, 2]


def test_users_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.index.topk.BLOCK", 12)
    fixed = ranker()
    assert fixed.top_k(asking(*[[0]] * 5), 2).items.tolist() == [[2, 0]] * 5
    assert isinstance(fixed.scorer, Fixed)
    assert fixed.scorer.asked == [2, 2, 1]


def test_scores_that_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="not finite"):
        ranker([0, 0, float("nan"), 0, 0, 0]).top_k(asking([0]), 1)


@pytest.mark.parametrize("item", [-1, 6])
def test_a_history_of_what_is_no_item(item: int) -> None:
    with pytest.raises(DataError, match=r"fixed: histories hold .*, item numbers are 0\.\.5"):
        ranker().top_k(asking([0], [0, item]), 1)


def test_new_users_are_refused_by_who_cannot() -> None:
    assert ranker().top_k(asking([0], user=-1), 1).items.tolist() == [[2]]
    with pytest.raises(DataError, match="fixed: 1 of 1 users are new"):
        ranker(new_users=False).top_k(asking([0], user=-1), 1)
