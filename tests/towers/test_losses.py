"""Losses against plain loops, and the sign of logQ by what it does to popular items."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.towers.losses import log_q_correction, multi_positive_softmax


def loop_loss(
    scores: list[list[float]], taken: list[set[int]], positives: list[tuple[int, int, float]]
) -> float:
    """The formula of the docstring, one positive at a time."""
    total = weight_sum = 0.0
    for row, column, weight in positives:
        others = [s for c, s in enumerate(scores[row]) if c not in taken[row]]
        share = math.exp(scores[row][column]) / (
            math.exp(scores[row][column]) + sum(math.exp(s) for s in others)
        )
        total += -math.log(share) * weight
        weight_sum += weight
    return total / weight_sum


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_equals_the_plain_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    b, c = 4, 7
    scores = random.normal(size=(b, c))
    taken = [set(random.choice(c, size=3, replace=False).tolist()) for _ in range(b)]
    positives = [
        (row, column, float(random.uniform(0.1, 2)))
        for row in range(b)
        for column in sorted(taken[row])[:2]
    ]
    barred = torch.tensor([[column in taken[row] for column in range(c)] for row in range(b)])
    rows, columns, weights = zip(*positives, strict=True)
    loss = multi_positive_softmax(
        torch.tensor(scores),
        barred,
        torch.tensor(rows),
        torch.tensor(columns),
        torch.tensor(weights, dtype=torch.float64),
    )
    assert float(loss) == pytest.approx(loop_loss(scores.tolist(), taken, positives), rel=1e-9)


def test_other_positives_of_the_user_are_no_negatives() -> None:
    """Raising the score of another item the user took leaves the loss as it is."""
    scores = torch.tensor([[0.3, -0.2, 0.5, 0.1]], requires_grad=True)
    barred = torch.tensor([[True, True, False, False]])
    one = torch.tensor([0])
    multi_positive_softmax(scores, barred, one, one, torch.ones(1)).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad[0, 1] == 0
    assert scores.grad[0, 0] < 0 < scores.grad[0, 2]


def test_is_finite_for_huge_scores_and_for_a_user_who_took_everything() -> None:
    scores = torch.tensor([[900.0, -900.0], [1.0, 2.0]])
    barred = torch.tensor([[False, True], [True, True]])
    loss = multi_positive_softmax(
        scores, barred, torch.tensor([0, 1]), torch.tensor([1, 0]), torch.ones(2)
    )
    assert float(loss) == pytest.approx(900.0)  # the second user has nothing to be wrong about


def test_log_q_raises_rare_items_and_so_spares_popular_ones() -> None:
    """Trained on pure popularity with popular negatives, logQ must give back the popularity.

    With in-batch negatives an item is a negative as often as it is popular. Learning one free score
    an item, the corrected softmax ends with scores that differ by log popularity; without the
    correction all scores end equal, and with the wrong sign popular items end below rare ones.
    """
    probability = torch.tensor([0.6, 0.3, 0.1])
    free = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.02)
    generator = torch.Generator().manual_seed(0)
    averages, steps = torch.zeros(3), 0
    for step in range(1500):
        drawn = torch.multinomial(probability, 64, replacement=True, generator=generator)
        scores = log_q_correction(free[drawn].expand(64, 64), probability[drawn])
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(64))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step >= 500:
            averages, steps = averages + free.detach(), steps + 1
    learnt = averages / steps
    expected = probability.log()
    gaps = (learnt - learnt.mean()) - (expected - expected.mean())
    assert gaps.abs().max() < 0.15
