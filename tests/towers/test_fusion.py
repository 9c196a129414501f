"""What every fusion of id and contents promises, and that each can learn from content."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.towers.fusion import FusionKind, Sum, hide
from recsys.towers.item_tower import ItemTower

KINDS: tuple[FusionKind, ...] = ("sum", "mlp", "gated", "product", "attention")
N_ITEMS, DIM, MEMBERS = 12, 8, 2
NEW, NO_TEXT, NO_IMAGE = [3, 9], [2, 5, 9], [5, 7]
EVERYTHING = torch.arange(N_ITEMS)

fusions = pytest.mark.parametrize("fusion", KINDS)


def make_blocks(shift: float = 3.0) -> list[ContentBlock]:
    """Two contents with a mean far from 0 and some gaps."""
    random, blocks = np.random.default_rng(0), []
    for name, width, absent in (("text", 6, NO_TEXT), ("image", 3, NO_IMAGE)):
        vectors = (random.normal(size=(N_ITEMS, width)) + shift).astype(np.float32)
        present = ~np.isin(np.arange(N_ITEMS), absent)
        vectors[~present] = 0
        blocks.append(ContentBlock(name, vectors, present))
    return blocks


def make_tower(fusion: FusionKind, *, random: float = 0.3, **settings: object) -> ItemTower:
    """A tower whose weights are all random, even those that a fusion starts with at zero."""
    given = {"dim": DIM, "members": MEMBERS, "fusion": fusion, **settings}
    known = ~torch.isin(EVERYTHING, torch.tensor(NEW))
    torch.manual_seed(0)
    tower = ItemTower(N_ITEMS, make_blocks(), known, TowersConfig.model_validate(given))
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(torch.randn_like(weight) * random)
    return tower.eval()


def changed(before: Tensor, after: Tensor) -> list[int]:
    """The items whose vectors differ."""
    return torch.nonzero((before - after).abs().amax(dim=1) > 1e-6).flatten().tolist()


def test_the_sum_is_the_plain_loop() -> None:
    tower, blocks = make_tower("sum"), make_blocks()
    got, width = tower().detach().numpy(), DIM // MEMBERS
    weights = {name: value.detach().numpy() for name, value in tower.state_dict().items()}
    for item in range(N_ITEMS):
        total = weights["base"].astype(np.float64)
        if item not in NEW:
            total = total + weights["id.weight"][item]
        for number, block in enumerate(blocks):
            prefix = f"contents.{number}."
            if block.present[item]:
                learnt = [i for i in range(N_ITEMS) if i not in NEW and block.present[i]]
                mean = block.vectors[learnt].mean(axis=0)
                scale = np.sqrt(((block.vectors[learnt] - mean) ** 2).sum(axis=1).mean())
                row = (block.vectors[item] - mean) / scale
                total = total + weights[prefix + "project.weight"] @ row
            else:
                total = total + weights[prefix + "missing"]
        for member in range(MEMBERS):
            part = slice(member * width, (member + 1) * width)
            expected = total[part] / np.linalg.norm(total[part]) / np.sqrt(MEMBERS)
            np.testing.assert_allclose(got[item, part], expected, atol=1e-6)


Rows = list[NDArray[np.float64]]
Weights = Mapping[str, NDArray[np.float32]]


def standard(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0, variance 1."""
    return np.asarray((row - row.mean()) / np.sqrt(row.var() + 1e-5))


def fused_by_hand(
    fusion: FusionKind, rows: Rows, there: list[bool], weights: Weights, member: int
) -> Any:
    """What a fusion adds to the base of one member of one item."""
    joined = np.concatenate([standard(np.concatenate(rows)), np.array(there, dtype=np.float64)])
    if fusion == "product":
        return (1 + rows[0]) * (1 + rows[1]) * (1 + rows[2]) - 1
    if fusion == "gated":
        levels = joined @ weights["gates.weight"][member] + weights["gates.bias"][member, 0]
        return sum(2 / (1 + np.exp(-levels[n])) * rows[n] for n in range(3))
    if fusion == "mlp":
        hidden = joined @ weights["widen.weight"][member] + weights["widen.bias"][member, 0]
        more = np.maximum(hidden, 0) @ weights["narrow.weight"][member]
        return sum(rows) + more + weights["narrow.bias"][member, 0]
    asked = [0, 1, 2] if there[0] else [1, 2]
    query, level = weights["query"][member, 0], weights["level"][:, member, 0]
    powers = [np.exp(standard(rows[n]) @ query[n] + level[int(there[n]), n]) for n in asked]
    return sum(
        len(asked) * power / sum(powers) * rows[n] for n, power in zip(asked, powers, strict=True)
    )


@pytest.mark.parametrize("fusion", ["mlp", "gated", "product", "attention"])
def test_the_other_fusions_are_the_plain_loop(fusion: FusionKind) -> None:
    tower = make_tower(fusion)
    parts, width = tower.parts(), DIM // MEMBERS
    got = tower.fusion(tower.base, parts).detach().numpy()
    weights = {name: value.detach().numpy() for name, value in tower.fusion.state_dict().items()}
    for item, member in product(range(N_ITEMS), range(MEMBERS)):
        cut = slice(member * width, (member + 1) * width)
        rows = [part.vectors.detach()[item, cut].numpy().astype(np.float64) for part in parts]
        there = [bool(part.there[item]) for part in parts]
        more = fused_by_hand(fusion, rows, there, weights, member)
        expected = tower.base.detach().numpy()[cut] + more
        np.testing.assert_allclose(got[item, cut], expected, atol=1e-5)


@fusions
def test_at_first_every_fusion_is_nearly_the_sum(fusion: FusionKind) -> None:
    config = TowersConfig(dim=DIM, members=MEMBERS, fusion=fusion)
    known = torch.ones(N_ITEMS, dtype=torch.bool)
    torch.manual_seed(1)
    tower = ItemTower(N_ITEMS, make_blocks(), known, config)
    expected = Sum()(tower.base, tower.parts())
    distance = (tower.fusion(tower.base, tower.parts()) - expected).norm() / expected.norm()
    assert distance < (0.1 if fusion == "product" else 1e-6)


@fusions
def test_what_stands_in_an_absent_row_does_not_matter_but_the_missing_vector_does(
    fusion: FusionKind,
) -> None:
    tower, blocks = make_tower(fusion), make_blocks()
    before = tower(EVERYTHING)
    for number, absent in enumerate((NO_TEXT, NO_IMAGE)):
        tower.contents[number].get_buffer("content")[absent] = 77.0
    assert changed(before, tower(EVERYTHING)) == changed(before, tower()) == []
    with torch.no_grad():
        tower.contents[0].get_parameter("missing").add_(1.0)
    assert changed(before, tower(EVERYTHING)) == NO_TEXT
    assert not blocks[0].present[NO_TEXT].any()


@fusions
def test_missing_is_neither_zero_nor_mean_content(fusion: FusionKind) -> None:
    tower = make_tower(fusion)
    before, text = tower(EVERYTHING), tower.contents[0]
    present, content = text.get_buffer("present"), text.get_buffer("content")
    present[NO_TEXT] = True
    for invented in (torch.zeros(6), text.get_buffer("mean")):
        content[NO_TEXT] = invented
        assert changed(before, tower(EVERYTHING)) == NO_TEXT


@fusions
def test_items_without_training_rows_ignore_their_id(fusion: FusionKind) -> None:
    tower = make_tower(fusion)
    before = tower()
    with torch.no_grad():
        tower.id.weight[NEW] += 5.0
    assert changed(before, tower()) == []
    with torch.no_grad():
        tower.id.weight.add_(5.0)
    assert changed(before, tower()) == [item for item in range(N_ITEMS) if item not in NEW]


@fusions
def test_vectors_have_length_one_and_members_share_nothing(fusion: FusionKind) -> None:
    """Half of the numbers depend on half of the weights: on no gradient of the other half."""
    tower = make_tower(fusion)
    vectors = tower()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(N_ITEMS))
    (vectors[:, : DIM // 2] * torch.randn(N_ITEMS, DIM // 2)).sum().backward()
    for name, weight in tower.named_parameters():
        slope = weight.grad
        assert slope is not None
        assert torch.isfinite(slope).all()
        axis = slope.shape.index(MEMBERS) if name.startswith("fusion") else None
        if name == "fusion.level":  # (absent or there, members, 1, parts)
            axis = 1
        if axis is not None:
            own, other = slope.unbind(axis)
        else:
            own, other = slope.chunk(2, dim=0 if "project" in name else -1)
        assert own.abs().max() > 0, name
        assert other.abs().max() == 0, name


@fusions
@pytest.mark.parametrize(("id_dropout", "content_dropout"), [(0.0, 0.3), (0.4, 0.3)])
def test_dropout_hides_contents_and_ids_in_training_only(
    fusion: FusionKind, id_dropout: float, content_dropout: float
) -> None:
    tower = make_tower(fusion, id_dropout=id_dropout, content_dropout=content_dropout)
    chances = (id_dropout, content_dropout, content_dropout)
    item = torch.zeros(3_000, dtype=torch.int64)  # of item 0 everything is there
    assert len(torch.unique(tower(item).detach(), dim=0)) == 1
    torch.manual_seed(0)
    drawn = tower.train()(item)
    for hidden in product([False, True], repeat=3):
        parts = tower.parts(item[:1])
        pairs = zip(parts, hidden, strict=True)
        expected = tower.fuse([hide(part, torch.tensor([gone])) for part, gone in pairs])
        share = float(torch.isclose(drawn, expected, atol=1e-5).all(dim=1).float().mean())
        chance = np.prod([p if gone else 1 - p for p, gone in zip(chances, hidden, strict=True)])
        assert share == pytest.approx(chance, abs=0.03)


@fusions
def test_an_item_with_a_hidden_id_looks_like_a_new_one(fusion: FusionKind) -> None:
    tower = make_tower(fusion)
    parts = tower.parts()
    hidden = tower.fuse([hide(parts[0], torch.ones(N_ITEMS, dtype=torch.bool)), *parts[1:]])
    tower.known[:] = False
    torch.testing.assert_close(hidden, tower())


def test_content_that_is_kept_is_that_of_the_weights() -> None:
    """Centred once and kept, but not across other statistics or another precision."""
    tower, known = make_tower("sum"), torch.ones(N_ITEMS, dtype=torch.bool)
    before = tower()
    torch.testing.assert_close(before, tower(EVERYTHING), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(tower(), before, rtol=0, atol=0.02)
    torch.testing.assert_close(tower(), before, rtol=0, atol=0)
    other = ItemTower(N_ITEMS, make_blocks(7.0), known, TowersConfig(dim=DIM, members=MEMBERS))
    tower.load_state_dict(other.state_dict())
    torch.testing.assert_close(tower(), tower(EVERYTHING), rtol=0, atol=0)
    assert not any(
        name.split(".")[-1] == "content" or "ready" in name for name in tower.state_dict()
    )


def test_without_content_there_is_nothing_to_fuse() -> None:
    known = torch.ones(N_ITEMS, dtype=torch.bool)
    for fusion in KINDS:
        tower = ItemTower(N_ITEMS, [], known, TowersConfig(dim=DIM, fusion=fusion))
        assert isinstance(tower.fusion, Sum)


@fusions
def test_every_fusion_learns_what_content_says_of_new_items(fusion: FusionKind) -> None:
    """Where an item belongs shows in its text, or else in its image: half of the items have one."""
    random, n, width = np.random.default_rng(1), 200, 6
    truth = random.normal(size=(n, width)).astype(np.float32)
    has_text, known = np.arange(n) % 2 == 0, torch.arange(n) < 150
    turned = truth @ np.linalg.qr(random.normal(size=(width, width)))[0].astype(np.float32)
    text, image = truth * has_text[:, None], turned * ~has_text[:, None]
    blocks = [ContentBlock("text", text, has_text), ContentBlock("image", image, ~has_text)]
    settings = {"dim": width, "members": 1, "fusion": fusion, "id_dropout": 0.5}
    torch.manual_seed(0)
    tower = ItemTower(n, blocks, known, TowersConfig.model_validate(settings))
    targets = F.normalize(torch.from_numpy(truth), dim=1)
    optimizer = torch.optim.Adam(tower.parameters(), lr=0.05)
    for _ in range(60):
        loss = 1 - (tower.train()() * targets)[known].sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cosines = (tower.eval()() * targets).sum(dim=1)[~known]
    assert cosines.mean() > 0.9
