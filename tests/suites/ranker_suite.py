"""What every ranker must do. Subclass ``RankerSuite`` as ``Test...`` and say how it is fitted."""

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Queries, Ranker

N_USERS, N_ITEMS = 30, 50  # of different size, so that a turned matrix cannot fit
UNTRAINED = np.array([3, 20, 49])  # items that the log of ``mixed`` lacks


def interactions(
    rows: list[tuple[int, int]], n_users: int = N_USERS, n_items: int = N_ITEMS
) -> Interactions:
    """A log of (user, item) in order of time."""
    users, items = np.array(sorted(rows, key=lambda row: row[0]), dtype=np.int32).reshape(-1, 2).T
    order = np.arange(len(rows))
    return Interactions(
        users, items, order, np.ones(len(rows), np.float32), order, n_users, n_items
    )


def withheld(user: int) -> int:
    """The item of the user's own colour that the checkerboard leaves out."""
    return (3 * user + 10 * (user % 2)) % N_ITEMS // 2 * 2 + user % 2


def checkerboard() -> Interactions:
    """Even users took all even items, odd users all odd ones, each but for the one withheld."""
    random = np.random.default_rng(0)
    return interactions(
        [
            (user, int(item))
            for user in range(N_USERS)
            for item in random.permutation(np.arange(user % 2, N_ITEMS, 2))
            if item != withheld(user)
        ]
    )


def mixed() -> Interactions:
    """Histories of 1 to 15 items, some items more popular; the last user has none."""
    random = np.random.default_rng(1)
    weights = 1 / np.arange(2, N_ITEMS + 2)
    weights[UNTRAINED] = 0
    weights /= weights.sum()
    return interactions(
        [
            (user, int(item))
            for user in range(N_USERS - 1)
            for item in random.choice(N_ITEMS, random.integers(1, 16), replace=False, p=weights)
        ]
    )


def everybody(train: Interactions) -> Queries:
    return Queries.known(train, np.arange(train.n_users))


def as_new(queries: Queries) -> Queries:
    return Queries(np.full(len(queries), -1, dtype=np.int32), queries.histories)


def only(queries: Queries, rows: NDArray[np.int64]) -> Queries:
    return Queries(queries.users[rows], queries.histories.take(rows))


def check_form(found: TopK, q: int, k: int, allowed: int) -> None:
    """Shapes, types, order, finite scores, no item twice, padding only where it must be."""
    assert found.items.shape == found.scores.shape == (q, k)
    assert found.items.dtype == np.int32
    assert found.scores.dtype == np.float32
    filled = min(k, allowed)
    assert np.all(found.items[:, :filled] >= 0)
    assert np.all(found.items[:, filled:] == -1)
    assert np.all(np.isfinite(found.scores[:, :filled]))
    assert np.all(np.isneginf(found.scores[:, filled:]))
    assert np.all(np.diff(found.scores[:, :filled], axis=1) <= 0)
    assert all(len(set(row)) == filled for row in found.items[:, :filled].tolist())


class RankerSuite:
    """The contract of ``Ranker``."""

    personal = True  # whether it can tell even users from odd ones

    @classmethod
    def fit(cls, train: Interactions, seed: int) -> Ranker:
        """Fit with settings that let it learn a log of 30 users and 50 items."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def ranker(cls) -> Ranker:
        """Fitted on ``mixed()``."""
        return cls.fit(mixed(), 0)

    def test_checkerboard(self) -> None:
        """The right answer is known: the one item of the user's colour not yet taken."""
        train = checkerboard()
        ranker, queries = self.fit(train, 0), everybody(train)
        right = [withheld(user) for user in range(N_USERS)]
        asked = [queries, as_new(queries)] if ranker.abilities.new_users else [queries]
        for who in asked:
            first = ranker.top_k(who, 1, exclude=who.histories).items[:, 0].tolist()
            if self.personal:
                assert first == right
            else:
                popular = ranker.top_k(who, N_ITEMS).items
                assert np.all(popular == popular[0])

    @pytest.mark.parametrize("k", [1, 10, N_ITEMS, N_ITEMS + 5])
    def test_form(self, ranker: Ranker, k: int) -> None:
        check_form(ranker.top_k(everybody(mixed()), k), N_USERS, k, N_ITEMS)

    def test_name(self, ranker: Ranker) -> None:
        assert ranker.name == ranker.name.lower().strip() != ""

    def test_nothing_is_left_out_unasked(self, ranker: Ranker) -> None:
        found = ranker.top_k(everybody(mixed()), N_ITEMS)
        assert np.all(np.sort(found.items, axis=1) == np.arange(N_ITEMS))

    def test_excluded_items_are_left_out(self, ranker: Ranker) -> None:
        queries = everybody(mixed())
        whole = ranker.top_k(queries, N_ITEMS)
        found = ranker.top_k(queries, N_ITEMS, exclude=queries.histories)
        for row in range(N_USERS):
            barred = set(queries.histories[row].tolist())
            rest = [item for item in whole.items[row].tolist() if item not in barred]
            assert found.items[row].tolist() == rest + [-1] * len(barred)

    @pytest.mark.parametrize("allowed", [0, 1, 7, 40])
    def test_only_candidates_are_returned(self, ranker: Ranker, allowed: int) -> None:
        candidates = np.zeros(N_ITEMS, dtype=np.bool_)
        candidates[np.random.default_rng(2).permutation(N_ITEMS)[:allowed]] = True
        found = ranker.top_k(everybody(mixed()), 10, candidates=candidates)
        check_form(found, N_USERS, 10, allowed)
        whole = ranker.top_k(everybody(mixed()), N_ITEMS)
        for mine, ranked in zip(found.items.tolist(), whole.items.tolist(), strict=True):
            assert [item for item in mine if item >= 0] == [i for i in ranked if candidates[i]][:10]

    def test_a_batch_is_answered_like_its_rows(self, ranker: Ranker) -> None:
        queries = everybody(mixed())
        together = ranker.top_k(queries, 10, exclude=queries.histories)
        for row in range(N_USERS):
            alone = only(queries, np.array([row]))
            found = ranker.top_k(alone, 10, exclude=alone.histories)
            assert np.array_equal(found.items[0], together.items[row])
            np.testing.assert_allclose(found.scores[0], together.scores[row], rtol=1e-5, atol=1e-6)

    def test_order_of_queries(self, ranker: Ranker) -> None:
        queries, order = everybody(mixed()), np.random.default_rng(3).permutation(N_USERS)
        straight, shuffled = ranker.top_k(queries, 10), ranker.top_k(only(queries, order), 10)
        assert np.array_equal(shuffled.items, straight.items[order])

    def test_nobody_asks(self, ranker: Ranker) -> None:
        nobody = only(everybody(mixed()), np.empty(0, dtype=np.int64))
        check_form(ranker.top_k(nobody, 3, exclude=Ragged.of([])), 0, 3, N_ITEMS)

    def test_two_fits_are_identical(self, ranker: Ranker) -> None:
        queries = everybody(mixed())
        one, other = ranker.top_k(queries, 10), self.fit(mixed(), 0).top_k(queries, 10)
        assert np.array_equal(one.items, other.items)
        assert np.array_equal(one.scores, other.scores)

    def test_without_a_history(self, ranker: Ranker) -> None:
        known = Queries(np.arange(5, dtype=np.int32), Ragged.of([[]] * 5))
        asked = [known, as_new(known)] if ranker.abilities.new_users else [known]
        for who in asked:
            check_form(ranker.top_k(who, 10), 5, 10, N_ITEMS)

    def test_new_users(self, ranker: Ranker) -> None:
        queries = everybody(mixed())
        if ranker.abilities.new_users:
            check_form(ranker.top_k(as_new(queries), 10), N_USERS, 10, N_ITEMS)
            return
        with pytest.raises(DataError, match=f"{ranker.name}: 30 of 30 users are new"):
            ranker.top_k(as_new(queries), 10)

    def test_new_items_come_last_where_they_cannot_be_scored(self, ranker: Ranker) -> None:
        if ranker.abilities.new_items:
            return  # their place is then the content's affair
        new = np.flatnonzero(mixed().item_counts() == 0)
        last = ranker.top_k(everybody(mixed()), N_ITEMS).items[:, -len(new) :]
        assert np.all(np.sort(last, axis=1) == new)
