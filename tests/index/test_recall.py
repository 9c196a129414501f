"""Recall and inspection, on an index whose answers are made by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.exact import ExactIndex
from recsys.index.recall import recall_against_exact
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors


@dataclass(frozen=True, eq=False)
class Forgetful(ExactIndex):
    """Exact, but blind to some items."""

    forgotten: tuple[int, ...] = ()

    def query(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        assert candidates is None
        seen = np.ones(len(self), dtype=np.bool_)
        seen[list(self.forgotten)] = False
        return super().query(queries, k, exclude=exclude, candidates=seen)

    def inspected(self, queries: Vectors) -> NDArray[np.int64]:
        return super().inspected(queries) - len(self.forgotten)


def circle(n: int) -> Vectors:
    """Points on a circle; neighbours in number are neighbours in place."""
    angles = np.linspace(0, np.pi, n, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def forgetful(*forgotten: int) -> Forgetful:
    exact = ExactIndex.build(circle(10))
    return Forgetful(exact.vectors, exact.config, exact.ids_digest, forgotten)


def test_recall_and_inspected() -> None:
    queries = circle(10)[[0, 9]]  # nearest three: 0 1 2 and 9 8 7
    measured = recall_against_exact(forgetful(1, 2), queries, k=3)
    assert measured == {
        "k": 3,
        "queries": 2,
        "recall": pytest.approx((1 + 3) / 6),
        "inspected": pytest.approx(0.8),
    }


def test_exclusions_move_the_wanted_items_on() -> None:
    queries = circle(10)[[0, 9]]
    exclude = Ragged.of([[0, 1, 2], []])  # nearest three: 3 4 5 and 9 8 7
    measured = recall_against_exact(forgetful(1, 2), queries, k=3, exclude=exclude)
    assert measured["recall"] == 1.0


def test_padding_is_no_hit() -> None:
    measured = recall_against_exact(forgetful(0, 1, 2, 3, 4), circle(10)[:1], k=20)
    assert measured["recall"] == pytest.approx(0.5)
