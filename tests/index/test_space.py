"""Forests whose items lie in a space of their own, for users who are far from all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suites.index_answers import as_unit
from suites.index_suite import DIGEST, IndexSuite

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.index import approximate, calibration
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex
from recsys.index.index import load_index
from recsys.index.vectors import Vectors, cosines_of_pairs


def apart() -> tuple[Vectors, Vectors]:
    """Items and users that agree along a few axes; along the many others lies their own noise."""
    random = np.random.default_rng(0)
    items, users = (random.normal(size=(n, 32)) / np.sqrt(32) for n in (3_000, 200))
    for vectors in (items, users):
        vectors[:, :4] += 0.3 * random.normal(size=(len(vectors), 4))
    return as_unit(items), as_unit(users)


def test_users_far_from_all_items_are_asked_for_in_a_space_of_their_own(tmp_path: Path) -> None:
    vectors, users = apart()
    index = ApproximateIndex.build(vectors, IndexConfig(), askers=users, ids_digest=DIGEST)
    assert index.calibration.distance > 0
    assert index.calibration.chosen.recall >= 0.99
    index.save(tmp_path)
    assert {path.name for path in tmp_path.glob("*.npy")} == {"vectors.npy", "axes.npy"}
    loaded = load_index(tmp_path, ids_digest=DIGEST)
    assert np.array_equal(loaded.query(users, 10).items, index.query(users, 10).items)


@pytest.fixture(scope="module")
def in_a_space() -> tuple[ApproximateIndex, Vectors]:
    vectors, users = apart()
    return ApproximateIndex.build(vectors, IndexConfig(), askers=users[:100]), users[100:]


def recall(index: ApproximateIndex, users: Vectors, k: int, **asked: Any) -> float:
    right = ExactIndex.build(np.asarray(index.vectors)).query(users, k, **asked).items
    found = index.query(users, k, **asked).items
    hits = sum(np.isin(a, b[b >= 0]).sum() for a, b in zip(found, right, strict=True))
    return float(hits / (right >= 0).sum())


def test_recall_holds_in_a_space_whatever_is_asked(
    in_a_space: tuple[ApproximateIndex, Vectors],
) -> None:
    index, users = in_a_space
    assert recall(index, users, 20) >= 0.985
    assert recall(index, users, 300) >= 0.985
    best = ExactIndex.build(np.asarray(index.vectors)).query(users, 300).items
    assert recall(index, users, 20, exclude=Ragged.of(best.tolist())) >= 0.985
    liked = index.vectors @ users.mean(axis=0)
    assert recall(index, users, 20, candidates=liked < np.quantile(liked, 0.6)) == 1.0


def test_what_is_ranked_at_once_is_bounded(
    in_a_space: tuple[ApproximateIndex, Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, users = in_a_space
    whole = index.query(users, 10)
    gathered = []

    def watched(queries: Vectors, vectors: Vectors, rows: Any, items: Any) -> Any:
        gathered.append(len(items) * vectors.shape[1])
        return cosines_of_pairs(queries, vectors, rows, items)

    monkeypatch.setattr(approximate, "cosines_of_pairs", watched)
    monkeypatch.setattr(approximate, "GATHERED", 1 << 16)
    assert np.array_equal(index.query(users, 10).items, whole.items)
    assert max(gathered) < 4 * (1 << 16)


class TestInASpace(IndexSuite):
    config = IndexConfig(trees=10, recall=0.95)
    exact = False

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def always(cls) -> Iterator[None]:
        """Whatever forest by angles there is, the one in a space is taken."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calibration, "USUAL", (-1.0, -1.0))
            patch.setattr(calibration, "_price", lambda found, _: -found.distance)
            yield
