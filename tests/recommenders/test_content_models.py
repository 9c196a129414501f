"""Content cosine and content ridge pass the shared suite; plain loops and a formula agree."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize
from suites.contents import by_colour
from suites.ranker_suite import (
    N_ITEMS,
    UNTRAINED,
    RankerSuite,
    as_new,
    checkerboard,
    everybody,
    mixed,
)

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError, DataError
from recsys.recommenders import content_models
from recsys.recommenders.content_features import block_features, block_weights, content_features
from recsys.recommenders.content_models import fit_content_cosine, fit_content_ridge
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries, Ranker

BLOCKS = by_colour(N_ITEMS)


class TestContentCosine(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_content_cosine(train, blocks=BLOCKS[:1])


class TestContentRidge(RankerSuite):
    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:  # noqa: ARG003  (nothing is random)
        return fit_content_ridge(train, blocks=BLOCKS)


def features_by_loop(
    blocks: tuple[ContentBlock, ...], train: Interactions, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Centre, normalise, weight and normalise again, item by item."""
    known = set(train.items.tolist())
    result = []
    for item in range(train.n_items):
        row = []
        for block, weight in zip(blocks, weights, strict=True):
            basis = [block.vectors[i].astype(float) for i in known if block.present[i]]
            vector = np.zeros(block.dim)
            if block.present[item]:
                vector = block.vectors[item] - np.mean(basis, axis=0)
                vector = vector / np.linalg.norm(vector) * np.sqrt(weight)
            row.append(vector)
        whole = np.concatenate(row)
        result.append(whole / max(float(np.linalg.norm(whole)), 1e-12))
    return np.array(result)


@pytest.mark.parametrize("weighted", [False, True])
def test_features_by_a_plain_loop(weighted: bool) -> None:
    train = mixed()
    known = train.item_counts() > 0
    weights = np.ones(2)
    if weighted:
        weights = block_weights(train, [block_features(block, known) for block in BLOCKS])
    found = content_features(train, BLOCKS, weighted=weighted)
    np.testing.assert_allclose(found.vectors, features_by_loop(BLOCKS, train, weights), atol=1e-5)
    assert found.scorable.all()


def test_weights_are_least_squares_over_pairs() -> None:
    """The matrices that the module never makes, made."""
    train = mixed()
    known = np.flatnonzero(train.item_counts())
    parts = [block_features(block, train.item_counts() > 0) for block in BLOCKS]
    taken = train.histories().matrix(train.n_items).toarray()[:, known]
    taken = taken / np.linalg.norm(taken, axis=0)
    pairs = ~np.eye(len(known), dtype=bool)
    cosines = np.column_stack([(part[known] @ part[known].T)[pairs] for part in parts])
    expected, _ = optimize.nnls(cosines, (taken.T @ taken)[pairs])
    np.testing.assert_allclose(block_weights(train, parts), expected / expected.sum(), atol=1e-5)


def test_what_says_more_of_who_takes_what_weighs_more() -> None:
    train = checkerboard()
    known = train.item_counts() > 0
    colour, noise = block_weights(train, [block_features(block, known) for block in BLOCKS])
    assert colour > 0.9
    assert colour + noise == pytest.approx(1)
    nothing = np.zeros((N_ITEMS, 3), dtype=np.float32)
    assert block_weights(train, [nothing, nothing]).tolist() == [0.5, 0.5]


def test_cosine_is_the_sum_over_the_history() -> None:
    train = mixed()
    x = content_features(train, BLOCKS, weighted=True).vectors.astype(float)
    ranker, queries = fit_content_cosine(train, blocks=BLOCKS), everybody(train)
    scores = ranker.scorer.scores(queries)
    for user in (0, 3, 11):
        expected = [sum(x[j] @ x[i] for i in queries.histories[user]) for j in range(N_ITEMS)]
        np.testing.assert_allclose(scores[user], expected, atol=1e-5)


def test_ridge_by_its_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_models, "ITEMS", 7)
    train = mixed()
    x = content_features(train, BLOCKS, weighted=True).vectors.astype(float)
    kernel = np.array([[np.exp(-0.5 * np.square(a - b).sum()) for b in x] for a in x])
    known = np.flatnonzero(train.item_counts())
    inverse = np.linalg.inv(kernel[np.ix_(known, known)] + 2.0 * np.eye(len(known)))
    history = train.histories().matrix(N_ITEMS).toarray()[:, known]
    ranker = fit_content_ridge(train, blocks=BLOCKS, regularization=2.0, gamma=0.5)
    found = ranker.scorer.scores(everybody(train))
    np.testing.assert_allclose(found, history @ inverse @ kernel[known], atol=1e-5)


def test_of_too_many_items_it_learns_from_the_most_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    train = mixed()
    monkeypatch.setattr(content_models, "LEARNT_FROM", 10)
    ranker = fit_content_ridge(train, blocks=BLOCKS)
    assert isinstance(ranker.scorer, content_models._Ridge)
    counts = train.item_counts()
    assert counts[ranker.scorer.learnt].min() >= np.sort(counts)[-10]
    monkeypatch.setattr(content_models, "MOST", 499)
    with pytest.raises(DataError, match="50 items, expected at most 49"):
        fit_content_ridge(train, blocks=BLOCKS)


@pytest.mark.parametrize("fit", [fit_content_cosine, fit_content_ridge])
def test_new_items_are_ranked_by_their_content(fit: Callable[..., DenseRanker]) -> None:
    """Whoever takes even items gets the even ones of the new, and contents that lack come last."""
    train = checkerboard()
    train = train.take(~np.isin(train.items, UNTRAINED))
    bare = replace(BLOCKS[0], present=np.arange(N_ITEMS) != 20)
    assert fit(train, blocks=BLOCKS).abilities == Abilities(True, True)
    ranker = fit(train, blocks=(bare,))
    candidates = np.isin(np.arange(N_ITEMS), UNTRAINED)  # 3, 20, 49
    queries = everybody(train)
    found = ranker.top_k(as_new(queries), 3, candidates=candidates).items
    assert (found[:, 2] == 20).all()
    assert (found[1::2, :2] == [3, 49]).all()
    full = fit(train, blocks=BLOCKS[:1]).top_k(queries, 3, candidates=candidates).items
    assert (full[::2, 0] == 20).all()
    assert (full[1::2, 2] == 20).all()


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ConfigError, match=r"content needs some: add a \[content"):
        fit_content_cosine(mixed(), blocks=())
    with pytest.raises(ConfigError, match=r"regularization = 0 and gamma = 1\.0"):
        fit_content_ridge(mixed(), blocks=BLOCKS, regularization=0)


@pytest.mark.parametrize("fit", [fit_content_cosine, fit_content_ridge])
def test_a_history_without_content_gets_popularity(fit: Callable[..., DenseRanker]) -> None:
    """Not the order of item numbers, which is what equal scores would give."""
    train = mixed()
    (block, *_) = BLOCKS
    present = block.present.copy()
    mute = int(train.items[0])
    present[mute] = False
    vectors = np.where(present[:, None], block.vectors, 0).astype(np.float32)
    ranker = fit(train, blocks=(replace(block, vectors=vectors, present=present),))
    queries = Queries(np.array([-1, -1], dtype=np.int32), Ragged.of([[mute], []]))
    found = ranker.top_k(queries, 10).items
    popular = np.argsort(-train.item_counts(), kind="stable")[:10]
    assert found.tolist() == [popular.tolist()] * 2
