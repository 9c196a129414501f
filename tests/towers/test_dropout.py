"""Dropout of random bytes does what torch's does."""

import pytest
import torch

from recsys.towers.dropout import LEVELS, dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5, 0.9])
def test_the_share_of_zeros_and_the_mean_are_right(probability: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(300, 1001)
    dropped = dropout(values, probability, training=True)
    chance = round(probability * LEVELS) / LEVELS
    assert abs(chance - probability) <= 0.5 / LEVELS
    spread = (chance * (1 - chance) / values.numel()) ** 0.5
    assert abs(float((dropped == 0).float().mean()) - chance) < 5 * spread
    assert float(dropped.mean()) == pytest.approx(1.0, abs=5 * spread / (1 - chance))
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0.0, 1 / (1 - chance)])


def test_every_byte_of_a_random_word_is_random_and_no_two_go_together() -> None:
    torch.manual_seed(0)
    zeros = (dropout(torch.ones(40_000, 8), 0.25, training=True) == 0).double()
    assert (zeros.mean(dim=0) - 0.25).abs().max() < 0.012
    correlation = torch.corrcoef(torch.cat([zeros[:-1], zeros[1:]], dim=1).T)
    assert (correlation - torch.eye(16)).abs().max() < 0.03


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 0, 2), (2, 3, 5)])
def test_any_shape_stays_as_it_is(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5, training=True).shape == shape


def test_without_training_or_probability_the_values_are_the_same() -> None:
    values = torch.randn(50)
    assert dropout(values, 0.5, training=False) is values
    assert dropout(values, 0.0, training=True) is values


def test_gradients_pass_where_values_did_and_are_scaled_alike() -> None:
    torch.manual_seed(1)
    values = torch.randn(500).requires_grad_()
    dropped = dropout(values, 0.3, training=True)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    torch.testing.assert_close(gradient * values.detach(), dropped.detach())
    assert 0.2 < float((gradient == 0).float().mean()) < 0.4


def test_nearly_everything_can_be_dropped() -> None:
    torch.manual_seed(2)
    dropped = dropout(torch.ones(100_000), 0.999, training=True)
    assert torch.isfinite(dropped).all()
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.3)


def test_torchs_seed_decides_and_the_type_stays() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(999, dtype=torch.bfloat16), 0.5, training=True)

    assert draw(3).dtype == torch.bfloat16
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
