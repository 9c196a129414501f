"""The four history encoders: one contract, and each against a plain loop."""

import math
from typing import ClassVar, cast

import torch
from suites.encoder_suite import (
    LONGEST,
    MEMBERS,
    ROWS,
    WIDTH,
    EncoderSuite,
    histories_of,
    past_of,
)
from torch import Tensor, nn

from recsys.towers.attention import AttentionPooling
from recsys.towers.gru import Gru
from recsys.towers.means import Means
from recsys.towers.transformer import Transformer


class TestMeans(EncoderSuite):
    def make(self, *, dropout: float = 0.0) -> Means:
        return Means(MEMBERS, WIDTH, speeds=3, item_dropout=dropout)

    @torch.no_grad()
    def test_equals_the_plain_loop(self, encoder: Means) -> None:
        histories = histories_of(ROWS)
        past, got = past_of(histories), encoder(past_of(histories), histories)
        rates, priors = encoder.log_rates.exp().tolist(), encoder.log_priors.exp().tolist()
        for place, items in items_up_to_each():
            for member in range(MEMBERS):
                expected = torch.zeros(WIDTH)
                speeds = zip(rates, priors, encoder.maps[:, member], strict=True)
                for rate, prior, maps in speeds:
                    weights = [math.exp(-rate * age) for age in reversed(range(len(items)))]
                    mean = torch.zeros(WIDTH)
                    for item, weight in zip(items, weights, strict=True):
                        mean += past[member, item] * (weight / (sum(weights) + prior))
                    expected += mean @ maps
                torch.testing.assert_close(got[member, place], expected, rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_who_has_just_come_is_drawn_towards_nothing(self, encoder: Means) -> None:
        """The same taste counts the more, the more items show it."""
        past = torch.ones(MEMBERS, 7, WIDTH)
        one, few, many = encoder.last(past, histories_of([[1], [2, 3], [4, 5, 6, 7]])).unbind(1)
        assert (one.norm(dim=1) < few.norm(dim=1)).all()
        assert (few.norm(dim=1) < many.norm(dim=1)).all()


class TestAttentionPooling(EncoderSuite):
    def make(self, *, dropout: float = 0.0) -> AttentionPooling:
        return AttentionPooling(MEMBERS, WIDTH, heads=3, longest=LONGEST, item_dropout=dropout)

    @torch.no_grad()
    def test_equals_the_plain_loop(self, encoder: AttentionPooling) -> None:
        histories = histories_of(ROWS)
        past, got = past_of(histories), encoder(past_of(histories), histories)
        for place, items in items_up_to_each():
            for member in range(MEMBERS):
                expected = torch.zeros(WIDTH)
                for head in range(3):
                    query, bias = encoder.queries[member, :, head], encoder.bias[member, head]
                    scores = [
                        float(past[member, item] @ query) * math.sqrt(WIDTH)
                        + float(bias[len(items) - 1 - number])
                        for number, item in enumerate(items)
                    ]
                    total = sum(math.exp(score) for score in scores)
                    pooled = torch.zeros(WIDTH)
                    for item, score in zip(items, scores, strict=True):
                        pooled += past[member, item] * (math.exp(score) / total)
                    expected += pooled @ encoder.maps[member, head]
                torch.testing.assert_close(got[member, place], expected, rtol=0, atol=1e-5)

    def test_a_dropped_item_leaves_its_share_to_the_others(self) -> None:
        """As if it had not been there, but for the ages of those before it."""
        encoder, histories = self.make(dropout=0.5), histories_of([[1, 2, 3]] * 400)
        past = torch.ones(MEMBERS, 1200, WIDTH)
        torch.manual_seed(0)
        for states in (encoder.last(past, histories), encoder(past, histories)[:, 2::3]):
            sums = states[0].detach().mean(dim=-1)  # 1 where an item is left, else 0
            torch.testing.assert_close(sums, sums.round(), rtol=0, atol=1e-5)
            assert 0.8 < float(sums.mean()) < 0.95, "0.5 ** 3 of the histories lose all"

    @torch.no_grad()
    def test_huge_scores_pick_one_item(self) -> None:
        encoder, histories = self.make(), histories_of(ROWS)
        encoder.queries.fill_(300.0)
        past = past_of(histories)
        for states in (encoder(past, histories), encoder.last(past, histories)):
            assert torch.isfinite(states).all()
        best = past[0].sum(dim=-1)[histories.rows == 3].argmax()
        torch.testing.assert_close(
            encoder.last(past, histories)[0, 3], past[0][histories.rows == 3][best]
        )

    @torch.no_grad()
    def test_histories_longer_than_the_biases_count_the_rest_as_the_oldest(self) -> None:
        encoder = self.make()
        histories = histories_of([[0, 1, 2, 3, 4, 5, 6, 7, 8]])
        states = encoder(past_of(histories), histories)
        torch.testing.assert_close(states[:, -1:], encoder.last(past_of(histories), histories))


class TestGru(EncoderSuite):
    layers: ClassVar[int] = 2

    def make(self, *, dropout: float = 0.0) -> Gru:
        return Gru(MEMBERS, WIDTH, layers=self.layers, dropout=dropout)

    @torch.no_grad()
    def test_equals_the_recurrence_one_item_at_a_time(self, encoder: Gru) -> None:
        histories = histories_of(ROWS)
        past, got = past_of(histories), encoder(past_of(histories), histories)
        for place, items in items_up_to_each():
            for member in range(MEMBERS):
                states = [torch.zeros(WIDTH) for _ in range(self.layers)]
                for item in items:
                    below = past[member, item] * math.sqrt(WIDTH)
                    for number, layer in enumerate(encoder.layers):
                        unit = cast("nn.GRU", list(layer.children())[member])
                        below = states[number] = gru_step(unit, below, states[number])
                weight, bias = encoder.outward.weight[member], encoder.outward.bias[member, 0]
                expected = states[-1] @ weight + bias
                torch.testing.assert_close(got[member, place], expected, rtol=0, atol=1e-5)


class TestGruOfOneLayer(TestGru):
    layers = 1


class TestTransformer(EncoderSuite):
    def make(self, *, dropout: float = 0.0) -> Transformer:
        return Transformer(MEMBERS, WIDTH, layers=2, heads=2, longest=LONGEST, dropout=dropout)

    @torch.no_grad()
    def test_equals_torchs_layers_with_a_bias_by_distance(self, encoder: Transformer) -> None:
        """`nn.TransformerEncoderLayer`, pre-norm, given the same weights and a mask of biases."""
        row = [4, 5, 6, 7, 8, 9]
        histories = histories_of([row])
        past, got = past_of(histories), encoder(past_of(histories), histories)
        for member in range(MEMBERS):
            stream = past[member] * math.sqrt(WIDTH)
            for block in encoder.blocks:
                weights = {name: part[member] for name, part in block.named_parameters()}
                steps = torch.arange(len(row))
                distance = steps[:, None] - steps
                bias = weights["near"][:, distance.clamp_min(0)]
                mask = bias.masked_fill(distance < 0, -torch.inf)
                stream = torch_layer(weights)(stream[None], src_mask=mask)[0]
            last = nn.functional.layer_norm(stream, (WIDTH,))
            expected = last * encoder.norm.gain[member] + encoder.norm.offset[member]
            torch.testing.assert_close(got[member], expected, rtol=0, atol=1e-5)


def items_up_to_each() -> list[tuple[int, list[int]]]:
    """(place of an item in ``histories.items``, places of its history's items up to it)."""
    places, start = [], 0
    for row in ROWS:
        places += [(start + n, list(range(start, start + n + 1))) for n in range(len(row))]
        start += len(row)
    return places


def gru_step(unit: nn.GRU, below: Tensor, state: Tensor) -> Tensor:
    """Reset, update and new gate as torch's documentation writes them."""
    weights = dict(unit.named_parameters())
    of_input = weights["weight_ih_l0"] @ below + weights["bias_ih_l0"]
    of_state = weights["weight_hh_l0"] @ state + weights["bias_hh_l0"]
    (r_in, z_in, n_in), (r_state, z_state, n_state) = of_input.chunk(3), of_state.chunk(3)
    update = torch.sigmoid(z_in + z_state)
    new = torch.tanh(n_in + torch.sigmoid(r_in + r_state) * n_state)
    return (1 - update) * new + update * state


def torch_layer(weights: dict[str, Tensor]) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(
        WIDTH, 2, 4 * WIDTH, dropout=0.0, norm_first=True, batch_first=True
    )
    names = {
        "self_attn.in_proj": "inward",
        "self_attn.out_proj.": "outward",
        "linear1.": "widen",
        "linear2.": "narrow",
    }
    state = {}
    for theirs, ours in names.items():
        glue = "" if theirs.endswith(".") else "_"
        state[f"{theirs}{glue}weight"] = weights[f"{ours}.weight"].T
        state[f"{theirs}{glue}bias"] = weights[f"{ours}.bias"][0]
    for theirs, ours in (("norm1", "norm_attention"), ("norm2", "norm_forward")):
        state[f"{theirs}.weight"] = weights[f"{ours}.gain"][0]
        state[f"{theirs}.bias"] = weights[f"{ours}.offset"][0]
    layer.load_state_dict(state)
    return layer
