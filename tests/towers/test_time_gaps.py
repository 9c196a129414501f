"""Attention that looks at the time between two items of a history."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from suites.encoder_suite import (
    LONGEST,
    MEMBERS,
    ROWS,
    WIDTH,
    EncoderSuite,
    past_of,
)
from torch import Tensor

from recsys.config import TowersConfig
from recsys.data.ragged import Ragged
from recsys.towers.histories import Histories
from recsys.towers.saved import load_towers, save_towers
from recsys.towers.transformer import BUCKETS, Transformer, time_buckets
from recsys.towers.two_tower import TwoTower

HEADS = 2
CPU = torch.device("cpu")
# Of the items of a history: half a second, a minute, the same moment, three days, ten years.
TIMES = np.cumsum([1_700_000_000_000, 500, 60_000, 0, 259_200_000, 315_360_000_000])


def timed(rows: list[list[int]]) -> Ragged:
    """Histories whose items were taken at these times, the whole of a row a little later."""
    times = [TIMES[: len(row)] + 86_400_000 * number for number, row in enumerate(rows)]
    return replace(Ragged.of(rows), times=np.concatenate([np.zeros(0, np.int64), *times]))


def make(*, dropout: float = 0.0, time_dropout: float = 0.0, time_gaps: bool = True) -> Transformer:
    return Transformer(
        MEMBERS,
        WIDTH,
        layers=2,
        heads=HEADS,
        longest=LONGEST,
        dropout=dropout,
        time_gaps=time_gaps,
        time_dropout=time_dropout,
    )


class TestTransformerWithTimeGaps(EncoderSuite):
    def make(self, *, dropout: float = 0.0) -> Transformer:
        return make(dropout=dropout, time_dropout=dropout)

    def histories_of(self, rows: list[list[int]]) -> Histories:
        return Histories.of(timed(rows), CPU)


@pytest.fixture
def encoder() -> Transformer:
    """One whose biases have left zero, far."""
    torch.manual_seed(0)
    encoder = make()
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            weight.add_(torch.randn(weight.shape), alpha=2.0 if name.endswith("gaps") else 0.1)
    return encoder.eval()


def read(encoder: Transformer, ragged: Ragged) -> Tensor:
    histories = Histories.of(ragged, CPU)
    states: Tensor = encoder(past_of(histories), histories)
    return states


def bucket_of(milliseconds: int) -> int:
    """As HSTU writes it."""
    return min(BUCKETS - 1, math.floor(math.log(max(1.0, milliseconds / 1000)) / 0.301))


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=5), st.booleans())
def test_buckets_are_logarithms_of_seconds(times: list[int], near: bool) -> None:
    taken = np.array([time // 10**7 if near else time for time in times])
    row = Ragged(np.array([0, len(taken)]), np.zeros(len(taken), np.int32), taken)
    found = time_buckets(Histories.of(row, CPU))
    assert found is not None
    expected = [[bucket_of(abs(int(one - other))) for other in taken] for one in taken]
    assert found[0].tolist() == expected


def test_every_bucket_can_be_met() -> None:
    seconds = np.exp(0.301 * (np.arange(BUCKETS) + 0.5)) * (np.arange(BUCKETS) > 0)
    taken = (1000 * seconds).astype(np.int64)
    row = Ragged(np.array([0, BUCKETS]), np.zeros(BUCKETS, np.int32), taken)
    found = time_buckets(Histories.of(row, CPU))
    assert found is not None
    assert found[0, 0].tolist() == list(range(BUCKETS))


@torch.no_grad()
def test_equals_the_plain_loop(encoder: Transformer) -> None:
    rows = timed([[4, 5, 6, 7, 8, 9], [0, 1, 2]])
    assert rows.times is not None
    got, past = read(encoder, rows), past_of(Histories.of(rows, CPU))
    for member in range(MEMBERS):
        for start, stop in pairwise(rows.indptr.tolist()):
            stream = past[member, start:stop] * math.sqrt(WIDTH)
            for block in encoder.blocks:
                stream = plain_block(
                    {name: weight[member] for name, weight in block.named_parameters()},
                    stream,
                    rows.times[start:stop].tolist(),
                )
            weights = {name: weight[member] for name, weight in encoder.norm.named_parameters()}
            expected = normed(stream, weights["gain"], weights["offset"])
            torch.testing.assert_close(got[member, start:stop], expected, rtol=0, atol=1e-5)


def plain_block(weights: dict[str, Tensor], stream: Tensor, times: list[int]) -> Tensor:
    """One member's block, pair by pair of items."""
    inner = normed(stream, weights["norm_attention.gain"], weights["norm_attention.offset"])
    inward = (inner @ weights["inward.weight"] + weights["inward.bias"]).view(-1, 3, HEADS, 4)
    mixed = torch.zeros_like(stream).view(-1, HEADS, 4)
    for head in range(HEADS):
        query, key, value = inward[:, :, head].unbind(1)
        for now in range(len(times)):
            scores = [
                float(query[now] @ key[then]) / math.sqrt(4)
                + float(weights["near"][head, now - then])
                + float(weights["gaps"][head, bucket_of(times[now] - times[then])])
                for then in range(now + 1)
            ]
            total = sum(math.exp(score) for score in scores)
            for then, score in enumerate(scores):
                mixed[now, head] += math.exp(score) / total * value[then]
    stream = stream + mixed.flatten(1) @ weights["outward.weight"] + weights["outward.bias"]
    inner = normed(stream, weights["norm_forward.gain"], weights["norm_forward.offset"])
    wide = torch.relu(inner @ weights["widen.weight"] + weights["widen.bias"])
    return stream + wide @ weights["narrow.weight"] + weights["narrow.bias"]


def normed(values: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * gain + offset


@torch.no_grad()
def test_gaps_count_and_the_clock_does_not(encoder: Transformer) -> None:
    rows = timed(ROWS)
    assert rows.times is not None
    states = read(encoder, rows)
    for shift in (-(10**12), 1, 7 * 86_400_000):
        assert torch.equal(states, read(encoder, replace(rows, times=rows.times + shift)))
    other = read(encoder, replace(rows, times=rows.times // 1000))
    assert (states - other).abs().max() > 1e-2


@torch.no_grad()
def test_unknown_times_are_as_attention_without_gaps(encoder: Transformer) -> None:
    without = read(encoder, Ragged.of(ROWS))
    assert (without - read(encoder, timed(ROWS))).abs().max() > 1e-2
    plain = make(time_gaps=False)
    plain.load_state_dict({k: v for k, v in encoder.state_dict().items() if "gaps" not in k})
    assert torch.equal(without, read(plain.eval(), Ragged.of(ROWS)))
    assert torch.equal(without, read(plain, timed(ROWS))), "who does not ask is not told"


@torch.no_grad()
def test_at_first_gaps_change_nothing() -> None:
    torch.manual_seed(3)
    plain = make(time_gaps=False)
    torch.manual_seed(3)
    asking = make()
    assert torch.equal(read(asking.eval(), timed(ROWS)), read(plain.eval(), timed(ROWS)))


@torch.no_grad()
def test_in_training_some_histories_are_read_without_times(encoder: Transformer) -> None:
    many = timed([[1, 2, 3, 4]] * 1_000)
    seen, unseen = read(encoder, many)[:, 3::4], read(encoder, replace(many, times=None))[:, 3::4]
    encoder.time_dropout = 0.3
    encoder.train()
    drawn = read(encoder, many)[:, 3::4]
    hidden = (drawn - unseen).abs().amax(dim=(0, 2)) < 1e-5
    assert torch.equal(~hidden, (drawn - seen).abs().amax(dim=(0, 2)) < 1e-5)
    assert abs(int(hidden.sum()) - 300) < 73  # 5 deviations
    encoder.eval()
    assert torch.equal(read(encoder, many)[:, 3::4], seen)


def towers_of(**settings: object) -> TwoTower:
    shape = {"dim": 8, "history": 5, "encoder": "transformer", "time_gaps": True, **settings}
    towers = TwoTower(TowersConfig.model_validate(shape), 3, (), np.ones(10, np.bool_), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in towers.parameters():
            weight.add_(torch.randn_like(weight))
    return towers


USERS = np.array([0, -1, 2, 1, -1], dtype=np.int32)


@pytest.mark.parametrize("encoder", ["transformer", ("means", "transformer")])
def test_a_block_of_users_is_as_users_one_by_one(encoder: str | tuple[str, ...]) -> None:
    towers, histories = towers_of(encoder=encoder), timed(ROWS)
    together = towers.user_vectors(USERS, histories)
    for row in range(len(ROWS)):
        alone = towers.user_vectors(USERS[row : row + 1], histories.take(np.array([row])))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    untimed = towers.user_vectors(USERS, replace(histories, times=None))
    assert np.abs(together - untimed).max() > 1e-2


def test_saved_towers_read_times_as_before(tmp_path: Path) -> None:
    towers, histories = towers_of(), timed(ROWS)
    save_towers(towers, tmp_path)
    again = load_towers(tmp_path, ()).user_vectors(USERS, histories)
    np.testing.assert_array_equal(again, towers.user_vectors(USERS, histories))


def test_towers_of_before_know_no_times(tmp_path: Path) -> None:
    save_towers(towers_of(time_gaps=False), tmp_path)
    path = tmp_path / "towers.json"
    shape = json.loads(path.read_text())
    del shape["towers"]["time_gaps"]
    path.write_text(json.dumps(shape))
    assert not load_towers(tmp_path, ()).config.time_gaps


@pytest.mark.parametrize("encoder", ["means", "attention", "gru", ("gru", "means")])
def test_only_a_transformer_can_be_asked_for_them(encoder: str | tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="time_gaps = true needs a transformer"):
        TowersConfig.model_validate({"encoder": encoder, "time_gaps": True})
