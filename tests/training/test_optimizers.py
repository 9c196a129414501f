"""The optimisers: row-wise Adam against plain loops, and both beside each other in training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.errors import ArtifactError, ConfigError
from recsys.towers.two_tower import TwoTower
from recsys.training.checkpoint import load_checkpoint, save_checkpoint
from recsys.training.loop import Learner, train
from recsys.training.optimizers import Optimizers
from recsys.training.row_wise import RowWiseAdam, coalesced, row_wise_memory

N, D, RATE = 12, 3, 0.05


def drawn_steps(seed: int = 0, *, everything: bool = False) -> list[tuple[Tensor, Tensor]]:
    """Looked up rows, repeated and in any order, and what each look-up gets as a gradient."""
    random = np.random.default_rng(seed)
    steps = []
    for _ in range(9):
        rows = random.integers(0, N - 2, 7)  # the last two never
        if everything:
            rows = np.concatenate([random.permutation(N), rows])
        gradients = random.normal(size=(len(rows), D)).astype(np.float32)
        steps.append((torch.from_numpy(rows), torch.from_numpy(gradients)))
    return steps


def sparse(rows: Tensor, gradients: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(rows[None], gradients, (N, D), check_invariants=True)


def start() -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.random.default_rng(1).normal(size=(N, D))).float())


def run(
    steps: Sequence[tuple[Tensor, Tensor]], betas: tuple[float, float], decay: float
) -> nn.Parameter:
    table = start()
    optimizer = RowWiseAdam([table], lr=RATE, betas=betas, weight_decay=decay)
    for rows, gradients in steps:
        table.grad = sparse(rows, gradients)
        optimizer.step()
    return table


def by_loops(
    steps: Sequence[tuple[Tensor, Tensor]], betas: tuple[float, float], decay: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The formula, one row after another."""
    weights = start().detach().double().numpy()
    second, momentum = np.zeros(N), np.zeros((N, D))
    last, touches = np.zeros(N), np.zeros(N)
    for t, (rows, gradients) in enumerate(steps, start=1):
        for row in sorted(set(rows.tolist())):
            g = gradients.double().numpy()[rows.numpy() == row].sum(axis=0)
            missed = t - last[row]
            second[row] = betas[1] ** missed * second[row] + (1 - betas[1]) * (g**2).mean()
            touches[row] += 1
            momentum[row] = betas[0] * momentum[row] + (1 - betas[0]) * g
            ahead = momentum[row] / (1 - betas[0] ** touches[row])
            root = np.sqrt(second[row] / (1 - betas[1] ** t)) + 1e-8
            weights[row] = (1 - RATE * decay) ** missed * weights[row] - RATE * ahead / root
            last[row] = t
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_it_is_its_formula_row_by_row(beta1: float, decay: float) -> None:
    steps = drawn_steps()
    got = run(steps, (beta1, 0.9), decay).detach().double().numpy()
    np.testing.assert_allclose(got, by_loops(steps, (beta1, 0.9), decay), rtol=2e-5, atol=1e-6)


def dense_adam(
    steps: Sequence[tuple[Tensor, Tensor]], betas: tuple[float, float], decay: float
) -> Tensor:
    """AdamW over the whole table at every step, its second moment the mean of each row."""
    weights = start().detach().clone()
    first, second = torch.zeros(N, D), torch.zeros(N, 1)
    for t, (rows, gradients) in enumerate(steps, start=1):
        g = torch.zeros(N, D).index_add_(0, rows, gradients)
        first = betas[0] * first + (1 - betas[0]) * g
        second = betas[1] * second + (1 - betas[1]) * (g**2).mean(dim=1, keepdim=True)
        root = (second / (1 - betas[1] ** t)).sqrt() + 1e-8
        weights = (1 - RATE * decay) * weights - RATE * first / (1 - betas[0] ** t) / root
    return weights


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_with_all_rows_at_each_step_it_is_adamw_with_a_second_moment_a_row(beta1: float) -> None:
    steps = drawn_steps(everything=True)
    got = run(steps, (beta1, 0.98), 0.1)
    torch.testing.assert_close(got.detach(), dense_adam(steps, (beta1, 0.98), 0.1))


def test_without_momentum_and_decay_rare_rows_learn_as_under_adamw_too() -> None:
    steps = drawn_steps()
    got = run(steps, (0.0, 0.98), 0.0)
    torch.testing.assert_close(got.detach(), dense_adam(steps, (0.0, 0.98), 0.0))


def test_rows_that_no_step_looks_up_stay_bit_for_bit() -> None:
    table = run(drawn_steps(), (0.9, 0.98), 0.5)
    assert torch.equal(table[-2:], start()[-2:])
    assert (table[:-2] != start()[:-2]).all()


def test_a_dense_gradient_touches_every_row() -> None:
    steps = drawn_steps(everything=True)
    table = start()
    optimizer = RowWiseAdam([table], lr=RATE)
    for rows, gradients in steps:
        table.grad = sparse(rows, gradients).to_dense()
        optimizer.step()
    torch.testing.assert_close(table, run(steps, (0.0, 0.98), 0.0))


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_a_step_that_is_not_finite_changes_nothing(beta1: float) -> None:
    steps = drawn_steps()
    table = start()
    optimizer = RowWiseAdam([table], lr=RATE, betas=(beta1, 0.98), weight_decay=0.1)
    for number, (rows, gradients) in enumerate(steps):
        if number == 4:
            table.grad = sparse(rows, gradients * torch.nan)
            optimizer.found_inf = torch.ones(())
            optimizer.step()
        table.grad = sparse(rows, gradients)
        optimizer.found_inf = torch.zeros(())
        optimizer.step()
    assert torch.equal(table, run(steps, (beta1, 0.98), 0.1))


def test_what_is_loaded_lies_where_the_table_is() -> None:
    table = start()
    optimizer = RowWiseAdam([table], lr=RATE, betas=(0.9, 0.98))
    table.grad = torch.ones_like(table)
    optimizer.step()
    elsewhere = nn.Parameter(torch.empty_like(table, device="meta"))  # as on a GPU
    other = RowWiseAdam([elsewhere], lr=RATE, betas=(0.9, 0.98))
    other.load_state_dict(optimizer.state_dict())
    assert {value.device for value in other.state[elsewhere].values()} == {elsewhere.device}


def test_coalescing_adds_what_each_row_gets() -> None:
    rows, gradients = torch.tensor([5, 1, 5, 0, 1, 5]), torch.randn(6, D)
    got = coalesced(sparse(rows, gradients))
    expected = sparse(rows, gradients).coalesce()
    assert got.is_coalesced() and got.indices().tolist() == [[0, 1, 5]]
    torch.testing.assert_close(got.values(), expected.values())


def test_what_a_table_takes() -> None:
    table = nn.Parameter(torch.zeros(1000, 16))
    optimizer = RowWiseAdam([table], lr=RATE)
    rows = torch.arange(50).repeat(3)
    table.grad = torch.sparse_coo_tensor(
        rows[None], torch.ones(150, 16), table.shape, check_invariants=True
    )
    optimizer.step()
    kept = [table.detach(), *optimizer.state[table].values()]
    gradient = [table.grad.indices(), table.grad.values()]
    held = sum(tensor.numel() * tensor.element_size() for tensor in [*kept, *gradient])
    assert held == row_wise_memory(1000, 16, touched=50) + 4  # the step is one number more
    assert row_wise_memory(500_000, 64) == 132_000_000
    assert row_wise_memory(500_000, 64, row_wise=False) == 512_000_000


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"lr": 1.0, "betas": (1.0, 0.9)}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="row-wise Adam"):
        RowWiseAdam([start()], **wrong)  # type: ignore[arg-type]


USERS, ITEMS = 20, 30


def rows_of_a_log() -> Interactions:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), 6).astype(np.int32)
    items = np.concatenate([random.permutation(ITEMS)[:6] for _ in range(USERS)]).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), USERS, ITEMS)


def learner(**settings: object) -> tuple[Learner, TrainingConfig]:
    config = TrainingConfig.model_validate(
        {"batch_size": 4, "negatives": "uniform", "n_negatives": 5, "device": "cpu", **settings}
    )
    shape = TowersConfig(dim=8, user_id=True)
    known = np.ones(ITEMS, dtype=np.bool_)
    return Learner(TwoTower(shape, USERS, [], known, seed=0), config), config


USER_IDS, ITEM_IDS = {"users.id.weight"}, {"items.id.weight"}
TABLES = {"users.history.weight"} | USER_IDS


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ({"table_optimizer": "adamw"}, set()),
        ({"table_optimizer": "row-wise"}, TABLES | ITEM_IDS),
        ({"table_optimizer": "row-wise", "negatives": "all"}, TABLES),
        ({"table_optimizer": "auto"}, set()),
        # 30 items, 21 rows of users
        ({"full_softmax_up_to": 25, "negatives": "auto"}, TABLES - USER_IDS | ITEM_IDS),
        ({"full_softmax_up_to": 25, "negatives": "all"}, TABLES - USER_IDS),
        ({"full_softmax_up_to": 20, "negatives": "all"}, TABLES),
    ],
)
def test_which_tables_are_row_wise(settings: dict[str, object], tables: set[str]) -> None:
    made, _ = learner(**settings)
    assert set(made.optimizers.tables) == tables
    for name in TABLES | ITEM_IDS:
        table = made.towers.get_submodule(name.removesuffix(".weight"))
        assert isinstance(table, nn.Embedding) and table.sparse == (name in tables)


def test_towers_may_learn_by_another_optimiser_afterwards() -> None:
    made, config = learner(table_optimizer="row-wise")
    list(train(made, rows_of_a_log(), config, seed=0, until=1))
    later = config.model_copy(update={"table_optimizer": "adamw"})
    again = Learner(made.towers, later)
    assert not again.optimizers.tables
    list(train(again, rows_of_a_log(), later, seed=0, until=1))


def test_without_tables_a_step_is_adamw_after_clipping_bit_for_bit() -> None:
    made, config = learner(table_optimizer="adamw")
    other, _ = learner(table_optimizer="adamw")
    weights = list(other.towers.parameters())
    plain = torch.optim.AdamW(
        [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    random = torch.Generator().manual_seed(0)
    for step in range(4):
        rate = 0.01 / (step + 1)
        for mine, theirs in zip(made.towers.parameters(), weights, strict=True):
            mine.grad = torch.randn(mine.shape, generator=random)
            theirs.grad = mine.grad.clone()
        made.optimizers.set_rate(rate)
        norm = made.optimizers.clip_and_step(0.7)
        for group in plain.param_groups:
            group["lr"] = rate
        assert torch.equal(norm, nn.utils.clip_grad_norm_(weights, 0.7))
        plain.step()
    for mine, theirs in zip(made.towers.parameters(), weights, strict=True):
        assert torch.equal(mine, theirs)


def test_the_norm_is_of_dense_and_sparse_gradients_together() -> None:
    made, _ = learner(table_optimizer="row-wise")
    total = 0.0
    for name, weight in made.towers.named_parameters():
        if name in made.optimizers.tables:
            rows = torch.tensor([3, 1, 3])
            each = torch.randn(3, weight.shape[1])
            weight.grad = torch.sparse_coo_tensor(
                rows[None], each, weight.shape, check_invariants=True
            )
            total += float(weight.grad.to_dense().square().sum())
        else:
            weight.grad = torch.randn_like(weight)
            total += float(weight.grad.square().sum())
    norm = made.optimizers.clip_and_step(0.5)
    assert float(norm) == pytest.approx(total**0.5, rel=1e-5)
    scaled = sum(
        float(weight.grad.to_dense().square().sum())
        for weight in made.towers.parameters()
        if weight.grad is not None
    )
    assert scaled**0.5 == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("where", ["loss", "gradient", "sparse"])
@pytest.mark.parametrize("kind", ["adamw", "row-wise"])
def test_nothing_changes_at_a_step_that_is_not_finite(kind: str, where: str) -> None:
    made, config = learner(table_optimizer=kind)
    list(train(made, rows_of_a_log(), config, seed=0, until=1))
    before = {name: weight.clone() for name, weight in made.towers.state_dict().items()}
    kept = {name: value.clone() for name, value in made.optimizers.tensors().items()}
    for name, weight in made.towers.named_parameters():
        weight.grad = torch.ones_like(weight)
        if name in made.optimizers.tables:
            weight.grad = weight.grad.to_sparse(1)
    if where != "loss":
        spoilt = made.towers.users.base if where == "gradient" else made.towers.items.id.weight
        assert spoilt.grad is not None
        spoilt.grad = spoilt.grad * torch.inf
    made.optimizers.clip_and_step(1.0, torch.tensor(torch.nan if where == "loss" else 1.0))
    for name, weight in made.towers.state_dict().items():
        assert torch.equal(weight, before[name]), name
    for name, value in made.optimizers.tensors().items():
        assert torch.equal(value, kept[name]), name


def test_row_wise_training_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    settings = {"table_optimizer": "row-wise", "epochs": 4}
    unbroken, config = learner(**settings)
    reports = list(train(unbroken, rows_of_a_log(), config, seed=0, until=4))
    assert reports[-1].loss < reports[0].loss
    broken, _ = learner(**settings)
    list(train(broken, rows_of_a_log(), config, seed=0, until=2))
    save_checkpoint(tmp_path / "checkpoint", broken, {}, {})
    later, _ = learner(**settings)
    load_checkpoint(tmp_path / "checkpoint", later)
    list(train(later, rows_of_a_log(), config, seed=0, until=4))
    for name, weight in unbroken.towers.state_dict().items():
        assert torch.equal(weight, later.towers.state_dict()[name]), name
    assert later.optimizers.tensors().keys() == unbroken.optimizers.tensors().keys()
    for name, value in unbroken.optimizers.tensors().items():
        assert torch.equal(value, later.optimizers.tensors()[name]), name


@pytest.mark.parametrize("kinds", [("adamw", "row-wise"), ("row-wise", "adamw")])
def test_a_checkpoint_of_the_other_optimiser_is_refused(kinds: tuple[str, str]) -> None:
    (of, config), (to, _) = (learner(table_optimizer=kind) for kind in kinds)
    list(train(of, rows_of_a_log(), config, seed=0, until=1))
    with pytest.raises(ArtifactError, match="table_optimizer"):
        to.optimizers.load(of.optimizers.tensors())
    assert isinstance(to.optimizers, Optimizers)
