"""Bundles of different logs are asked the same anew."""

import numpy as np
import pandas as pd
import pytest
from small_bundles import NEW_USERS, bundle_of, finished_run

from recsys.data.protocols import Part
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.evaluation.saved_lists import read_list
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender
from recsys.serving import common, gate
from recsys.serving.bundle import RANKING, Bundle
from recsys.serving.common import ask_both
from recsys.serving.gate import judge_bundles_on
from recsys.stages.command import Command
from recsys.stages.prepare import load_data

K = 10


@pytest.fixture(scope="module")
def new() -> Bundle:
    return Bundle.load(bundle_of())


@pytest.fixture(scope="module")
def old() -> Bundle:
    return Bundle.load(bundle_of(early=True))


def test_a_bundle_is_asked_what_its_run_was_asked(
    new: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "BLOCK", 7)
    found = ask_both(new, new, finished_run(), K)
    who = new.recommender()
    saved = read_list(new.folder / RANKING.format(0), who.user_ids, who.item_ids, K)
    assert np.array_equal(found.lists[0], saved) and np.array_equal(found.lists[1], saved)
    assert (len(found.truth), found.of) == (40, 40)
    assert judge_bundles_on(new, new, finished_run()).pair.difference.mean == 0


def answer(who: Recommender, user: str, history: list[int], allowed: set[int]) -> list[int]:
    """One user, by ids and loops."""
    numbers = {item: n for n, item in enumerate(who.item_ids.values.tolist())}
    known = Ragged.of([[numbers[item] for item in history if item in numbers]])
    able = np.array([item in allowed for item in numbers])
    users = np.array([who.user_ids.values.tolist().index(user)], dtype=np.int32)
    best = who.top_k(Queries(users, known), K, candidates=able).items[0]
    return [who.item_ids.values.tolist()[n] for n in best if n >= 0]


def test_both_are_asked_of_what_both_know(new: Bundle, old: Bundle) -> None:
    run = finished_run()
    found = ask_both(new, old, run, K)
    dataset, split = load_data(Command.finished(run).run)
    names, ids = dataset.user_ids.values.tolist(), dataset.item_ids.values.tolist()
    both = [new.recommender(), old.recommender()]
    allowed = set(ids)
    for who in both:
        allowed &= set(who.item_ids.values[who.offered].tolist())
    rows = pd.DataFrame({"user": split.log.users, "item": split.log.items, "part": split.parts})
    place = 0
    for user, mine in rows.groupby("user"):
        held_out = {ids[item] for item in mine[mine["part"] == Part.TEST]["item"]} & allowed
        history = [ids[item] for item in mine[mine["part"] != Part.TEST]["item"]]
        if names[user] in NEW_USERS or not held_out:
            continue
        assert {ids[item] for item in found.truth[place]} == held_out
        for who, lists in zip(both, found.lists, strict=True):
            expected = answer(who, names[user], history, allowed)
            assert [ids[item] for item in lists[place] if item >= 0] == expected
        place += 1
    assert place == len(found.truth) >= 30 and found.n_items == len(allowed) <= 27


def test_what_one_of_them_learnt_judges_nothing(new: Bundle, old: Bundle) -> None:
    with pytest.raises(DataError, match=r"0 of 3\d users .* neither learnt from, too few"):
        judge_bundles_on(new, old, finished_run(early=True))  # it was training to the new one


def test_few_users_judge_nothing(new: Bundle, old: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    n_users = judge_bundles_on(new, old, finished_run()).users
    monkeypatch.setattr(gate, "ENOUGH", n_users + 1)
    with pytest.raises(DataError, match=rf"{n_users} of 40 users .* \(expected {n_users + 1}"):
        judge_bundles_on(new, old, finished_run())
