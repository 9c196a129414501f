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
from recsys.index import forest
from recsys.index.calibration import recall_against_exact
from recsys.index.exact import ExactIndex, exact_top_k
from recsys.index.forest import AnnoyForest
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors

LOOKS_AT_A_QUARTER = IndexConfig(trees=20, inspect=0.25, at_least=1)


class TestForest(IndexSuite):
    config = LOOKS_AT_A_QUARTER
    exact = False


class TestForestThatLooksAtEverything(IndexSuite):
    config = IndexConfig(trees=5, inspect=1.0)
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
def index(items: Vectors, users: Vectors) -> AnnoyForest:
    return AnnoyForest.build(items, IndexConfig(), askers=users[:100])


def test_it_finds_nearly_all_while_looking_at_a_part(index: AnnoyForest, users: Vectors) -> None:
    measured = recall_against_exact(index, users[100:], k=20)
    assert measured["recall"] >= 0.99
    assert 0.2 <= measured["inspected"] <= 0.30


def test_what_is_found_depends_neither_on_k_nor_on_exclusions(
    items: Vectors, users: Vectors
) -> None:
    index = AnnoyForest.build(items, IndexConfig(trees=3, inspect=0.02, at_least=1))
    many = index.query(users, 30).items
    assert np.array_equal(index.query(users, 5).items, many[:, :5])
    exclude = Ragged.of(many[:, :25].tolist())
    assert np.array_equal(index.query(users, 5, exclude=exclude).items, many[:, 25:])
    exact = ExactIndex.build(items).query(users, 30).items
    assert not np.array_equal(many, exact), "the forest is too good to show anything here"


def test_askers_decide_how_far_it_looks(items: Vectors) -> None:
    """Those who stand in the middle look at more of the items than the items do."""
    random = np.random.default_rng(0)
    strangers = as_unit(items.mean(axis=0) + 0.02 * random.normal(size=(64, items.shape[1])))
    config = IndexConfig(trees=20, inspect=0.2)
    for askers in (strangers, items[:64]):
        index = AnnoyForest.build(items, config, askers=askers)
        assert 0.9 * index.budget < index.inspected(askers).mean() <= index.budget
    assert index.inspected(strangers).mean() > index.budget, "the two kinds should differ"


def test_the_share_has_a_least_and_a_most(items: Vectors) -> None:
    def looked_at(n: int, config: IndexConfig) -> float:
        return float(AnnoyForest.build(items[:n], config).inspected(items[:100]).mean())

    assert looked_at(300, IndexConfig(trees=10)) == 300
    few = looked_at(3_000, IndexConfig(trees=10, at_least=1, at_most=150))
    assert few == pytest.approx(150, rel=0.25)


def test_few_candidates_are_searched_exactly(
    index: AnnoyForest, users: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = np.zeros(len(index), dtype=np.bool_)
    candidates[np.random.default_rng(0).permutation(len(index))[: int(index.budget)]] = True
    right = ExactIndex.build(index.vectors).query(users, 20, candidates=candidates)
    monkeypatch.setattr(AnnoyForest, "_propose", None)  # whoever asks the forest fails
    assert np.array_equal(index.query(users, 20, candidates=candidates).items, right.items)


def test_a_forest_that_finds_too_little_is_helped_out(items: Vectors, users: Vectors) -> None:
    index = AnnoyForest.build(items, IndexConfig(trees=1, inspect=0.001, at_least=1))
    assert index.inspected(users).max() < 200
    right = ExactIndex.build(items).query(users, 200)
    assert np.array_equal(index.query(users, 200).items, right.items)


def test_candidates_far_away_are_found(items: Vectors, users: Vectors) -> None:
    """More candidates than the budget, none of them near the one who asks."""
    index = AnnoyForest.build(items, IndexConfig(trees=10, inspect=0.05, at_least=1))
    far = items @ users[0] < np.median(items @ users[0])
    found = index.query(users[:1], 50, candidates=far)
    right = ExactIndex.build(items).query(users[:1], 50, candidates=far)
    assert np.array_equal(found.items, right.items)


def test_more_is_fetched_where_not_all_are_candidates(
    index: AnnoyForest, users: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that hardly anybody needs the exact search that would make up for it."""
    helped_out = []

    def watched(vectors: Vectors, queries: Vectors, *args: Any, **settings: Any) -> TopK:
        helped_out.append(len(queries))
        return exact_top_k(vectors, queries, *args, **settings)

    monkeypatch.setattr(forest, "exact_top_k", watched)
    candidates = np.random.default_rng(0).random(len(index)) < 0.4
    index.query(users, 20, candidates=candidates)
    assert sum(helped_out) <= 0.1 * len(users)


def test_the_file_is_of_annoy_with_angular_distances(index: AnnoyForest, tmp_path: Path) -> None:
    index.save(tmp_path)
    plain = AnnoyIndex(24, "angular")
    plain.load(str(tmp_path / "items.annoy"))
    assert (plain.get_n_items(), plain.get_n_trees()) == (3_000, IndexConfig().trees)
    cosine = float(index.vectors[3] @ index.vectors[9])
    assert plain.get_distance(3, 9) == pytest.approx(np.sqrt(2 - 2 * cosine), abs=1e-5)


def test_another_seed_is_another_forest(items: Vectors, tmp_path: Path) -> None:
    for seed in (0, 1):
        AnnoyForest.build(items[:400], IndexConfig(seed=seed)).save(tmp_path / str(seed))
    bytes_ = [(tmp_path / str(seed) / "items.annoy").read_bytes() for seed in (0, 1)]
    assert bytes_[0] != bytes_[1]


def test_damage_is_seen_before_annoy_maps_the_file(
    items: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AnnoyForest.build(items[:400], ids_digest=DIGEST).save(tmp_path)
    path = tmp_path / "items.annoy"
    content = path.read_bytes()

    def map_file(*_: Any) -> None:
        raise AssertionError("Annoy was given a damaged file")

    monkeypatch.setattr(forest, "AnnoyIndex", map_file)
    for damaged, says in (
        (content[:-4], "bytes, expected"),
        (b"", "0 bytes, expected"),
        (content + b"more", "bytes, expected"),
        (content[:-1] + b"?", "the content is not what was saved"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=says):
            AnnoyForest.load(tmp_path, ids_digest=DIGEST)


def test_an_exact_index_is_not_loaded_as_a_forest(items: Vectors, tmp_path: Path) -> None:
    ExactIndex.build(items[:50], ids_digest=DIGEST).save(tmp_path)
    with pytest.raises(ArtifactError, match="kind 'exact', expected 'annoy'"):
        AnnoyForest.load(tmp_path, ids_digest=DIGEST)
