"""What every history encoder must do. Subclass ``EncoderSuite`` as ``Test...`` and say which."""

from collections.abc import Iterator
from typing import Protocol

import pytest
import torch
from torch import Tensor, nn

from recsys.data.ragged import Ragged
from recsys.towers.histories import Histories, at_places

MEMBERS, WIDTH, LONGEST = 2, 8, 6
ROWS = [[0, 1, 2], [], [3], [4, 5, 6, 7, 8, 9], [0, 0]]  # of the table of items below


class Encoder(Protocol):
    """The contract: the states after each item, or after each history's newest."""

    def __call__(self, past: Tensor, histories: Histories) -> Tensor: ...

    def last(self, past: Tensor, histories: Histories) -> Tensor: ...

    def train(self, mode: bool = True) -> nn.Module: ...

    def eval(self) -> nn.Module: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def histories_of(rows: list[list[int]]) -> Histories:
    return Histories.of(Ragged.of(rows), torch.device("cpu"))


def past_of(histories: Histories, seed: int = 0) -> Tensor:
    """A vector an item, the same wherever it stands, ``(m, h, w)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(MEMBERS, 10, WIDTH, generator=generator)[:, histories.items]


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-6)


class EncoderSuite:
    """The contract of a history encoder."""

    def make(self, *, dropout: float = 0.0) -> Encoder:
        """A new encoder of the sizes above; ``dropout`` of whatever it drops."""
        raise NotImplementedError

    def histories_of(self, rows: list[list[int]]) -> Histories:
        """Histories of these places in the table of items."""
        return histories_of(rows)

    def moved(self, *, dropout: float = 0.0) -> Encoder:
        """One whose weights have left their first values, which may be zero."""
        torch.manual_seed(7)
        encoder = self.make(dropout=dropout)
        with torch.no_grad():
            for _, weight in encoder.named_parameters():
                weight.add_(torch.randn(weight.shape), alpha=0.1)
        return encoder

    @pytest.fixture
    def encoder(self) -> Encoder:
        encoder = self.moved(dropout=0.5)
        encoder.eval()
        return encoder

    @torch.no_grad()
    def test_later_items_do_not_change_earlier_states(self, encoder: Encoder) -> None:
        for known in range(1, 6):
            rows = [[4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6]]
            other = [row[:known] + [(item + 3) % 10 for item in row[known:]] for row in rows]
            one, two = (
                encoder(past_of(h), h) for h in (self.histories_of(rows), self.histories_of(other))
            )
            for start in (0, 6):
                before = slice(start, start + known)
                assert close(one[:, before], two[:, before])
                assert not close(one[:, start + known], two[:, start + known])

    @torch.no_grad()
    def test_every_prefix_is_as_a_history_of_its_own(self, encoder: Encoder) -> None:
        row = [4, 5, 6, 7, 8, 9]
        whole, parts = self.histories_of([row]), self.histories_of([row[: n + 1] for n in range(6)])
        states = encoder(past_of(whole), whole)
        assert close(states, encoder.last(past_of(parts), parts))

    @torch.no_grad()
    def test_a_history_is_alone_in_its_batch(self, encoder: Encoder) -> None:
        histories = self.histories_of(ROWS)
        together = encoder(past_of(histories), histories)
        last = encoder.last(past_of(histories), histories)
        for number, row in enumerate(ROWS):
            alone = self.histories_of([row])
            own = histories.rows == number
            assert close(together[:, own], encoder(past_of(alone), alone))
            assert close(last[:, number], encoder.last(past_of(alone), alone)[:, 0])

    @torch.no_grad()
    def test_last_is_the_state_after_the_newest_item(self, encoder: Encoder) -> None:
        histories = self.histories_of(ROWS)
        past = past_of(histories)
        last = encoder.last(past, histories)
        assert last.shape == (MEMBERS, len(ROWS), WIDTH)
        assert close(last, at_places(encoder(past, histories), histories.whole))

    @torch.no_grad()
    @pytest.mark.parametrize("rows", [[], [[]], [[], [1, 2], []], [[], []]])
    def test_nothing_known_is_zeros_and_no_user_is_no_state(
        self, encoder: Encoder, rows: list[list[int]]
    ) -> None:
        histories = self.histories_of(rows)
        past = past_of(histories)
        for mode in (False, True):
            encoder.train(mode)
            assert encoder(past, histories).shape == past.shape
            last = encoder.last(past, histories)
            assert last.shape == (MEMBERS, len(rows), WIDTH)
            assert torch.isfinite(last).all()
            assert (last[:, [not row for row in rows]] == 0).all()

    def test_gradients_are_finite_when_all_is_dropped(self) -> None:
        encoder = self.moved(dropout=0.99)
        histories = self.histories_of(ROWS * 5)
        past = past_of(histories).requires_grad_()
        for states in (encoder(past, histories), encoder.last(past, histories)):
            assert torch.isfinite(states).all()
            states.square().sum().backward()  # type: ignore[no-untyped-call]
        assert past.grad is not None
        assert torch.isfinite(past.grad).all()
        for name, weight in encoder.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name

    def test_every_weight_learns(self) -> None:
        encoder, histories = self.moved(), self.histories_of(ROWS)
        target = torch.randn(MEMBERS, len(histories.items), WIDTH)
        (encoder(past_of(histories), histories) * target).sum().backward()  # type: ignore[no-untyped-call]
        for name, weight in encoder.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 0, name

    @torch.no_grad()
    def test_only_training_drops(self, encoder: Encoder) -> None:
        histories = self.histories_of(ROWS)
        past = past_of(histories)
        sure = encoder(past, histories)
        assert torch.equal(sure, encoder(past, histories))
        encoder.train()
        assert not close(sure, encoder(past, histories))
        calm = self.moved()
        calm.train()
        assert close(sure, calm(past, histories)), "without dropout training is as eval"

    @torch.no_grad()
    def test_the_states_of_many_draws_centre_on_something_like_the_sure_one(self) -> None:
        """Dropout keeps the scale: an encoder does not see other sizes in eval than in training."""
        encoder, histories = self.moved(dropout=0.2), self.histories_of([[1, 2, 3, 4, 5, 6]] * 300)
        encoder.train()
        drawn = encoder.last(past_of(histories), histories).mean(dim=1)
        encoder.eval()
        sure = encoder.last(past_of(histories), histories)[:, 0]
        assert 0.7 < float((drawn * sure).sum() / sure.square().sum()) < 1.3

    def test_members_do_not_see_each_other(self, encoder: Encoder) -> None:
        histories = self.histories_of(ROWS)
        past = past_of(histories)
        changed = torch.cat([past[:1], past_of(histories, seed=1)[1:]])
        for read in (encoder, encoder.last):
            one, two = read(past, histories), read(changed, histories)
            assert close(one[0], two[0])
            assert not close(one[1], two[1])
            known = [n for n, row in enumerate(ROWS) if row] if two.shape[1] == len(ROWS) else ...
            assert not close(one[0][known], one[1][known]), "members have weights of their own"
        leaf = past.clone().requires_grad_()
        encoder(leaf, histories)[0].sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        assert (leaf.grad[1] == 0).all()

    @torch.no_grad()
    def test_order_counts(self, encoder: Encoder) -> None:
        one, two = (self.histories_of([row]) for row in ([1, 2, 3], [2, 1, 3]))
        states = [encoder.last(past_of(h), h) for h in (one, two)]
        assert (states[0] - states[1]).abs().max() > 1e-3

    def test_bf16_is_close_to_float32(self, encoder: Encoder) -> None:
        histories = self.histories_of(ROWS)
        past = past_of(histories).requires_grad_()
        for read in (encoder, encoder.last):
            full = read(past, histories)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                lower = read(past, histories).float()
            assert (lower - full).abs().max() < 0.05 * full.abs().max()
            lower.sum().backward()  # type: ignore[no-untyped-call]
        assert past.grad is not None
        assert torch.isfinite(past.grad).all()

    def test_two_runs_are_identical(self) -> None:
        histories = self.histories_of(ROWS)
        runs = []
        for _ in range(2):
            encoder = self.moved(dropout=0.3)
            torch.manual_seed(1)
            states = encoder(past_of(histories), histories)
            states.square().sum().backward()  # type: ignore[no-untyped-call]
            runs.append(
                (states.detach(), [weight.grad for _, weight in encoder.named_parameters()])
            )
        assert torch.equal(runs[0][0], runs[1][0])
        for one, two in zip(runs[0][1], runs[1][1], strict=True):
            assert one is not None
            assert two is not None
            assert torch.equal(one, two)
