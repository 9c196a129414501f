"""Encoders that learn with the towers: what moves, what does not, and that a kill changes nothing.

A tiny random BERT, whose states come from random numbers.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.config import FinetuneConfig, NewcomersConfig, TowersConfig, TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.content.encoders import make_encoder
from recsys.content.text.tail import States, TunableBlock
from recsys.content.text.text_encoder import TextEncoder
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.epochs import Phase
from recsys.errors import ArtifactError
from recsys.fitting import fit_towers
from recsys.towers.content_input import TunedInput
from recsys.towers.grow import Blocks, Growth, grow
from recsys.towers.saved import load_tails, load_towers, save_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.loop import EpochReport, Learner, train

N_USERS, N_ITEMS, WIDTH = 30, 40, 32
CONFIG = TrainingConfig(epochs=4, score_every=2, batch_size=16, learning_rate=0.01, device="cpu")
ABSENT = 7  # an item without text


def make_rows(n_items: int = N_ITEMS) -> Interactions:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 8).astype(np.int32)
    items = np.concatenate([random.permutation(n_items)[:8] for _ in range(N_USERS)])
    n, ones = len(users), np.ones(len(users), dtype=np.float32)
    return Interactions(
        users, items.astype(np.int32), np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS
    )


@pytest.fixture(scope="module")
def block() -> TunableBlock:
    return make_block()


def make_block(order: np.ndarray | None = None, rate: float = 1e-2) -> TunableBlock:
    """Random states, packed; vectors are what the tail makes of them."""
    encoder = make_encoder("random:bert:tiny")
    assert isinstance(encoder, TextEncoder) and encoder.halve is not None
    tail, random = encoder.halve(1).tail, np.random.default_rng(0)
    made = [random.normal(size=(n, WIDTH)) for n in random.integers(2, 9, N_ITEMS)]
    made[ABSENT] = np.zeros((0, WIDTH))
    states = [made[item] for item in (range(N_ITEMS) if order is None else order)]
    lengths = np.array([len(state) for state in states])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    packed = States(np.concatenate(states).astype(np.float16), starts)
    vectors = np.zeros((len(states), WIDTH), dtype=np.float32)
    there = np.flatnonzero(lengths)
    with torch.no_grad():
        vectors[there] = tail(packed.take(there, torch.device("cpu"))).numpy()
    finetune = FinetuneConfig(layers=1, learning_rate=rate, items=6)
    return TunableBlock("plot", vectors, lengths > 0, tail, packed, finetune)


def make_towers(*blocks: ContentBlock, n_items: int = N_ITEMS, known: int = N_ITEMS) -> TwoTower:
    return TwoTower(TowersConfig(dim=16), N_USERS, blocks, np.arange(n_items) < known, seed=0)


def make_other_vectors(block: TunableBlock) -> TunableBlock:
    return replace(block, vectors=block.vectors[:, ::-1].copy())


def make_split(rows: Interactions, parts: np.ndarray) -> Split:
    everything = np.full(rows.n_items, Part.TRAIN, dtype=np.int8)
    return Split("user-time", rows, parts, everything)


def tuned(towers: TwoTower) -> TunedInput:
    (content,) = towers.items.tuned
    return content


def state(towers: TwoTower) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in towers.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name


def test_a_step_moves_the_sampled_rows_only(block: TunableBlock) -> None:
    towers = make_towers(block).train()
    content = tuned(towers)
    with torch.no_grad():
        for weight in content.tail.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    towers.items()  # fills what is kept from step to step
    before, items = content.content.clone(), np.array([3, ABSENT, 5, 30])
    with towers.items.tuning(items, np.random.default_rng(0), "float32"):
        inside = towers.items()
    moved = np.flatnonzero((content.content != before).any(dim=1).numpy())
    assert moved.tolist() == [3, 5, 30]
    torch.testing.assert_close(towers.items(), inside)  # what is kept has moved along
    content.ready = None
    torch.testing.assert_close(towers.items(), inside)
    with towers.items.tuning(np.arange(N_ITEMS), np.random.default_rng(0), "float32"):
        pass
    moved = np.flatnonzero((content.content != before).any(dim=1).numpy())
    assert len(set(moved) - {3, 5, 30}) <= block.finetune.items
    content.encode_anew("float32")
    moved = np.flatnonzero((content.content != before).any(dim=1).numpy())
    assert len(moved) == N_ITEMS - 1 and ABSENT not in moved


def test_gradients_reach_the_tail_through_the_sampled_rows(block: TunableBlock) -> None:
    towers = make_towers(block).train()
    with towers.items.tuning(np.array([3, 5]), np.random.default_rng(0), "float32"):
        vectors = towers.items()
    weights = list(tuned(towers).tail.parameters())
    for rows, reached in (([4, 6], False), ([3, 4], True)):
        towers.zero_grad()
        vectors[rows].sum().backward(retain_graph=True)
        got = any(w.grad is not None and bool(w.grad.abs().sum() > 1e-9) for w in weights)
        assert got == reached
    assert all(weight.grad is None for weight in block.tail.parameters())  # others' is a copy
    towers.zero_grad()
    towers.items().sum().backward()  # outside: the rows are data
    assert all(weight.grad is None for weight in weights)


def test_the_tail_learns_at_its_own_rate(block: TunableBlock) -> None:
    learner = Learner(make_towers(block), CONFIG)
    (report, *_) = train(learner, make_rows(), CONFIG, seed=0, until=1)
    rates = [group["lr"] for group in learner.optimizers.dense.param_groups]
    assert rates == [report.learning_rate] * 2 + [pytest.approx(report.learning_rate)] * 2
    slow = make_block(rate=1e-5)
    learner = Learner(make_towers(slow), CONFIG)
    list(train(learner, make_rows(), CONFIG, seed=0, until=1))
    assert learner.optimizers.dense.param_groups[2]["lr"] == pytest.approx(
        report.learning_rate * 1e-3
    )
    pairs = zip(tuned(learner.towers).tail.parameters(), slow.tail.parameters(), strict=True)
    moved = max(float((now - then).abs().max().detach()) for now, then in pairs)
    assert 0 < moved < 1e-3
    assert not tuned(learner.towers).tail.layers.training  # no dropout: a text has one vector


def test_after_an_epoch_that_is_scored_all_rows_are_fresh(block: TunableBlock) -> None:
    learner = Learner(make_towers(block), CONFIG)
    for report in train(learner, make_rows(), CONFIG, seed=0, until=4):
        content = tuned(learner.towers)
        kept = content.content.clone()
        content.encode_anew("float32")
        assert torch.equal(kept, content.content) == (report.epoch % 2 == 0)
        content.content.copy_(kept)


def test_training_without_it_is_untouched(block: TunableBlock) -> None:
    plain = ContentBlock(block.name, block.vectors, block.present)
    learner = Learner(make_towers(plain), CONFIG)
    assert not any(".tail." in name or name.endswith(".content") for name in state(learner.towers))
    assert len(learner.optimizers.dense.param_groups) == 2
    assert {group["share"] for group in learner.optimizers.dense.param_groups} == {1.0}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_checkpoint_goes_on_to_the_very_same_weights(
    block: TunableBlock, after: int, precision: str, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"precision": precision})
    unbroken = Learner(make_towers(block), config)
    list(train(unbroken, make_rows(), config, seed=0, until=4))
    broken = Learner(make_towers(block), config)
    for report in train(broken, make_rows(), config, seed=0, until=4):
        if report.epoch == after:
            save_checkpoint(tmp_path / "here", broken, {}, {})
            break
    later = Learner(make_towers(block), config)
    load_checkpoint(tmp_path / "here", later)
    list(train(later, make_rows(), config, seed=0, until=4))
    assert_same(state(unbroken.towers), state(later.towers))
    assert not torch.equal(
        state(later.towers)["items.contents.0.content"], torch.from_numpy(block.vectors)
    )


@pytest.mark.parametrize("killed_in", [("search", 3), ("refit", 1)])
def test_a_killed_fit_ends_with_the_weights_of_an_unbroken_one(
    block: TunableBlock, killed_in: tuple[str, int], tmp_path: Path
) -> None:
    rows = make_rows()
    parts = np.where(np.arange(len(rows)) % 8 == 7, Part.VALIDATION, Part.TRAIN).astype(np.int8)

    def fit(checkpoint: Path | None, *, kill: bool) -> TwoTower:
        def on_epoch(phase: Phase, report: EpochReport, score: float | None) -> None:
            if kill and (phase, report.epoch) == killed_in:
                raise InterruptedError

        return fit_towers(
            make_split(rows, parts),
            [block],
            TowersConfig(dim=16),
            CONFIG,
            seed=0,
            checkpoint=checkpoint,
            checkpoint_seconds=0,
            on_epoch=on_epoch,
        ).towers

    with pytest.raises(InterruptedError):
        fit(tmp_path / "here", kill=True)
    assert (tmp_path / "here").is_dir()
    assert_same(state(fit(None, kill=False)), state(fit(tmp_path / "here", kill=False)))


def test_saved_towers_serve_the_tuned_rows(block: TunableBlock, tmp_path: Path) -> None:
    learner = Learner(make_towers(block), CONFIG)
    list(train(learner, make_rows(), CONFIG, seed=0, until=2))
    save_towers(learner.towers, tmp_path)
    plain = ContentBlock(block.name, block.vectors, block.present)
    loaded = load_towers(tmp_path, [plain])
    np.testing.assert_array_equal(loaded.item_vectors(), learner.towers.item_vectors())
    names = {name for name in state(learner.towers) if ".tail." in name}
    assert load_tails(tmp_path).keys() == names and names
    (tmp_path / "tuned.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"tuned.safetensors: cannot be read"):
        load_towers(tmp_path, [plain])


def test_newcomers_are_placed_by_tuned_content(block: TunableBlock, tmp_path: Path) -> None:
    rows = make_rows(N_ITEMS - 5)
    parts = np.full(len(rows), Part.TRAIN, dtype=np.int8)
    cut = make_split(rows, parts)
    fitted = fit_towers(
        cut, [block], TowersConfig(dim=16), CONFIG, seed=0, newcomers=NewcomersConfig(dim=4)
    )
    towers = fitted.towers
    assert towers.newcomers is not None
    placed = towers.newcomers.contents[0].get_buffer("content")
    assert torch.equal(placed, tuned(towers).content)
    assert not torch.equal(placed, torch.from_numpy(block.vectors))
    save_towers(towers, tmp_path)
    loaded = load_towers(tmp_path, [ContentBlock(block.name, block.vectors, block.present)])
    np.testing.assert_array_equal(loaded.item_vectors(), towers.item_vectors())


def test_an_update_goes_on_with_the_tuned_encoder(block: TunableBlock) -> None:
    learner = Learner(make_towers(block), CONFIG)
    list(train(learner, make_rows(), CONFIG, seed=0, until=2))
    old = learner.towers
    order = np.random.default_rng(3).permutation(N_ITEMS)
    growth = Growth(np.arange(N_USERS, dtype=np.int32), order.astype(np.int32))
    grown_block = make_block(order)
    towers = make_towers(grown_block)
    tails = {name: weight for name, weight in state(old).items() if ".tail." in name}
    plain = ContentBlock(block.name, block.vectors, block.present)
    grow(old, towers, growth, Blocks([plain]), Blocks([grown_block]), tails)
    towers.items.encode_anew("float32")
    np.testing.assert_allclose(towers.item_vectors(), old.item_vectors()[order], atol=1e-5)
    for other, given, told in (
        (grown_block, {}, "lack items.contents.0"),
        (ContentBlock("plot", grown_block.vectors, grown_block.present), tails, "set finetune as"),
        (make_other_vectors(grown_block), tails, "is encoded otherwise"),
    ):
        with pytest.raises(ArtifactError, match=told):
            start = make_towers(plain)
            grow(start, make_towers(other), growth, Blocks([plain]), Blocks([other]), given)
