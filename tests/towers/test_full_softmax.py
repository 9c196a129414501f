"""The full softmax in blocks: against the whole table of scores, a plain loop, and its limits."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.towers import full_softmax as module
from recsys.towers.full_softmax import Targets, full_softmax
from recsys.towers.losses import multi_positive_softmax

N_ITEMS, WIDTH = 23, 5


@dataclass
class Step:
    """Positions of two users in float64, each with 0 to 3 targets; item 0 is barred for all."""

    queries: Tensor  # (7, w)
    items: Tensor  # (23, w)
    scale: Tensor
    targets: Targets
    barred: Tensor  # (2, 23)
    groups: Tensor  # (7,)

    @classmethod
    def drawn(cls, seed: int, scale: float = 8.0) -> "Step":
        random = np.random.default_rng(seed)
        barred = random.random((2, N_ITEMS)) < 0.4
        barred[:, 0], barred[:, -1] = True, False
        groups = np.sort(random.integers(0, 2, size=7))
        rows = np.repeat(np.arange(7), [2, 1, 0, 3, 1, 1, 2])
        items = [random.choice(np.flatnonzero(barred[groups[row]])) for row in rows]
        weights = random.uniform(0.1, 1, size=len(rows))
        return cls(
            F.normalize(torch.tensor(random.normal(size=(7, WIDTH))), dim=1),
            F.normalize(torch.tensor(random.normal(size=(N_ITEMS, WIDTH))), dim=1),
            torch.tensor(scale, dtype=torch.float64),
            Targets(torch.tensor(rows), torch.tensor(items), torch.tensor(weights / weights.sum())),
            torch.tensor(barred),
            torch.tensor(groups),
        )

    def inputs(self, dtype: torch.dtype) -> list[Tensor]:
        """Leaves of their own: queries, items, scale."""
        return [
            part.to(dtype).clone().requires_grad_()
            for part in (self.queries, self.items, self.scale)
        ]

    def full(self, smoothing: float = 0.0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Loss and gradients of queries, items and scale."""
        queries, items, scale = inputs = self.inputs(torch.float32)
        targets = self.targets._replace(weights=self.targets.weights.float())
        loss = full_softmax(
            queries,
            items,
            scale,
            targets,
            self.barred,
            self.groups,
            smoothing=smoothing,
            dtype=dtype,
        )
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]

    def whole(self, smoothing: float = 0.0) -> list[Tensor]:
        """The same from `multi_positive_softmax` of all scores at once."""
        queries, items, scale = inputs = self.inputs(torch.float64)
        rows, columns, weights = self.targets
        loss = multi_positive_softmax(
            scale * queries @ items.T, self.barred[self.groups], rows, columns, weights, smoothing
        )
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]

    def loop(self, smoothing: float = 0.0) -> list[Tensor]:
        """The same from the docstring's formula, one target and one item at a time."""
        queries, items, scale = inputs = self.inputs(torch.float64)
        able = [n for n in range(N_ITEMS) if not self.barred[:, n].all()]
        loss = torch.zeros((), dtype=torch.float64)
        for row, target, weight in zip(*(part.tolist() for part in self.targets), strict=True):
            scores = [scale * (queries[row] @ items[n]) for n in range(N_ITEMS)]
            own = self.barred[self.groups[row]].tolist()
            total = scores[target].exp()
            for n in range(N_ITEMS):
                if not own[n]:
                    total = total + scores[n].exp()
            mean = torch.stack([scores[n] for n in able]).mean()
            wanted = (1 - smoothing) * scores[target] + smoothing * mean
            loss = loss + weight * (total.log() - wanted)
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]


def assert_same(got: list[Tensor], expected: list[Tensor], tolerance: float = 2e-6) -> None:
    for one, other in zip(got, expected, strict=True):
        limit = tolerance * max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double(), other, rtol=0, atol=limit)


@pytest.mark.parametrize("block", [1, 2 * N_ITEMS, 3 * N_ITEMS + 5, 2**21])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradients_are_those_of_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, seed: int, block: int
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    step = Step.drawn(seed)
    assert_same(step.full(), step.whole())


@pytest.mark.parametrize("block", [2 * N_ITEMS, 2**21])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("seed", range(2))
def test_loss_and_gradients_are_those_of_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch, seed: int, smoothing: float, block: int
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    step = Step.drawn(seed)
    assert_same(step.full(smoothing), step.loop(smoothing))


def test_smoothing_is_that_of_torch_where_every_position_bars_its_target_alone() -> None:
    step = Step.drawn(0)
    rows = torch.arange(7)
    columns = torch.tensor([3, 9, 1, 3, 22, 7, 15])
    step.groups, step.barred = rows, F.one_hot(columns, N_ITEMS).bool()
    step.targets = Targets(rows, columns, torch.full((7,), 1 / 7, dtype=torch.float64))
    queries, items, scale = inputs = step.inputs(torch.float64)
    loss = F.cross_entropy(scale * queries @ items.T, columns, label_smoothing=0.2)
    assert_same(step.full(0.2), [loss.detach(), *torch.autograd.grad(loss, inputs)])
    assert_same(step.full(0.2), step.whole(0.2))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_position_without_negatives_has_nothing_to_be_wrong_about(smoothing: float) -> None:
    step = Step.drawn(1)
    step.barred[0] = True
    alone = step.groups == 0
    assert alone.any()
    assert (~alone).any()
    loss, d_queries, *others = step.full(smoothing)
    assert all(torch.isfinite(part).all() for part in (loss, d_queries, *others))
    assert_same([loss, d_queries, *others], step.loop(smoothing))
    if not smoothing:
        assert (d_queries[alone] == 0).all()


def test_a_barred_item_that_is_no_target_has_no_gradient() -> None:
    step = Step.drawn(2)
    _, _, d_items, _ = step.full()
    assert (d_items[0] == 0).all() or bool((step.targets.items == 0).any())
    step.barred[:, 5] = True
    keep = step.targets.items != 5
    step.targets = Targets(*(part[keep] for part in step.targets))
    _, _, d_items, _ = step.full()
    assert (d_items[5] == 0).all()
    assert (d_items[-1] != 0).any()


@pytest.mark.parametrize("scale", [0.5, 60.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_is_exact_from_a_flat_to_the_sharpest_temperature(seed: int, scale: float) -> None:
    step = Step.drawn(seed, scale)
    assert_same(step.full(), step.whole(), tolerance=2e-5)


def test_far_negatives_and_a_farther_target_at_the_sharpest_temperature() -> None:
    """All exponents are far below 0 here; the loss is large all the same."""
    step = Step.drawn(0, 100.0)
    step.items[:] = 0
    step.items[:, 1] = 1.0  # at a right angle to every query: cosine 0
    step.queries[:] = torch.tensor([1.0, 0, 0, 0, 0])
    step.items[step.targets.items] = torch.tensor([-1.0, 0, 0, 0, 0], dtype=torch.float64)
    assert_same(step.full(), step.whole(), tolerance=2e-5)
    assert float(step.full()[0]) > 40


def test_scores_at_the_limit_do_not_overflow() -> None:
    step = Step.drawn(0, 100.0)
    step.queries[:] = step.items[:] = torch.tensor([1.0, 0, 0, 0, 0])
    for dtype in (torch.float32, torch.bfloat16):
        loss, *gradients = step.full(dtype=dtype)
        assert float(loss) == pytest.approx(float(step.whole()[0]), rel=1e-3)
        assert math.isfinite(sum(float(gradient.sum()) for gradient in gradients))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_products_in_bf16_are_close(smoothing: float) -> None:
    step = Step.drawn(3)
    low, full = step.full(smoothing, torch.bfloat16), step.full(smoothing)
    for one, other in zip(low, full, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) < 0.02 * float(other.norm())
    assert not torch.equal(low[1], full[1])


def test_what_comes_from_above_scales_the_gradients() -> None:
    step = Step.drawn(4)
    queries, items, scale = inputs = step.inputs(torch.float32)
    targets = step.targets._replace(weights=step.targets.weights.float())
    loss = 3 * full_softmax(queries, items, scale, targets, step.barred, step.groups)
    for one, other in zip(torch.autograd.grad(loss, inputs), step.full()[1:], strict=True):
        torch.testing.assert_close(one, 3 * other)


def test_a_step_down_the_gradient_lowers_the_loss() -> None:
    step = Step.drawn(5)
    before, *gradients = step.full(0.1)
    for part, gradient in zip((step.queries, step.items, step.scale), gradients, strict=True):
        part.sub_(gradient.double(), alpha=1e-3)
    assert step.full(0.1)[0] < before
