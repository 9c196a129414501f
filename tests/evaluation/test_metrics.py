"""Metrics: by hand, against plain loops, and against ranx on the same ranked lists."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import METRICS, PerUser, contains, coverage, judge

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


def plain(ranked: list[int], truth: set[int], k: int) -> dict[str, float]:
    """All metrics of one user, as their definitions read."""
    hits = [item in truth for item in ranked[:k]]
    places = [place for place, hit in enumerate(hits, start=1) if hit]
    possible = min(k, len(truth))
    ideal = sum(1 / math.log2(place + 1) for place in range(1, possible + 1))
    return {
        "ndcg": sum(1 / math.log2(place + 1) for place in places) / ideal,
        "recall": len(places) / len(truth),
        "recall_capped": len(places) / possible,
        "hr": 1.0 if places else 0.0,
        "mrr": 1 / places[0] if places else 0.0,
        "map": sum(sum(hits[:place]) / place for place in places) / possible,
        "precision": len(places) / k,
    }


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


def test_by_hand() -> None:
    """Hits in places 2 and 4 of 5, three items relevant."""
    judged = judge(np.array([[11, 12, 13, 14, 15]]), Ragged.of([[12, 14, 99]]))
    discounts = [1 / math.log2(2), 1 / math.log2(3), 1 / math.log2(4), 1 / math.log2(5)]
    expected = {
        "ndcg": (discounts[1] + discounts[3]) / sum(discounts[:3]),
        "recall": 2 / 3,
        "recall_capped": 2 / 3,
        "hr": 1.0,
        "mrr": 1 / 2,
        "map": (1 / 2 + 2 / 4) / 3,
        "precision": 2 / 5,
    }
    for name, value in expected.items():
        assert METRICS[name](judged, 5)[0] == pytest.approx(value, abs=1e-15)
    assert METRICS["recall_capped"](judged, 2)[0] == 1 / 2  # two places, not three items
    assert METRICS["hr"](judged, 1)[0] == 0.0


def test_the_perfect_list_is_worth_one() -> None:
    judged = judge(np.array([[5, 6, 7, -1]]), Ragged.of([[7, 5, 6]]))
    for name in ("ndcg", "recall", "recall_capped", "hr", "mrr", "map"):
        assert METRICS[name](judged, 4)[0] == pytest.approx(1.0, abs=1e-15)
    assert METRICS["precision"](judged, 4)[0] == 0.75


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
def ranked_lists() -> tuple[Lists, Ragged]:
    """60 users with full lists of 20 of 80 items, and 1 to 30 relevant ones."""
    generator = np.random.default_rng(11)
    lists = np.stack([generator.permutation(np.arange(500, 580))[:20] for _ in range(60)])
    truth = [
        generator.choice(np.arange(500, 580), generator.integers(1, 31), replace=False).tolist()
        for _ in range(60)
    ]
    return lists.astype(np.int32), Ragged.of(truth)


@pytest.fixture(scope="module")
def ranx_value(ranked_lists: tuple[Lists, Ragged]) -> Iterator[Callable[[str], PerUser]]:
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)  # compiling ranx takes a minute
        ranx = pytest.importorskip("ranx")
        lists, truth = ranked_lists
        users = [f"u{user:02}" for user in range(len(lists))]  # ranx sorts users by their text
        qrels = ranx.Qrels({user: {f"i{i}": 1 for i in truth[n]} for n, user in enumerate(users)})
        # distinct scores, falling along each list: there are no ties to break
        scores = [{f"i{i}": 100.0 - place for place, i in enumerate(row)} for row in lists]
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
