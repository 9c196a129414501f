"""Distillation: the formula by a plain loop, and students that come to think as their teacher."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.errors import ConfigError
from recsys.towers.two_tower import TwoTower
from recsys.training import distill
from recsys.training.batches import draw_batches
from recsys.training.distill import Teacher, distillation_loss
from recsys.training.loop import Learner, train
from recsys.training.negatives import Negatives
from recsys.training.objective import Objective

N_USERS, N_ITEMS = 30, 40
CONFIG = TrainingConfig(epochs=8, batch_size=8, learning_rate=0.02, device="cpu")


def make_rows(seed: int = 0) -> Interactions:
    """Even users like even items, odd users odd ones."""
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), 8).astype(np.int32)
    draws = [random.choice(N_ITEMS // 2, size=8, replace=False) for _ in range(N_USERS)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS)


def make_towers(**shape: object) -> TwoTower:
    config = TowersConfig.model_validate({"dim": 16, **shape})
    return TwoTower(config, N_USERS, [], np.ones(N_ITEMS, dtype=np.bool_), seed=0)


def learnt(teacher: Teacher | None, config: TrainingConfig = CONFIG, **shape: object) -> TwoTower:
    learner = Learner(make_towers(**shape), config, teacher)
    for _ in train(learner, make_rows(), config, seed=0, until=config.epochs):
        pass
    return learner.towers.eval()


@pytest.fixture(scope="module")
def teacher() -> TwoTower:
    return learnt(None, dim=64, members=4)


def random_case() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    student, teacher = (draw(5, 3), draw(7, 3)), (draw(5, 6), draw(7, 6))
    barred = torch.rand(2, 7, generator=generator) < 0.3
    return student, teacher, torch.rand(5, generator=generator), barred, draw(7)


GROUPS = torch.tensor([0, 0, 1, 1, 1])


def by_a_loop(temperature: float) -> float:
    student, teacher, weights, barred, log_q = random_case()

    def chances(side: tuple[Tensor, Tensor], row: int, items: list[int]) -> list[float]:
        queries, vectors = (part.tolist() for part in side)
        terms = []
        for item in items:
            logit = sum(a * b for a, b in zip(queries[row], vectors[item], strict=True))
            terms.append(math.exp(logit / temperature - float(log_q[item])))
        return [term / sum(terms) for term in terms]

    total = 0.0
    for row, group in enumerate(GROUPS.tolist()):
        items = [item for item in range(7) if not barred[group, item]]
        ours, theirs = chances(student, row, items), chances(teacher, row, items)
        for mine, right in zip(ours, theirs, strict=True):
            total += float(weights[row]) * right * math.log(right / mine)
    return temperature**2 * total


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("block", [1, 14, 2**22])
def test_the_formula(temperature: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "SCORES", block)
    student, teacher, weights, barred, log_q = random_case()
    found = distillation_loss(student, teacher, weights, barred, GROUPS, log_q, temperature)
    assert float(found) == pytest.approx(by_a_loop(temperature), rel=1e-4)


def test_blocks_do_not_show_in_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for block in (1, 14, 2**22):
        monkeypatch.setattr(distill, "SCORES", block)
        (queries, items), teacher, weights, barred, log_q = random_case()
        asking, asked = queries.requires_grad_(), items.requires_grad_()
        args = (teacher, weights, barred, GROUPS, log_q, 2.0)
        distillation_loss((asking, asked), *args).backward()  # type: ignore[no-untyped-call]
        assert asking.grad is not None
        assert asked.grad is not None
        gradients.append(torch.cat([asking.grad.flatten(), asked.grad.flatten()]))
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(gradients[0], gradients[2])
    torch.testing.assert_close(gradients[1], gradients[2])


def test_who_thinks_alike_has_nothing_to_learn() -> None:
    (queries, items), _, weights, barred, log_q = random_case()
    asking = queries.requires_grad_()
    same = (queries.detach().clone(), items)
    loss = distillation_loss((asking, items), same, weights, barred, GROUPS, log_q, 2.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert asking.grad is not None
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert asking.grad.abs().max() < 1e-6


def test_nothing_is_left_to_compare() -> None:
    student, teacher, weights, barred, log_q = random_case()
    everything = torch.ones_like(barred)
    loss = distillation_loss(student, teacher, weights, everything, GROUPS, log_q, 2.0)
    assert float(loss) == 0


def pulls(towers: TwoTower, teacher: Teacher, config: TrainingConfig, drawn: Negatives) -> float:
    """What a teacher adds to the loss of one batch."""
    rows = make_rows()
    batch = next(draw_batches(rows.histories(), config, 100, seed=0, epoch=1))
    objective = Objective.of(rows, config)
    given = None if objective.against_all else drawn
    random = np.random.default_rng(0)
    towers.eval()  # no dropout
    apart, together = (
        float(one(towers, batch, given, random).detach())
        for one in (objective, replace(objective, teacher=teacher))
    )
    return together - apart


@pytest.mark.parametrize("prefixes", ["one", "all"])
def test_all_items_drawn_are_all_items(teacher: TwoTower, prefixes: str) -> None:
    everything = Negatives(np.arange(N_ITEMS, dtype=np.int32), np.zeros(N_ITEMS, dtype=np.float32))
    config = CONFIG.model_copy(update={"prefixes": prefixes})
    found = [
        pulls(make_towers(), Teacher(teacher, 3.0, 2.0), changed, everything)
        for changed in (config, config.model_copy(update={"negatives": "uniform"}))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0] > 0.01


def test_of_its_own_towers_nothing_is_learnt(teacher: TwoTower) -> None:
    """A position asks both alike: the same histories, people and items."""
    drawn = Negatives(np.arange(5, dtype=np.int32), np.zeros(5, dtype=np.float32))
    assert pulls(teacher, Teacher(teacher, 5.0, 2.0), CONFIG, drawn) == pytest.approx(0, abs=1e-5)


def apart(towers: TwoTower, teacher: TwoTower) -> float:
    """How far scores are from the teacher's, for users after their histories."""
    users, histories = np.arange(N_USERS, dtype=np.int32), make_rows().histories()
    ours, theirs = (
        (one.user_vectors(users, histories) @ one.item_vectors().T) / one.temperature
        for one in (towers, teacher)
    )
    taken = np.zeros((N_USERS, N_ITEMS), dtype=np.bool_)
    taken[make_rows().users, make_rows().items] = True
    ours, theirs = (scores - scores.mean(axis=1, keepdims=True) for scores in (ours, theirs))
    return float(np.abs(ours - theirs)[~taken].mean())


@pytest.mark.parametrize("negatives", ["all", "uniform"])
def test_students_come_to_think_as_their_teacher(teacher: TwoTower, negatives: str) -> None:
    config = CONFIG.model_copy(update={"negatives": negatives, "n_negatives": 60})
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    alone, taught = (learnt(one, config, dim=4) for one in (None, Teacher(teacher, 5.0, 1.0)))
    assert apart(taught, teacher) < 0.9 * apart(alone, teacher)
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())


def test_teachers_that_do_not_fit() -> None:
    other = TwoTower(TowersConfig(dim=8), 3, [], np.ones(5, dtype=np.bool_), seed=0)
    with pytest.raises(ConfigError, match="knows 3 users and 5 items, expected 30 and 40"):
        Teacher(other, 1.0, 1.0).check(make_towers())
    with pytest.raises(ConfigError, match=r"reads 10 items of a history, expected at least .* 100"):
        Teacher(make_towers(history=10), 1.0, 1.0).check(make_towers())
