"""The lift equals a plain loop, is 1 for vectors that know nothing, and follows real plots."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.probing.lift import co_interaction_lift
from recsys.probing.neighbours import centred_directions, nearest


def make_rows(taken: NDArray[np.bool_]) -> Interactions:
    """Users by items."""
    users, items = np.nonzero(taken)
    n = len(users)
    return Interactions(
        users.astype(np.int32),
        items.astype(np.int32),
        np.arange(n),
        np.ones(n, np.float32),
        np.arange(n),
        *taken.shape,
    )


def two_tastes(n_items: int = 60) -> NDArray[np.bool_]:
    draw = np.random.default_rng(0)
    like = np.arange(90)[:, None] % 2 == np.arange(n_items)[None] % 2
    return draw.random((90, n_items)) < np.where(like, 0.4, 0.05)


def test_the_lift_equals_a_plain_loop() -> None:
    taken = two_tastes(12)
    taken[:, 5] = False  # nobody took it
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(12, 3)).astype(np.float32)
    present = np.arange(12) != 7
    pool = [item for item in range(12) if item not in (5, 7)]
    centred = {item: vectors[item] - vectors[pool].mean(axis=0) for item in pool}

    def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    near, anybody = [], []
    for item in pool:
        others = [other for other in pool if other != item]
        others.sort(key=lambda other: -cosine(centred[item], centred[other]))
        co = [cosine(taken[:, item] * 1.0, taken[:, other] * 1.0) for other in others]
        near += co[:4]
        anybody += co
    found = co_interaction_lift(vectors, present, make_rows(taken), k=4)
    assert found is not None
    assert found.near.value == pytest.approx(np.mean(near))
    assert found.near.chance == pytest.approx(np.mean(anybody))
    assert found.lift.value == pytest.approx(np.mean(near) / np.mean(anybody))
    assert found.lift.n == 10


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(2).normal(size=(60, 4)).astype(np.float32)
    rows = make_rows(two_tastes())
    whole = co_interaction_lift(vectors, np.ones(60, np.bool_), rows)
    monkeypatch.setattr("recsys.probing.neighbours.BLOCK", 500)
    parts = co_interaction_lift(vectors, np.ones(60, np.bool_), rows)
    assert whole is not None and parts is not None
    assert parts.lift == pytest.approx(whole.lift)


def test_vectors_of_the_taste_have_lift_and_shuffled_or_constant_ones_have_none() -> None:
    rows = make_rows(two_tastes(200))
    present = np.ones(200, np.bool_)
    draw = np.random.default_rng(3)
    taste = np.stack([np.arange(200) % 2, draw.random(200)], axis=1).astype(np.float32)
    shuffled = [draw.permutation(taste) for _ in range(10)]
    constant = np.full((200, 5), 0.3, np.float32)
    lifts = [co_interaction_lift(of, present, rows) for of in (taste, constant, *shuffled)]
    knowing, nothing, *others = (lift.lift for lift in lifts if lift is not None)
    assert knowing.low > 1.3
    assert nothing.low < 1.0 < nothing.high
    assert np.mean([other.value for other in others]) == pytest.approx(1.0, abs=0.04)


def test_repeated_rows_count_once_and_too_few_items_give_nothing() -> None:
    taken = two_tastes(8)
    rows = make_rows(taken)
    twice = rows.take(np.repeat(np.arange(len(rows)), 2))
    vectors = np.random.default_rng(4).normal(size=(8, 2)).astype(np.float32)
    present = np.ones(8, np.bool_)
    assert co_interaction_lift(vectors, present, twice, k=3) == co_interaction_lift(
        vectors, present, rows, k=3
    )
    assert co_interaction_lift(vectors, np.arange(8) == 1, rows) is None
    apart = make_rows(np.eye(8, dtype=np.bool_))  # no two items share a user
    assert co_interaction_lift(vectors, present, apart) is None


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_equal_a_plain_search(distance: str) -> None:
    points = np.random.default_rng(5).normal(size=(30, 4)).astype(np.float32)
    if distance == "cosine":
        points = centred_directions(points)
    found = nearest(points, points, 5, distance=distance, itself=np.arange(30))  # type: ignore[arg-type]
    for row in range(30):
        far = np.linalg.norm(points - points[row], axis=1)
        far[row] = np.inf
        np.testing.assert_array_equal(found[row], np.argsort(far)[:5])


def test_ties_are_drawn_from_all_over_the_catalogue() -> None:
    same = np.zeros((400, 3), np.float32)
    found = nearest(same, same, 10, itself=np.arange(400))
    assert np.bincount(found.ravel(), minlength=400).max() < 30  # each query draws anew: about 10
    assert not (found == np.arange(400)[:, None]).any()


def test_equal_rows_have_no_direction() -> None:
    assert not centred_directions(np.full((5, 300), 1 / 3, np.float32)).any()


@pytest.mark.real_data
def test_plots_by_tf_idf_are_near_where_people_are(shared_data: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    folder = shared_data / "ml-100k-mm"
    dataset = Dataset.from_files(
        folder / "ratings.csv.gz", user="user", item="item", time="timestamp", weight="rating",
        items=folder / "items.jsonl",
    )  # fmt: skip
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    plots = {str(item["item"]): item.get("plot_omdb") or "" for item in map(json.loads, lines)}
    texts = [plots[str(item)] for item in dataset.item_ids.values]
    present = np.array([bool(text) for text in texts])
    tfidf = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2)
    vectors = tfidf.fit_transform(texts).toarray().astype(np.float32)
    found = co_interaction_lift(vectors, present, dataset.log)
    assert found is not None
    assert found.near.chance == pytest.approx(0.104, abs=0.002)
    assert found.near.value > 0.121  # about .126, by the preparation of the text
    assert found.lift.low > 1.1
