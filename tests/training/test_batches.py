"""Batches: what is history, what is to be guessed, and that a seed decides it."""

import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged
from recsys.training.batches import Batch, draw_batches, steps_per_epoch, target_weights

SEQUENCES = Ragged.of([[5, 6, 7, 8, 9], [], [3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
HISTORY = 4
MODES: list[Literal["one", "all"]] = ["one", "all"]


def config_of(prefixes: Literal["one", "all"] = "one", **changes: object) -> TrainingConfig:
    settings = {"batch_size": 2, "horizon": 3, "user_dropout": 0.5, "short_histories": 0}
    return TrainingConfig.model_validate({**settings, "prefixes": prefixes, **changes})


def draw(epoch: int, config: TrainingConfig | None = None, seed: int = 0) -> list[Batch]:
    return list(draw_batches(SEQUENCES, config or config_of(), HISTORY, seed=seed, epoch=epoch))


def positions(batch: Batch) -> list[tuple[int, list[int], list[int]]]:
    """(person, the items known, the items that came next) of each position."""
    found = []
    for number, (row, newest) in enumerate(zip(batch.rows, batch.newest, strict=True)):
        start, stop = batch.histories.indptr[row], batch.histories.indptr[row + 1]
        assert newest == -1 or start <= newest < stop, "a position knows its own history only"
        known = [] if newest == -1 else batch.histories.values[start : newest + 1].tolist()
        found.append((int(batch.people[row]), known, batch.targets[number].tolist()))
    return found


@pytest.mark.parametrize("prefixes", MODES)
def test_what_is_known_and_what_comes_next_stand_side_by_side_in_the_users_sequence(
    prefixes: Literal["one", "all"],
) -> None:
    cuts = set()
    for epoch in range(1, 200):
        for batch in draw(epoch, config_of(prefixes)):
            for person, past, future in positions(batch):
                whole = SEQUENCES[person].tolist()
                cut = whole.index(future[0])  # items of a sequence are distinct here
                assert len(past) <= HISTORY
                assert past == whole[cut - len(past) : cut]
                assert past or cut == 0, "nothing is known only before the first item"
                assert future == whole[cut : cut + 3], "up to the horizon, none beyond the last"
                if prefixes == "one":
                    assert len(past) == min(cut, HISTORY)
                cuts.add((person, cut))
    expected = {(user, cut) for user in range(4) for cut in range(len(SEQUENCES[user]))}
    assert cuts == expected, "every item of everybody is a target in some epoch, the last one too"


def test_a_share_of_the_histories_is_cut_to_the_last_few_items() -> None:
    config, known, short = config_of(short_histories=0.4), Counter[int](), 0
    for epoch in range(1, 1_001):
        for batch in draw(epoch, config):
            for person, past, future in positions(batch):
                if person != 3:
                    continue
                whole = SEQUENCES[person].tolist()
                cut = whole.index(future[0])
                assert past == whole[cut - len(past) : cut], "the last ones, in order"
                assert (len(past) > 0) == (cut > 0), "at least one stays"
                short += len(past) < min(cut, HISTORY)
                known[len(past)] += 1
    # Of 12 cuts 1 knows nothing, and 1 one item; of 2, 3 and 4 items log-uniform ones are left.
    lost = (1 - math.log(3 / 2) / math.log(3), 1 - math.log(4 / 3) / math.log(4))
    expected = 0.4 * (lost[0] + lost[1] + 8 * (1 - math.log(5 / 4) / math.log(5))) / 12
    assert short / known.total() == pytest.approx(expected, abs=0.05)
    assert known[1] > known[2] > known[3], "shorter ones more often, as newcomers are"


@pytest.mark.parametrize("prefixes", MODES)
def test_a_history_knows_when_its_items_were_taken(prefixes: Literal["one", "all"]) -> None:
    timed = replace(SEQUENCES, times=1000 + np.arange(len(SEQUENCES.values)))
    batches = zip(
        draw_batches(timed, config_of(prefixes), HISTORY, seed=0, epoch=1),
        draw(1, config_of(prefixes)),
        strict=True,
    )
    for batch, untimed in batches:
        assert (batch.histories.values == untimed.histories.values).all(), "times draw nothing"
        assert untimed.histories.times is None
        assert batch.histories.times is not None
        assert (timed.values[batch.histories.times - 1000] == batch.histories.values).all()


@pytest.mark.parametrize("prefixes", MODES)
def test_a_user_comes_with_all_that_was_taken_and_nothing_else(
    prefixes: Literal["one", "all"],
) -> None:
    for epoch in range(20):
        for batch in draw(epoch, config_of(prefixes)):
            assert ((batch.users == batch.people) | (batch.users == -1)).all()
            for row, person in enumerate(batch.people):
                assert batch.positives[row].tolist() == SEQUENCES[int(person)].tolist()
                assert set(batch.histories[row].tolist()) <= set(SEQUENCES[int(person)].tolist())


@pytest.mark.parametrize("prefixes", MODES)
def test_the_parts_of_a_batch_fit_together(prefixes: Literal["one", "all"]) -> None:
    for batch in draw(3, config_of(prefixes)):
        p = len(batch.rows)
        assert len(batch.newest) == len(batch.targets) == len(batch.weights) == p > 0
        assert (np.diff(batch.rows) >= 0).all(), "the full softmax looks up blocks of rows"
        assert (batch.targets.lengths > 0).all()
        b = len(batch.users)
        assert len(batch.people) == len(batch.histories) == len(batch.positives) == b
        assert set(batch.rows.tolist()) == set(range(b)), "no history is read for nothing"


def test_every_user_with_interactions_comes_once_an_epoch() -> None:
    for epoch in (1, 2):
        batches = draw(epoch)
        assert len(batches) == steps_per_epoch(SEQUENCES, config_of(), HISTORY) == 2
        assert sorted(p for b in batches for p in b.people.tolist()) == [0, 2, 3]


def test_with_all_prefixes_a_sequence_has_as_many_windows_as_it_takes_to_read_it() -> None:
    config = config_of("all")
    for epoch in (1, 2):
        batches = draw(epoch, config)
        people = Counter(p for b in batches for p in b.people.tolist())
        assert people == {0: 1, 2: 1, 3: 3}, "4, 0 and 11 items to read in windows of 4"
        assert len(batches) == steps_per_epoch(SEQUENCES, config, HISTORY) == 3


def test_every_prefix_of_what_fits_a_window_is_learnt_from_in_every_epoch() -> None:
    for epoch in range(5):
        found = [place for b in draw(epoch, config_of("all", horizon=1)) for place in positions(b)]
        short = sorted((known, after) for person, known, after in found if person == 0)
        assert short == [([5, 6, 7, 8][:n], [5 + n]) for n in range(5)]
        assert [(known, after) for person, known, after in found if person == 2] == [([], [3])]


def test_windows_of_a_long_sequence_lie_inside_it_and_reach_all_of_it() -> None:
    begins: Counter[int] = Counter()
    for epoch in range(600):
        for batch in draw(epoch, config_of("all")):
            for row in np.flatnonzero(batch.people == 3):
                window = batch.histories[int(row)].tolist()
                assert len(window) == HISTORY
                assert window == list(range(window[0], window[0] + HISTORY))
                assert window[-1] <= 11, "the last item, 12, is only a target"
                begins[window[0]] += 1
    assert sorted(begins) == list(range(1, 9))
    expected = sum(begins.values()) / 8
    assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in begins.values())


def test_batches_hold_windows_of_similar_length_in_random_order() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 40, size=400)
    sequences = Ragged.of([list(range(length)) for length in lengths])
    config = config_of("all", batch_size=16)
    batches = list(draw_batches(sequences, config, 100, seed=0, epoch=1))
    assert len(batches) == steps_per_epoch(sequences, config, 100) == 25
    spreads = [np.ptp(batch.histories.lengths) for batch in batches]
    assert np.mean(spreads) < 6, "16 of 400 at random spread over more than 30"
    firsts = [int(batch.histories.lengths[0]) for batch in batches]
    assert sorted(firsts) != firsts
    assert abs(np.corrcoef(np.arange(25), firsts)[0, 1]) < 0.6
    orders = [
        [b.people.tolist() for b in draw_batches(sequences, config, 100, seed=0, epoch=epoch)]
        for epoch in (1, 2)
    ]
    together = [{frozenset(people) for people in order} for order in orders]
    assert not together[0] & together[1], "who is in a batch with whom changes"
    for order in orders:
        assert sorted(person for people in order for person in people) == list(range(400))


@pytest.mark.parametrize("prefixes", MODES)
def test_some_users_are_played_as_unknown(prefixes: Literal["one", "all"]) -> None:
    config = config_of(prefixes)
    users = np.concatenate([b.users for epoch in range(300) for b in draw(epoch, config)])
    assert set(users.tolist()) == {-1, 0, 2, 3}
    assert 0.4 < np.mean(users == -1) < 0.6


@pytest.mark.parametrize("prefixes", MODES)
def test_seed_and_epoch_decide_everything(prefixes: Literal["one", "all"]) -> None:
    config = config_of(prefixes)

    def key(epoch: int, seed: int = 0) -> list[list[int]]:
        return [
            np.concatenate(
                [
                    b.users,
                    b.people,
                    b.histories.values,
                    b.rows,
                    b.newest,
                    b.targets.values,
                    b.weights,
                ]
            ).tolist()
            for b in draw(epoch, config, seed)
        ]

    assert key(7) == key(7)
    assert any(key(epoch) != key(7) for epoch in range(8, 14))
    assert any(key(epoch) != key(epoch, seed=1) for epoch in range(8))


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_weighs_between_positions_and_users(balance: float) -> None:
    for batch in draw(1, config_of("all", user_balance=balance)):
        lengths = SEQUENCES.lengths[batch.people][batch.rows]
        np.testing.assert_allclose(batch.weights, lengths**-balance, rtol=1e-6)
    for batch in draw(1, config_of("one", user_balance=balance)):
        assert (batch.weights == 1).all()


def test_near_targets_weigh_more_and_every_user_the_same() -> None:
    weights = target_weights(Ragged.of([[4, 5, 6], [7]]), decay=0.5)
    raw = [1.0, math.exp(-0.5), math.exp(-1.0)]
    np.testing.assert_allclose(weights, [w / sum(raw) for w in raw] + [1.0], rtol=1e-6)
