"""Augmentation: what each operator keeps and changes, what views are told apart from."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from recsys.config import TowersConfig, TrainingConfig
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.towers.two_tower import TwoTower
from recsys.training.augment import Operator, augmented, crop, mask, reorder, two_views
from recsys.training.batches import Batch, draw_batches
from recsys.training.contrast import contrast_loss, info_nce
from recsys.training.loop import Learner, train

LENGTHS = [0, 1, 2, 3, 7, 10, 25, 10]
HISTORIES = Ragged.of([list(range(100 * row, 100 * row + n)) for row, n in enumerate(LENGTHS)])
ALL = np.ones(len(LENGTHS), dtype=np.bool_)
OPERATORS = [crop, mask, reorder]
NAMES: list[Operator] = ["crop", "mask", "reorder"]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows_of(histories: Ragged) -> list[list[int]]:
    return [histories[row].tolist() for row in range(len(histories))]


def test_a_crop_keeps_every_stretch_of_neighbours_alike() -> None:
    begins: Counter[int] = Counter()
    for seed in range(400):
        for row, (before, after) in enumerate(
            zip(rows_of(HISTORIES), rows_of(crop(HISTORIES, ALL, generator(seed))), strict=True)
        ):
            begin = before.index(after[0]) if after else 0
            assert after == before[begin : begin + len(after)], "neighbours, in their order"
            assert len(after) == min(len(before), max(1, int(0.6 * len(before))))
            begins[begin] += row == 5  # 6 of 10 items: it may begin at 0..4
    assert set(+begins) == set(range(5))
    assert all(abs(count - 80) < 40 for count in (+begins).values())  # 5 deviations


def test_a_mask_leaves_every_item_out_alike_and_the_others_in_order() -> None:
    lost: Counter[int] = Counter()
    for seed in range(400):
        for row, (before, after) in enumerate(
            zip(rows_of(HISTORIES), rows_of(mask(HISTORIES, ALL, generator(seed))), strict=True)
        ):
            assert after == sorted(set(after) & set(before)), "the rows ascend here"
            assert len(before) - len(after) == int(0.3 * len(before))
            if row == 5:
                lost.update(set(before) - set(after))
    assert len(lost) == 10
    assert all(abs(count - 120) < 46 for count in lost.values())  # 5 deviations


def test_a_reorder_shuffles_a_stretch_and_nothing_else() -> None:
    moved: Counter[int] = Counter()
    orders: Counter[tuple[int, ...]] = Counter()
    for seed in range(400):
        for row, (before, after) in enumerate(
            zip(rows_of(HISTORIES), rows_of(reorder(HISTORIES, ALL, generator(seed))), strict=True)
        ):
            assert sorted(after) == before
            changed = [place for place in range(len(after)) if after[place] != before[place]]
            long = max(1, int(0.6 * len(before)))
            assert not changed or changed[-1] - changed[0] < long
            if row == 4:  # 4 of 7 items
                moved.update(changed)
                orders[tuple(item for item in after if after.index(item) in changed)] += 1
    assert set(moved) == set(range(7))
    assert len(orders) > 60, "every order of 4 places, 4 stretches"


@pytest.mark.parametrize("operator", OPERATORS)
def test_only_chosen_histories_change_and_a_seed_decides_how(
    operator: Callable[[Ragged, NDArray[np.bool_], np.random.Generator], Ragged],
) -> None:
    chosen = np.arange(len(LENGTHS)) % 2 == 0
    found = [rows_of(operator(HISTORIES, chosen, generator(seed))) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    before = rows_of(HISTORIES)
    assert found[0][1::2] == before[1::2]
    assert found[0][4] != before[4]
    assert found[0][6] != before[6]
    assert rows_of(operator(Ragged.of([]), chosen[:0], generator())) == []
    assert rows_of(operator(Ragged.of([[], []]), chosen[:2], generator())) == [[], []]


@pytest.mark.parametrize("operator", [crop, mask])
def test_items_that_stay_keep_their_times(
    operator: Callable[[Ragged, NDArray[np.bool_], np.random.Generator], Ragged],
) -> None:
    timed = replace(HISTORIES, times=7 * HISTORIES.values.astype(np.int64))
    found = operator(timed, ALL, generator())
    assert len(found.values) < len(timed.values)
    assert found.times is not None
    assert (found.times == 7 * found.values).all()


def test_a_reorder_gives_items_other_times_and_time_its_order() -> None:
    timed = replace(HISTORIES, times=7 * HISTORIES.values.astype(np.int64))
    found = reorder(timed, ALL, generator())
    assert found.times is not None
    assert (found.times == 7 * HISTORIES.values).all()
    assert (found.times != 7 * found.values).any()


def test_a_share_of_the_histories_is_changed() -> None:
    many = Ragged.of([list(range(10))] * 2_000)
    for name in NAMES:
        found = rows_of(augmented(many, name, 0.3, generator()))
        changed = sum(row != list(range(10)) for row in found)
        assert abs(changed - 600) < 100  # 4.9 deviations
        assert rows_of(augmented(many, name, 0.0, generator())) == rows_of(many)


def test_the_two_views_of_a_history_are_its_own_and_change_in_three_ways() -> None:
    histories = Ragged.of([list(range(10 * row, 10 * row + 10)) for row in range(300)])
    views = rows_of(two_views(histories, generator()))
    assert len(views) == 600
    for number, view in enumerate(views):
        assert {item // 10 for item in view} == {number % 300}
    assert views[:300] != views[300:]
    lengths = Counter(len(view) for view in views)
    assert set(lengths) == {6, 7, 10}  # cropped, masked, reordered
    assert all(abs(count - 200) < 58 for count in lengths.values())  # 5 deviations


SEQUENCES = Ragged.of([list(range(50 * user, 50 * user + 4 * user + 1)) for user in range(10)])


def draw(**changes: object) -> list[Batch]:
    config = TrainingConfig.model_validate({"batch_size": 10, "horizon": 3, **changes})
    return list(draw_batches(SEQUENCES, config, 20, seed=1, epoch=2))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_has_changed_histories_and_its_own_targets(name: str) -> None:
    (plain,), (changed,) = draw(), draw(augment=name, augment_share=1.0)
    assert (plain.people == changed.people).all()
    assert rows_of(plain.targets) == rows_of(changed.targets)
    assert rows_of(plain.histories) != rows_of(changed.histories)
    for before, after, newest in zip(
        rows_of(plain.histories), rows_of(changed.histories), changed.newest, strict=True
    ):
        assert set(after) <= set(before)
        assert bool(after) == bool(before) == (newest >= 0)
        assert not after or changed.histories.values[newest] == after[-1]


def test_with_all_prefixes_histories_cannot_change() -> None:
    with pytest.raises(ValidationError, match=r"augment = 'mask' goes with prefixes = \"one\""):
        TrainingConfig(augment="mask", prefixes="all")


def test_info_nce_is_that_of_a_plain_loop() -> None:
    random = torch.Generator().manual_seed(0)
    views = torch.randn(2, 10, 4, generator=random, dtype=torch.float64)
    views = views / views.norm(dim=-1, keepdim=True)
    people = torch.tensor([4, 7, 7, 1, 0]).repeat(2)  # two histories are of one person
    losses = []
    for member in range(2):
        for asking in range(10):
            scores = {
                asked: 5.0 * float(views[member, asking] @ views[member, asked])
                for asked in range(10)
                if people[asked] != people[asking] or asked == (asking + 5) % 10
            }
            total = sum(math.exp(score) for score in scores.values())
            losses.append(math.log(total) - scores[(asking + 5) % 10])
    found = info_nce(views, people, torch.tensor(5.0, dtype=torch.float64))
    assert float(found) == pytest.approx(sum(losses) / 20, rel=1e-12)


N_USERS, N_ITEMS = 30, 40


def make_rows() -> Interactions:
    """Even users like even items, odd users odd ones."""
    random = generator()
    users = np.repeat(np.arange(N_USERS), 8).astype(np.int32)
    draws = [random.choice(N_ITEMS // 2, size=8, replace=False) for _ in range(N_USERS)]
    items = (np.concatenate(draws) * 2 + users % 2).astype(np.int32)
    n = len(users)
    ones = np.ones(n, dtype=np.float32)
    return Interactions(users, items, np.arange(n), ones, np.arange(n), N_USERS, N_ITEMS)


def learner_of(config: TrainingConfig, **towers: object) -> Learner:
    shape = TowersConfig.model_validate({"dim": 16, **towers})
    known = np.ones(N_ITEMS, dtype=np.bool_)
    return Learner(TwoTower(shape, N_USERS, [], known, seed=0), config)


def contrast_of(towers: TwoTower, rows: Interactions, seed: int = 0) -> float:
    """The term of the whole training log, nothing dropped."""
    towers.eval()
    people = np.arange(N_USERS, dtype=np.int32)
    with torch.no_grad():
        term = contrast_loss(towers, people, rows.histories(), towers.items(), generator(seed))
    return float(term)


OPTIONS: list[dict[str, object]] = [
    {"augment": "crop"},
    {"augment": "mask"},
    {"augment": "reorder", "augment_share": 1.0},
    {"contrast_weight": 0.1, "prefixes": "all", "precision": "bfloat16"},
    {"contrast_weight": 0.5, "augment": "crop", "negatives": "uniform", "n_negatives": 8},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_training_with_it_learns_and_goes_on_exactly(options: dict[str, object]) -> None:
    settings = {"epochs": 8, "batch_size": 15, "learning_rate": 0.05, "device": "cpu"}
    config = TrainingConfig.model_validate({**settings, **options})
    rows = make_rows()
    whole, halves = learner_of(config), learner_of(config)
    losses = [report.loss for report in train(whole, rows, config, seed=0, until=8)]
    assert losses[-1] < losses[0]
    first = [report.loss for report in train(halves, rows, config, seed=0, until=3)]
    rest = [report.loss for report in train(halves, rows, config, seed=0, until=8)]
    assert first + rest == losses, "stopped and gone on with"
    towers = whole.towers
    users = np.arange(N_USERS, dtype=np.int32)
    scores = towers.user_vectors(users, rows.histories()) @ towers.item_vectors().T
    own = np.arange(N_ITEMS) % 2 == users[:, None] % 2
    assert scores[own].mean() > scores[~own].mean() + 0.1


def test_the_contrastive_term_falls_where_it_is_learnt() -> None:
    found = {}
    for weight in (0.0, 1.0):
        config = TrainingConfig(
            epochs=6, batch_size=30, learning_rate=0.05, contrast_weight=weight, device="cpu"
        )
        learner = learner_of(config)
        rows = make_rows()
        list(train(learner, rows, config, seed=0, until=6))
        learner.towers.log_scale.data.fill_(math.log(10.0))  # compared at one temperature
        found[weight] = contrast_of(learner.towers, rows)
    assert found[1.0] < found[0.0] - 0.1


def test_views_are_read_without_an_id_and_leave_the_temperature_alone() -> None:
    config = TrainingConfig(device="cpu")
    towers, rows = learner_of(config, user_id=True).towers, make_rows()
    people = np.arange(N_USERS, dtype=np.int32)
    term = contrast_loss(towers, people, rows.histories(), towers.items(), generator())
    term.backward()  # type: ignore[no-untyped-call]
    assert towers.log_scale.grad is None
    assert towers.users.id is not None
    gradient = towers.users.id.weight.grad
    assert gradient is not None
    assert not gradient[:N_USERS].any()
    assert gradient[N_USERS].any()
    short = Ragged.of([[1], [], [2, 3]])
    alone = contrast_loss(towers, people[:3], short, towers.items(), generator())
    assert float(alone) == 0, "one history alone has nobody to be told apart from"
