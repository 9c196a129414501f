"""The softmax over drawn negatives in blocks: against `sampled_softmax` of the whole table."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recsys.towers import full_softmax as module
from recsys.towers.full_softmax import Targets, drawn_softmax
from recsys.towers.losses import sampled_softmax

N, POSITIONS, WIDTH = 11, 7, 5


@dataclass
class Step:
    """Positions of three users in float64, each with 0 to 3 targets, of which one has none."""

    parts: list[Tensor]  # queries (7, w), targets (t, w), negatives (11, w), scale
    targets: Targets
    barred: Tensor  # (3, 11)
    groups: Tensor  # (7,)
    log_q: Tensor  # (11,)

    @classmethod
    def made(cls, seed: int, scale: float = 8.0, spread: float = 1.0) -> "Step":
        random = np.random.default_rng(seed)
        rows = np.repeat(np.arange(POSITIONS), [2, 1, 0, 3, 1, 1, 2])
        shapes = [(POSITIONS, WIDTH), (len(rows), WIDTH), (N, WIDTH)]
        vectors = [F.normalize(torch.tensor(random.normal(size=shape)), dim=1) for shape in shapes]
        weights = torch.tensor(random.uniform(0.1, 1, size=len(rows)))
        return cls(
            [*vectors, torch.tensor(scale, dtype=torch.float64)],
            Targets(torch.tensor(rows), torch.full((len(rows),), -1), weights),
            torch.tensor(random.random((3, N)) < 0.4),
            torch.tensor(np.sort(random.integers(0, 3, size=POSITIONS))),
            torch.tensor(spread * random.normal(size=N)),
        )

    def leaves(self, dtype: torch.dtype) -> list[Tensor]:
        return [part.to(dtype).clone().requires_grad_() for part in self.parts]

    def blocked(
        self, smoothing: float = 0.0, dtype: torch.dtype = torch.float64, *, corrected: bool = True
    ) -> list[Tensor]:
        """Loss and gradients of queries, targets, negatives and scale."""
        leaves = self.leaves(torch.float64 if dtype is torch.float64 else torch.float32)
        loss = self.loss(leaves, smoothing, dtype, corrected=corrected)
        return [loss.detach(), *torch.autograd.grad(loss, leaves)]

    def loss(
        self, leaves: list[Tensor], smoothing: float, dtype: torch.dtype, *, corrected: bool = True
    ) -> Tensor:
        queries, found, drawn, scale = leaves
        return drawn_softmax(
            queries,
            found,
            drawn,
            scale,
            self.targets._replace(weights=self.targets.weights.to(queries.dtype)),
            self.barred,
            self.groups,
            log_q=self.log_q.to(queries.dtype) if corrected else None,
            smoothing=smoothing,
            dtype=dtype,
        )

    def whole(self, smoothing: float = 0.0, *, corrected: bool = True) -> list[Tensor]:
        """The same from `sampled_softmax` of all scores at once, times the sum of weights."""
        queries, found, drawn, scale = leaves = self.leaves(torch.float64)
        loss = self.targets.weights.sum() * sampled_softmax(
            scale * (queries[self.targets.rows] * found).sum(dim=1),
            self.targets.rows,
            self.targets.weights,
            scale * queries @ drawn.T,
            self.barred[self.groups],
            log_q=self.log_q if corrected else None,
            label_smoothing=smoothing,
        )
        return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def assert_same(got: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(got, expected, strict=True):
        limit = tolerance * max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double(), other, rtol=0, atol=limit)


@pytest.mark.parametrize("block", [1, 2 * N, 3 * N + 5, 2**21])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("corrected", [True, False])
def test_loss_and_gradients_are_those_of_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, block: int, smoothing: float, corrected: bool
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    for seed in range(3):
        step = Step.made(seed)
        expected = step.whole(smoothing, corrected=corrected)
        assert_same(step.blocked(smoothing, corrected=corrected), expected, 1e-12)
        got = step.blocked(smoothing, torch.float32, corrected=corrected)
        assert_same(got, expected, 3e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradients_are_those_of_differences(
    monkeypatch: pytest.MonkeyPatch, smoothing: float
) -> None:
    monkeypatch.setattr(module, "BLOCK", 3 * N)
    step = Step.made(0)
    assert torch.autograd.gradcheck(
        lambda *leaves: step.loss(list(leaves), smoothing, torch.float64),
        step.leaves(torch.float64),
    )


@pytest.mark.parametrize("scale", [0.5, 60.0, 100.0])
@pytest.mark.parametrize("spread", [0.1, 6.0])  # from all alike to 1 : 10 ** 8 and beyond
def test_is_exact_at_any_temperature_and_for_any_draw(scale: float, spread: float) -> None:
    for seed in range(3):
        step = Step.made(seed, scale, spread)
        step.log_q -= 9.0  # a draw out of millions
        assert_same(step.blocked(dtype=torch.float32), step.whole(), 3e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_position_without_negatives_has_nothing_to_be_wrong_about(smoothing: float) -> None:
    step = Step.made(1)
    step.barred[step.groups[0]] = True
    got = step.blocked(smoothing)
    assert_same(got, step.whole(smoothing), 1e-12)
    assert smoothing or (got[1][step.groups == step.groups[0]] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_products_in_bf16_are_close(smoothing: float) -> None:
    step = Step.made(3)
    low, full = step.blocked(smoothing, torch.bfloat16), step.blocked(smoothing, torch.float32)
    for one, other in zip(low, full, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) < 0.02 * float(other.norm())
    assert not torch.equal(low[1], full[1])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_number_is_not_hidden(place: int) -> None:
    step = Step.made(2)
    step.parts[place][-1] = torch.nan
    assert step.blocked(dtype=torch.float32)[0].isnan()


def test_no_table_of_scores_is_kept_for_the_gradient() -> None:
    positions, n = 2_000, 300
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    queries, found, drawn = (
        torch.randn(rows, 4).requires_grad_() for rows in (positions, positions, n)
    )
    rows = torch.arange(positions)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        drawn_softmax(
            queries,
            found,
            drawn,
            torch.tensor(2.0),
            Targets(rows, rows, torch.full((positions,), 1 / positions)),
            torch.zeros(1, n, dtype=torch.bool),
            torch.zeros(positions, dtype=torch.int64),
            log_q=torch.zeros(n),
            smoothing=0.1,
        )
    assert 0 < max(kept) <= positions * 4
