"""Metrics: by hand, against plain loops, and against ranx on the same ranked lists."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from suites.evaluation_suite import METRIC_CHECKS, TRUE, System, plain

from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import (
    METRICS,
    Judged,
    PerUser,
    contains,
    coverage,
    judge,
    limited_auc,
)
from recsys.index.topk import top_k_of_scores

Lists = NDArray[np.int32]


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Lists, Ragged]:
    """Lists of 12 places, some padded, and the truth of 1 to 7 users; item numbers from 3 on."""
    n_users = draw(st.integers(1, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lists = np.stack([generator.permutation(np.arange(3, 25))[:12] for _ in range(n_users)])
    lists[np.arange(12) >= generator.integers(0, 15, size=(n_users, 1))] = -1
    truth = [
        generator.choice(np.arange(3, 30), generator.integers(1, 20), replace=False).tolist()
        for _ in range(n_users)
    ]
    return lists.astype(np.int32), Ragged.of(truth)


@pytest.mark.parametrize("name", list(METRICS))
@given(ranking=rankings(), k=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_equals_a_plain_loop_and_lies_in_0_1(
    name: str, ranking: tuple[Lists, Ragged], k: int
) -> None:
    lists, truth = ranking
    values = METRICS[name](judge(lists, truth), k)
    expected = [
        plain(lists[user].tolist(), set(truth[user].tolist()), k)[name]
        for user in range(len(lists))
    ]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert values.dtype == np.float64
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@given(ranking=rankings(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_a_users_value_does_not_depend_on_the_others(
    ranking: tuple[Lists, Ragged], seed: int
) -> None:
    lists, truth = ranking
    order = np.random.default_rng(seed).permutation(len(lists))
    for metric in METRICS.values():
        shuffled = metric(judge(lists[order], truth.take(order)), 10)
        assert shuffled.tolist() == metric(judge(lists, truth), 10)[order].tolist()


@pytest.mark.parametrize("check", METRIC_CHECKS, ids=lambda check: check.__name__)
def test_checks_that_find_planted_faults(check: Callable[[System], None]) -> None:
    check(TRUE)


@given(ranking=rankings(), k=st.integers(1, 12), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_one_more_hit_and_an_earlier_hit_are_never_worse(
    ranking: tuple[Lists, Ragged], k: int, seed: int
) -> None:
    """A hit put where there was none, then moved one place up."""
    judged = judge(*ranking)
    users, places = np.nonzero(~judged.hits & (np.cumsum(~judged.hits, axis=1) <= 3))
    missed = judged.hits.sum(axis=1)[users] < judged.relevant[users]
    users, places = users[missed], places[missed]
    if not len(users):
        return
    chosen = np.random.default_rng(seed).integers(len(users))
    user, place = users[chosen], places[chosen]
    more, earlier = judged.hits.copy(), judged.hits.copy()
    more[user, place] = True
    earlier[user] = more[user]
    if place and not more[user, place - 1]:
        earlier[user, [place - 1, place]] = True, False
    lengths = np.full(len(judged.hits), judged.hits.shape[1])
    for metric in METRICS.values():
        before, after, best = (
            metric(Judged(hits, judged.relevant, lengths), k)[user]
            for hits in (judged.hits, more, earlier)
        )
        assert before <= after + 1e-12
        assert after <= best + 1e-12


def plain_auc(ranked: list[int], truth: set[int], allowed: list[int]) -> float:
    """Every pair of a relevant and another item, looked at: first 1, both unseen 1/2."""
    place = {item: n for n, item in enumerate(ranked)}
    won, pairs = 0.0, 0
    for good in truth:
        for bad in set(allowed) - truth:
            mine, other = place.get(good, math.inf), place.get(bad, math.inf)
            won += 1.0 if mine < other else 0.5 if mine == other else 0.0
            pairs += 1
    return won / pairs


@given(ranking=rankings(), k=st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_limited_auc_equals_all_pairs(ranking: tuple[Lists, Ragged], k: int) -> None:
    lists, truth = ranking
    allowed = list(range(3, 33))
    values = limited_auc(judge(lists, truth), np.full(len(lists), len(allowed)), k)
    expected = [
        plain_auc([i for i in lists[user, :k].tolist() if i >= 0], set(truth[user]), allowed)
        for user in range(len(lists))
    ]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert ((values >= 0) & (values <= 1)).all()


def test_limited_auc_of_the_whole_catalogue_is_the_auc_of_scikit_learn() -> None:
    scores = np.random.default_rng(4).permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    relevant = np.random.default_rng(5).random((20, 50)) < 0.2
    relevant[:, 0] = True
    truth = Ragged.of([np.flatnonzero(row).tolist() for row in relevant])
    best = top_k_of_scores(scores.astype(np.float32), 60)  # ten places beyond the catalogue
    found = limited_auc(judge(best.items, truth), np.full(20, 50), 60)
    expected = [roc_auc_score(relevant[user], scores[user]) for user in range(20)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_limited_auc_at_its_borders() -> None:
    judged = judge(np.array([[5, 6], [-1, -1], [5, -1]]), Ragged.of([[5, 6], [7], [5]]))
    assert limited_auc(judged, np.array([9, 9, 1]), 2).tolist() == [1.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="row 0 holds more items than the 2 that are allowed"):
        limited_auc(judge(np.array([[5, 6]]), Ragged.of([[5, 7]])), np.array([2]), 2)


def test_repeated_truth_counts_once() -> None:
    judged = judge(np.array([[5, 6]]), Ragged.of([[5, 5, 5]]))
    assert METRICS["recall"](judged, 2).tolist() == [1.0]


def test_coverage_counts_items_in_anybodys_first_places() -> None:
    lists = np.array([[5, 6, 7], [5, 8, -1]])
    assert coverage(lists, 10, 1) == 0.1
    assert coverage(lists, 10, 3) == 0.4


def test_contains_looks_into_the_own_row_only() -> None:
    rows = Ragged.of([[4, 0, 2], [], [9]])
    found = contains(rows, np.array([[2, 9, -1], [2, 4, 9], [9, 0, -1]]))
    assert found.tolist() == [[True, False, False], [False] * 3, [True, False, False]]
    assert not contains(Ragged.of([[], []]), np.array([[1], [-1]])).any()


@pytest.mark.parametrize(
    ("lists", "truth", "says"),
    [
        ([[5, 6]], [[5], [6]], "1 ranked lists for 2 users"),
        ([[5, 6], [7, 8]], [[5], []], "row 1 has no relevant item"),
        ([[5, 6], [7, 7]], [[5], [6]], "row 1 names an item twice"),
    ],
)
def test_refuses_what_has_no_value(
    lists: list[list[int]], truth: list[list[int]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        judge(np.array(lists), Ragged.of(truth))


def test_refuses_more_places_than_the_lists_have() -> None:
    judged = judge(np.array([[5, 6]]), Ragged.of([[5]]))
    for k in (0, 3):
        with pytest.raises(ValueError, match="the lists have 2 places"):
            METRICS["ndcg"](judged, k)


# ranx's own names. Its ideal list, too, has min(k, n) hits, but it divides the average precision by
# n also where n > k (as TREC does), so that a perfect list of k items is not worth 1: we divide by
# min(k, n), and the test brings the two to the same denominator. It has no capped recall.
RANX = {
    "ndcg": "ndcg",
    "recall": "recall",
    "hr": "hit_rate",
    "mrr": "mrr",
    "map": "map",
    "precision": "precision",
}


@pytest.fixture(scope="module")
def tied() -> NDArray[np.float32]:
    """Scores of 60 users for 80 items, of which about eight are equal each time."""
    return np.random.default_rng(11).integers(0, 10, size=(60, 80)).astype(np.float32)


@pytest.fixture(scope="module")
def ranked_lists(tied: NDArray[np.float32]) -> tuple[Lists, Ragged]:
    """Our best 20 of them, and 1 to 30 relevant items a user."""
    generator = np.random.default_rng(12)
    truth = [
        generator.choice(80, generator.integers(1, 31), replace=False).tolist() for _ in range(60)
    ]
    return top_k_of_scores(tied, 20).items, Ragged.of(truth)


@pytest.fixture(scope="module")
def ranx_value(
    tied: NDArray[np.float32], ranked_lists: tuple[Lists, Ragged]
) -> Iterator[Callable[[str], PerUser]]:
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)  # compiling ranx takes a minute
        ranx = pytest.importorskip("ranx")
        truth = ranked_lists[1]
        users = [f"u{user:02}" for user in range(len(tied))]  # ranx sorts users by their text
        qrels = ranx.Qrels({user: {f"i{i}": 1 for i in truth[n]} for n, user in enumerate(users)})
        # ranx breaks ties as its sort happens to: here by item number, written into the scores
        scores = [{f"i{i}": float(s) - i / 1_000 for i, s in enumerate(row)} for row in tied]
        run = ranx.Run(dict(zip(users, scores, strict=True)))

        def value(name: str) -> PerUser:
            return np.asarray(ranx.evaluate(qrels, run, name, return_mean=False), dtype=np.float64)

        yield value


@pytest.mark.parametrize("k", [1, 10, 20])
@pytest.mark.parametrize("name", list(RANX))
def test_equals_ranx(
    name: str,
    k: int,
    ranked_lists: tuple[Lists, Ragged],
    ranx_value: Callable[[str], PerUser],
) -> None:
    judged = judge(*ranked_lists)
    ours = METRICS[name](judged, k)
    if name == "map":
        ours = ours * np.minimum(judged.relevant, k) / judged.relevant
    assert 0 < ours.mean() < 1
    np.testing.assert_allclose(ours, ranx_value(f"{RANX[name]}@{k}"), rtol=0, atol=1e-12)
