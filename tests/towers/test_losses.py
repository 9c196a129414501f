"""Losses against plain loops, and the sign of logQ by what it does to popular items."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.towers.losses import (
    SampledLoss,
    bpr,
    gbce,
    gbce_power,
    multi_positive_softmax,
    sampled_loss,
    sampled_softmax,
)


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


@dataclass
class Step:
    """Scores of a step in float64: 3 positions, 5 targets, 6 negatives, some of them barred."""

    positive: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor
    negative: torch.Tensor
    barred: torch.Tensor

    @classmethod
    def drawn(cls, seed: int) -> "Step":
        random = np.random.default_rng(seed)
        barred = random.random((3, 6)) < 0.3
        barred[2] = seed % 2 == 0  # a row without any negative
        return cls(
            torch.tensor(random.normal(size=5) * 3),
            torch.tensor([0, 0, 1, 2, 2]),
            torch.tensor(random.uniform(0.1, 2, size=5)),
            torch.tensor(random.normal(size=(3, 6)) * 3),
            torch.tensor(barred),
        )

    def loop(self, one: Callable[[float, list[float], list[int]], float]) -> float:
        """The weighted mean of ``one(target's score, its negatives' scores, their columns)``."""
        total = weight_sum = 0.0
        for target, row, weight in zip(self.positive, self.rows, self.weights, strict=True):
            columns = [c for c in range(6) if not self.barred[row, c]]
            scores = [float(self.negative[row, c]) for c in columns]
            total += one(float(target), scores, columns) * float(weight)
            weight_sum += float(weight)
        return total / weight_sum


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("corrected", [False, True])
def test_sampled_softmax_equals_the_plain_loop(
    seed: int, smoothing: float, corrected: bool
) -> None:
    step = Step.drawn(seed)
    log_q = torch.tensor(np.random.default_rng(seed + 100).normal(size=6)) if corrected else None
    q: list[float] = [1.0] * 6 if log_q is None else log_q.exp().tolist()

    def one(target: float, scores: list[float], columns: list[int]) -> float:
        stands_for = [1.0] + [1 / q[c] for c in columns]
        both = [target, *scores]
        total = sum(w * math.exp(s) for w, s in zip(stands_for, both, strict=True))
        mean = sum(w * s for w, s in zip(stands_for, both, strict=True)) / sum(stands_for)
        return math.log(total) - (1 - smoothing) * target - smoothing * mean

    loss = sampled_softmax(
        step.positive,
        step.rows,
        step.weights,
        step.negative,
        step.barred,
        log_q=log_q,
        label_smoothing=smoothing,
    )
    assert float(loss) == pytest.approx(step.loop(one), rel=1e-8)


def test_softmax_with_smoothing_is_that_of_torch_where_nothing_but_the_target_is_barred() -> None:
    scores = torch.tensor(np.random.default_rng(0).normal(size=(4, 7)) * 3)
    columns = torch.tensor([2, 0, 6, 2])
    rows, weights = torch.arange(4), torch.ones(4)
    barred = torch.nn.functional.one_hot(columns, 7).bool()
    loss = multi_positive_softmax(scores, barred, rows, columns, weights, 0.3)
    expected = torch.nn.functional.cross_entropy(scores, columns, label_smoothing=0.3)
    assert float(loss) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_equals_the_plain_loop(seed: int, calibration: float) -> None:
    step = Step.drawn(seed)
    alpha = 6 / (21 - 1)
    power = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)  # as the paper writes it

    def one(target: float, scores: list[float], columns: list[int]) -> float:
        terms = [math.log(sigmoid(target) ** power), *(math.log(1 - sigmoid(s)) for s in scores)]
        return -sum(terms) / len(terms)

    loss = gbce(
        step.positive,
        step.rows,
        step.weights,
        step.negative,
        step.barred,
        n_items=21,
        calibration=calibration,
    )
    assert float(loss) == pytest.approx(step.loop(one), rel=1e-9)


def test_gbce_without_calibration_is_binary_cross_entropy_and_full_draws_need_none() -> None:
    assert gbce_power(5, 101, 0.0) == 1.0
    assert gbce_power(5, 101, 1.0) == pytest.approx(0.05)
    assert gbce_power(100, 101, 1.0) == gbce_power(500, 101, 1.0) == 1.0
    positive, negative = torch.tensor([0.4, -1.0]), torch.tensor([[2.0], [-0.5]])
    loss = gbce(
        positive, torch.arange(2), torch.ones(2), negative, None, n_items=9, calibration=0.0
    )
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.cat([positive, negative[:, 0]]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    )
    assert float(loss) == pytest.approx(float(expected))


@pytest.mark.parametrize("seed", range(4))
def test_bpr_equals_the_plain_loop(seed: int) -> None:
    step = Step.drawn(seed)

    def one(target: float, scores: list[float], columns: list[int]) -> float:
        return sum(-math.log(sigmoid(target - s)) for s in scores) / max(1, len(scores))

    loss = bpr(step.positive, step.rows, step.weights, step.negative, step.barred)
    assert float(loss) == pytest.approx(step.loop(one), rel=1e-9)


KINDS: list[SampledLoss] = ["softmax", "gbce", "bpr"]


def loss_of(kind: SampledLoss, step: Step) -> torch.Tensor:
    return sampled_loss(
        kind, step.positive, step.rows, step.weights, step.negative, step.barred, n_items=50
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])  # 0: a row has no negative at all
def test_gradients_are_those_of_finite_differences(kind: SampledLoss, seed: int) -> None:
    step = Step.drawn(seed)
    smoothing = 0.1 if kind == "softmax" else 0.0
    log_q = torch.linspace(-2, 0, 6, dtype=torch.float64) if kind == "softmax" else None

    def loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        return sampled_loss(
            kind,
            positive,
            step.rows,
            step.weights,
            negative,
            step.barred,
            n_items=50,
            log_q=log_q,
            label_smoothing=smoothing,
        )

    inputs = (step.positive.requires_grad_(), step.negative.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)
    loss(*inputs).backward()  # type: ignore[no-untyped-call]
    assert step.negative.grad is not None
    assert (step.negative.grad[step.barred] == 0).all()
    assert (step.negative.grad[~step.barred].abs() > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_order_of_huge_scores_keeps_a_finite_loss_and_a_gradient(kind: SampledLoss) -> None:
    positive = torch.tensor([-500.0], requires_grad=True)
    one = torch.zeros(1, dtype=torch.int64)
    loss = sampled_loss(
        kind, positive, one, torch.ones(1), torch.tensor([[500.0]]), None, n_items=9
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(loss.item())
    assert positive.grad is not None
    assert float(positive.grad) < -0.1  # 1 - sigmoid would have none left here


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_not_hidden_even_where_it_is_barred(kind: SampledLoss) -> None:
    for place in [(0, 1), (2, 4)]:
        step = Step.drawn(0)
        assert bool(step.barred[2, 4])
        step.negative[place] = torch.nan
        assert math.isnan(float(loss_of(kind, step)))
    step = Step.drawn(0)
    step.positive[3] = torch.nan
    assert math.isnan(float(loss_of(kind, step)))


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_scores_are_summed_in_float32(kind: SampledLoss) -> None:
    step = Step.drawn(1)
    low = Step(
        step.positive.bfloat16(), step.rows, step.weights, step.negative.bfloat16(), step.barred
    )
    rounded = Step(
        low.positive.double(), step.rows, step.weights, low.negative.double(), step.barred
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(kind, low)
    assert float(loss) == pytest.approx(float(loss_of(kind, rounded)), rel=1e-6)


def test_what_a_kind_has_no_use_for_is_refused() -> None:
    step = Step.drawn(1)
    arguments = (step.positive, step.rows, step.weights, step.negative, step.barred)
    with pytest.raises(ConfigError, match="no label_smoothing"):
        sampled_loss("bpr", *arguments, n_items=9, label_smoothing=0.1)
    with pytest.raises(ConfigError, match="no log_q"):
        sampled_loss("gbce", *arguments, n_items=9, log_q=torch.zeros(6))
    with pytest.raises(ConfigError, match="label_smoothing = 1"):
        sampled_loss("softmax", *arguments, n_items=9, label_smoothing=1.0)
    with pytest.raises(ConfigError, match="calibration"):
        sampled_loss("gbce", *arguments, n_items=9, calibration=1.1)


TRUTH = 1 / torch.arange(5.0, 55.0)
TRUTH /= TRUTH.sum()  # of 50 items, the first comes eleven times as often as the last


def learnt_popularity(sign: float, power: float) -> torch.Tensor:
    """One free score an item, learnt with negatives drawn by popularity to a power; mean 0."""
    q = TRUTH**power / (TRUTH**power).sum()
    free = torch.zeros(50, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    rows, weights, average = torch.arange(256), torch.ones(256), torch.zeros(50)
    for step in range(200):
        targets = torch.multinomial(TRUTH, 256, replacement=True, generator=generator)
        drawn = torch.multinomial(q, 64, replacement=True, generator=generator)
        loss = sampled_softmax(
            free[targets],
            rows,
            weights,
            free[drawn].expand(256, 64),
            targets[:, None] == drawn,
            log_q=sign * (q[drawn] * 64).log(),
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step >= 80:
            average += free.detach() / 120
    return average - average.mean()


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_sampled_softmax_learns_true_popularity_only_with_log_q_of_the_right_sign(
    power: float,
) -> None:
    """Slope: by how much the learnt score rises with the log of an item's true share."""
    truth = TRUTH.log() - TRUTH.log().mean()
    learnt = {sign: learnt_popularity(sign, power) for sign in (1.0, 0.0, -1.0)}
    slope = {sign: float(scores @ truth / (truth @ truth)) for sign, scores in learnt.items()}
    assert slope[1.0] == pytest.approx(1.0, abs=0.05)
    assert float((learnt[1.0] - truth).abs().max()) < 0.3
    assert slope[0.0] == pytest.approx(1 - power, abs=0.15)  # popular items pay for being drawn
    assert slope[-1.0] == pytest.approx(1 - 2 * power, abs=0.25)  # and twice with the wrong sign
