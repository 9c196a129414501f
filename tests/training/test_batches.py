"""Batches: what is history, what is to be guessed, and that a seed decides it."""

import math

import numpy as np

from recsys.config import TrainingConfig
from recsys.data.ragged import Ragged
from recsys.training.batches import Batch, draw_batches, steps_per_epoch, target_weights

SEQUENCES = Ragged.of([[5, 6, 7, 8, 9], [], [3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
CONFIG = TrainingConfig(batch_size=2, horizon=3, user_dropout=0.5)


def draw(epoch: int, seed: int = 0) -> list[Batch]:
    return list(draw_batches(SEQUENCES, CONFIG, history=4, seed=seed, epoch=epoch))


def test_history_and_targets_stand_side_by_side_in_the_users_sequence() -> None:
    cuts = set()
    for epoch in range(1, 200):
        for batch in draw(epoch):
            for row in range(len(batch.users)):
                whole = batch.positives[row].tolist()
                past, future = batch.histories[row].tolist(), batch.targets[row].tolist()
                cut = whole.index(future[0])  # items of a sequence are distinct here
                assert past == whole[max(cut - 4, 0) : cut]
                assert future == whole[cut : cut + 3]
                cuts.add((len(whole), cut))
    assert {cut for length, cut in cuts if length == 5} == {0, 1, 2, 3, 4}


def test_every_user_with_interactions_comes_once_an_epoch() -> None:
    for epoch in (1, 2):
        batches = draw(epoch)
        assert len(batches) == steps_per_epoch(3, CONFIG.batch_size) == 2
        lengths = sorted(len(b.positives[r]) for b in batches for r in range(len(b.users)))
        assert lengths == [1, 5, 12]


def test_some_users_are_played_as_unknown() -> None:
    users = np.concatenate([b.users for epoch in range(300) for b in draw(epoch)])
    assert set(users.tolist()) == {-1, 0, 2, 3}
    assert 0.4 < np.mean(users == -1) < 0.6


def test_seed_and_epoch_decide_everything() -> None:
    def key(batches: list[Batch]) -> list[list[int]]:
        return [b.targets.values.tolist() + b.users.tolist() for b in batches]

    assert key(draw(7)) == key(draw(7))
    assert any(key(draw(epoch)) != key(draw(7)) for epoch in range(8, 14))
    assert any(key(draw(epoch)) != key(draw(epoch, seed=1)) for epoch in range(8))


def test_near_targets_weigh_more_and_every_user_the_same() -> None:
    weights = target_weights(Ragged.of([[4, 5, 6], [7]]), decay=0.5)
    raw = [1.0, math.exp(-0.5), math.exp(-1.0)]
    np.testing.assert_allclose(weights, [w / sum(raw) for w in raw] + [1.0], rtol=1e-6)
