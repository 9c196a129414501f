"""The Annoy forest passes the shared suite, and what only a forest has to prove."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annoy import AnnoyIndex
from suites.index_answers import QUERIES, VECTORS, as_unit, clustered
from suites.index_suite import DIGEST, IndexSuite

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.index import approximate, forest
from recsys.index.approximate import ApproximateIndex
from recsys.index.exact import ExactIndex, exact_top_k
from recsys.index.forest import AnnoyForest
from recsys.index.index import load_index
from recsys.index.recall import recall_against_exact
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors

LOOKS_AT_A_QUARTER = IndexConfig(trees=20, inspect=0.25, recall=1.0)


class TestForest(IndexSuite):
    config = LOOKS_AT_A_QUARTER
    exact = False


class TestForestThatLooksAtEverything(IndexSuite):
    config = IndexConfig(trees=5, search_k=10**9)
    exact = True

    def test_that_it_does(self) -> None:
        assert set(self.build(VECTORS).inspected(QUERIES).tolist()) == {len(VECTORS)}


@pytest.fixture(scope="module")
def items() -> Vectors:
    return clustered(3_000, 24, seed=1, clusters=60, noise=0.8)


@pytest.fixture(scope="module")
def users() -> Vectors:
    return clustered(200, 24, seed=2, clusters=60, noise=0.8)


@pytest.fixture(scope="module")
def index(items: Vectors, users: Vectors) -> ApproximateIndex:
    return ApproximateIndex.build(items, IndexConfig(), askers=users[:100])


def test_it_finds_nearly_all_while_looking_at_a_part(
    index: ApproximateIndex, users: Vectors
) -> None:
    measured = recall_against_exact(index, users[100:], k=20)
    assert measured["recall"] >= 0.985
    assert measured["inspected"] <= 0.3
    assert index.calibration.chosen.recall >= 0.99


def test_what_is_found_depends_neither_on_k_nor_on_exclusions(
    items: Vectors, users: Vectors
) -> None:
    index = ApproximateIndex.build(items, IndexConfig(trees=3, inspect=0.02, recall=1.0))
    many = index.query(users, 20).items
    assert np.array_equal(index.query(users, 5).items, many[:, :5])
    exclude = Ragged.of(many[:, :15].tolist())
    assert np.array_equal(index.query(users, 5, exclude=exclude).items, many[:, 15:])
    exact = ExactIndex.build(items).query(users, 20).items
    assert not np.array_equal(many, exact), "the forest is too good to show anything here"


def test_one_query_starts_no_threads_and_gets_what_it_gets_among_many(
    index: ApproximateIndex, users: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = index.query(users[:5], 10)

    def refuse(*_: object) -> None:
        raise AssertionError("threads for one query")

    monkeypatch.setattr(forest, "ThreadPoolExecutor", refuse)
    for row, user in enumerate(users[:5]):
        one = index.query(user[None], 10)
        assert np.array_equal(one.items[0], many.items[row])
        assert np.array_equal(one.scores[0], many.scores[row])
    with pytest.raises(AssertionError, match="threads for one query"):
        index.query(users[:5], 10)


def test_askers_decide_how_far_it_looks(items: Vectors) -> None:
    """Those who stand in the middle look at more of the items than the items do."""
    random = np.random.default_rng(0)
    strangers = as_unit(items.mean(axis=0) + 0.02 * random.normal(size=(64, items.shape[1])))
    config = IndexConfig(trees=20, inspect=0.2, recall=1.0)
    for askers in (strangers, items[:64]):
        index = ApproximateIndex.build(items, config, askers=askers)
        looked = index.inspected(askers).mean() / len(items)
        assert 0.17 < looked <= 0.21
        assert looked == pytest.approx(index.calibration.chosen.inspected, rel=0.2)


def test_few_candidates_are_searched_exactly(
    index: ApproximateIndex, users: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = np.zeros(len(index), dtype=np.bool_)
    candidates[
        np.random.default_rng(0).permutation(len(index))[
            : int(index.calibration.chosen.inspected * len(index))
        ]
    ] = True
    right = ExactIndex.build(np.asarray(index.vectors)).query(users, 20, candidates=candidates)
    monkeypatch.setattr(AnnoyForest, "propose", None)  # whoever asks the forest fails
    assert np.array_equal(index.query(users, 20, candidates=candidates).items, right.items)


def test_a_forest_that_finds_too_little_is_helped_out(items: Vectors, users: Vectors) -> None:
    index = ApproximateIndex.build(items, IndexConfig(trees=1, search_k=1))
    assert index.inspected(users).max() < 200
    right = ExactIndex.build(items).query(users, 200)
    assert np.array_equal(index.query(users, 200).items, right.items)


def test_candidates_far_away_are_found(items: Vectors, users: Vectors) -> None:
    """More candidates than the budget, none of them near the one who asks."""
    index = ApproximateIndex.build(items, IndexConfig(trees=10, inspect=0.05, recall=1.0))
    far = items @ users[0] < np.median(items @ users[0])
    found = index.query(users[:1], 50, candidates=far)
    right = ExactIndex.build(items).query(users[:1], 50, candidates=far)
    assert np.array_equal(found.items, right.items)


def test_more_is_fetched_where_not_all_are_candidates(
    items: Vectors, users: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that hardly anybody needs the exact search that would make up for it."""
    helped_out = []

    def watched(vectors: Vectors, queries: Vectors, *args: Any, **settings: Any) -> TopK:
        helped_out.append(len(queries))
        return exact_top_k(vectors, queries, *args, **settings)

    index = ApproximateIndex.build(items, IndexConfig(inspect=0.03, recall=1.0), askers=users)
    monkeypatch.setattr(approximate, "exact_top_k", watched)
    candidates = np.random.default_rng(0).random(len(index)) < 0.7
    index.query(users, 20, candidates=candidates)
    assert sum(helped_out) <= 0.1 * len(users)


def test_the_file_is_of_annoy_with_angular_distances(
    index: ApproximateIndex, tmp_path: Path
) -> None:
    index.save(tmp_path)
    plain = AnnoyIndex(24, "angular")
    plain.load(str(tmp_path / "items.annoy"))
    assert (plain.get_n_items(), plain.get_n_trees()) == (3_000, index.calibration.trees)
    cosine = float(np.asarray(index.vectors)[3] @ np.asarray(index.vectors)[9])
    assert plain.get_distance(3, 9) == pytest.approx(np.sqrt(2 - 2 * cosine), abs=1e-5)


def test_another_seed_is_another_forest(items: Vectors, tmp_path: Path) -> None:
    for seed in (0, 1):
        ApproximateIndex.build(items[:400], IndexConfig(seed=seed)).save(tmp_path / str(seed))
    bytes_ = [(tmp_path / str(seed) / "items.annoy").read_bytes() for seed in (0, 1)]
    assert bytes_[0] != bytes_[1]


def test_damage_is_seen_before_annoy_maps_the_file(
    items: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ApproximateIndex.build(items[:400], ids_digest=DIGEST).save(tmp_path)
    path = tmp_path / "items.annoy"
    content = path.read_bytes()

    def map_file(*_: Any) -> None:
        raise AssertionError("Annoy was given a damaged file")

    monkeypatch.setattr(forest, "AnnoyIndex", map_file)
    for damaged, says in (
        (content[:-4], "bytes, expected"),
        (b"", "0 bytes, expected"),
        (content + b"more", "bytes, expected"),
        (content[:-1] + b"?", "the content is not what index.json says"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=says):
            load_index(tmp_path, ids_digest=DIGEST)


def test_an_exact_index_is_not_loaded_as_a_forest(items: Vectors, tmp_path: Path) -> None:
    ExactIndex.build(items[:50], ids_digest=DIGEST).save(tmp_path)
    with pytest.raises(ArtifactError, match="kind 'exact', expected 'annoy'"):
        ApproximateIndex.load(tmp_path, ids_digest=DIGEST)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_recall_holds_where_few_are_allowed(
    index: ApproximateIndex, users: Vectors, share: float
) -> None:
    allowed = np.random.default_rng(1).random(len(index)) < share
    right = (
        ExactIndex.build(np.asarray(index.vectors)).query(users[100:], 20, candidates=allowed).items
    )
    found = index.query(users[100:], 20, candidates=allowed).items
    assert np.array_equal((found >= 0).sum(axis=1), (right >= 0).sum(axis=1)), "short lists"
    hits = sum(np.isin(a, b[b >= 0]).sum() for a, b in zip(found, right, strict=True))
    assert hits >= 0.985 * (right >= 0).sum()
