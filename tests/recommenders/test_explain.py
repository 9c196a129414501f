"""Why a user gets an item: shares that sum, knock-outs that are what leaving out does."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from suites.beside import KEPT, Beside

from recsys.config import TowersConfig
from recsys.content.encoder import ContentBlock
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError, DataError
from recsys.index.exact import ExactIndex
from recsys.recommenders.explain import explain
from recsys.recommenders.popularity import fit_popularity
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.why import why_json, why_tables
from recsys.towers.two_tower import TwoTower

ITEMS, USERS = [f"t-{n}" for n in range(9)], ["anna", "berta", "carla"]
TAKEN = [[0, 1, 2, 3, 4, 5, 6], [2, 4], []]
BARE, WITHOUT_TEXT = 8, 5  # neither rows nor content; rows, but no text
ADDITIVE, OTHERS = ["sum"], ["mlp", "gated", "product", "attention"]

encoders = pytest.mark.parametrize("encoder", ["means", "transformer"])


def make(**settings: object) -> Recommender:
    """Random towers behind a recommender."""
    random = np.random.default_rng(0)
    blocks = []
    for name, absent in (("text", [WITHOUT_TEXT, BARE]), ("image", [BARE])):
        present = ~np.isin(np.arange(9), absent)
        vectors = random.normal(size=(9, 4)).astype(np.float32) * present[:, None]
        blocks.append(ContentBlock(name, vectors, present))
    known = np.arange(9) < 7
    given = {"dim": 8, "history": 5, "heads": 2, **settings}
    towers = TwoTower(TowersConfig.model_validate(given), len(USERS), blocks, known, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in towers.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    users = np.repeat(np.arange(3), [len(row) for row in TAKEN]).astype(np.int32)
    items = np.array([item for row in TAKEN for item in row], dtype=np.int32)
    n = np.arange(len(items))
    times = 60_000 * n**4  # minutes and days
    log = Interactions(users, items, times, np.ones(len(n), np.float32), n, 3, 9)
    return Recommender(
        TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors())),
        UserIds(np.array(USERS, dtype=object)),
        ItemIds(np.array(ITEMS, dtype=object)),
        log,
        pd.DataFrame({"title": [f"Tea [{n}]" for n in range(9)]}),
    )


def towers_of(recommender: Recommender) -> TwoTower:
    assert isinstance(recommender.ranker, TwoTowerRanker)
    return recommender.ranker.towers


def cosine(recommender: Recommender, user: int, history: list[int], item: int) -> float:
    """The score after a history, by the towers themselves."""
    towers = towers_of(recommender)
    query = towers.user_vectors(np.array([user], np.int32), Ragged.of([history]))[0]
    return float(query @ towers.item_vectors()[item])


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("item", ["t-7", "t-5", "t-0"])
def test_exact_shares_sum_to_the_score(members: int, item: str) -> None:
    recommender = make(members=members)
    why = explain(recommender, "anna", item)
    assert why.exact
    assert [share.name for share in why.item] == ["id", "content.text", "content.image", "base"]
    assert sum(share.value for share in why.item) == pytest.approx(why.score, abs=1e-5)
    assert why.score == pytest.approx(cosine(recommender, 0, TAKEN[0], ITEMS.index(item)), abs=1e-5)
    there = {share.name: share.there for share in why.item}
    assert there["id"] == (item != "t-7")
    assert there["content.text"] == (item != "t-5")
    assert next(s.value for s in why.item if s.name == "id") == 0 or item != "t-7"


@pytest.mark.parametrize("fusion", [*ADDITIVE, *OTHERS])
def test_beside_newcomers_shares_are_those_of_the_towers(fusion: str) -> None:
    alone = make(fusion=fusion)
    before = explain(alone, "anna", "t-0")
    towers = towers_of(alone)
    towers.newcomers = Beside()  # type: ignore[assignment]
    wider = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    recommender = replace(alone, ranker=wider)
    after = explain(recommender, "anna", "t-0")
    assert after.score == pytest.approx(KEPT * before.score, abs=1e-6)
    wanted = [KEPT * share.value for share in before.item]
    assert [share.value for share in after.item] == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(DataError, match="'t-7' was not learnt from"):
        explain(recommender, "anna", "t-7")


def test_a_share_grows_with_its_part_alone() -> None:
    """What is added to a text along the user's vector is the text's, and nobody else's."""
    recommender = make(members=1)
    towers = towers_of(recommender)
    query = towers.user_vectors(np.array([0], np.int32), Ragged.of([TAKEN[0]]))[0]
    before = explain(recommender, "anna", "t-5").item
    with torch.no_grad():
        towers.items.contents[0].get_parameter("missing").add_(100 * torch.from_numpy(query))
    vectors = ExactIndex.build(towers.item_vectors())
    after = explain(
        replace(recommender, ranker=TwoTowerRanker(towers, vectors)), "anna", "t-5"
    ).item
    assert after[1].value > 0.95 > before[1].value
    assert all(abs(share.value) < 0.05 for share in [after[0], *after[2:]])


@pytest.mark.parametrize("fusion", OTHERS)
def test_other_fusions_say_what_is_lost_without_a_part(fusion: str) -> None:
    recommender = make(fusion=fusion)
    towers = towers_of(recommender)
    why = explain(recommender, "anna", "t-2")
    assert not why.exact
    text, known = towers.items.contents[0], towers.items.known
    for number, mask in ((0, known), (1, text.get_buffer("present"))):
        mask[2] = False
        lost = why.score - cosine(recommender, 0, TAKEN[0], 2)
        mask[2] = True
        assert why.item[number].value == pytest.approx(lost, abs=1e-5)
        assert abs(lost) > 1e-4
    missing = {share.name: share for share in explain(recommender, "anna", "t-5").item}
    assert missing["content.text"].value == pytest.approx(0, abs=1e-6)
    assert not missing["content.text"].there


@encoders
@pytest.mark.parametrize("history_items", ["own", "shared"])
def test_what_a_past_item_carries_is_what_leaving_it_out_costs(
    encoder: str, history_items: str
) -> None:
    recommender = make(encoder=encoder, history_items=history_items)
    why = explain(recommender, "anna", "t-7")
    drops = dict(zip(why.history["item_id"], why.history["drop"], strict=True))
    assert sorted(drops) == ["t-2", "t-3", "t-4", "t-5", "t-6"], "what the towers read"
    assert why.history["drop"].is_monotonic_decreasing
    for out in (2, 4, 6):
        left = [item for item in TAKEN[0][-5:] if item != out]
        lost = why.score - cosine(recommender, 0, left, 7)
        assert drops[ITEMS[out]] == pytest.approx(lost, abs=1e-5)
    whole = next(share.value for share in why.user if share.name == "history")
    assert whole == pytest.approx(why.score - cosine(recommender, 0, [], 7), abs=1e-5)
    one = explain(recommender, "anna", "t-7", past=["t-4"]).history
    assert one["item_id"].tolist() == ["t-4"]
    assert float(one["drop"].iloc[0]) == pytest.approx(drops["t-4"], abs=1e-6)


def test_past_items_are_left_out_with_their_times() -> None:
    recommender = make(encoder="transformer", time_gaps=True)
    towers, known = towers_of(recommender), recommender.known
    why = explain(recommender, "anna", "t-7")
    left = known.take((known.items != 4) | (known.users != 0)).histories()
    anna = np.array([0], dtype=np.int32)
    item = towers.item_vectors()[7]
    whole = float((towers.user_vectors(anna, recommender.histories.take(anna)) @ item)[0])
    assert why.score == pytest.approx(whole, abs=1e-6)
    assert abs(whole - cosine(recommender, 0, TAKEN[0], 7)) > 1e-3, "times count here"
    # The towers read five items: without one of them no older one takes its place.
    without = float((towers.user_vectors(anna, left.take(anna).last(4)) @ item)[0])
    drop = why.history.set_index("item_id")["drop"]["t-4"]
    assert drop == pytest.approx(whole - without, abs=1e-5)
    (share,) = why.user
    assert share.value == pytest.approx(whole - cosine(recommender, 0, [], 7), abs=1e-5)


def test_the_users_id_is_knocked_out_where_there_is_one() -> None:
    assert [share.name for share in explain(make(), "anna", "t-7").user] == ["history"]
    recommender = make(user_id=True)
    share = explain(recommender, "anna", "t-7").user[1]
    lost = cosine(recommender, 0, TAKEN[0], 7) - cosine(recommender, -1, TAKEN[0], 7)
    assert share.value == pytest.approx(lost, abs=1e-5)
    assert abs(lost) > 1e-4


def test_the_nearest_are_those_that_were_taken_but_not_the_item_itself() -> None:
    recommender = make()
    vectors = towers_of(recommender).item_vectors()
    why = explain(recommender, "anna", "t-3", k=3)
    assert why.taken
    cosines = {ITEMS[item]: float(vectors[item] @ vectors[3]) for item in TAKEN[0] if item != 3}
    best = sorted(cosines, key=lambda item: -cosines[item])[:3]
    assert why.nearest["item_id"].tolist() == best
    assert why.nearest["cosine"].tolist() == pytest.approx([cosines[i] for i in best], abs=1e-5)


def test_nobody_with_nothing_gets_an_answer_too() -> None:
    why = explain(make(), "carla", "t-1")
    assert len(why.history) == len(why.nearest) == 0
    assert why.user[0].value == pytest.approx(0, abs=1e-6)
    assert not why.user[0].there


@pytest.mark.parametrize(
    ("user", "item", "past", "message"),
    [
        ("anna", "t-7", ["t-8"], "'t-8' is not in the history of user 'anna'"),
        ("anna", "t-7", ["t-0"], "'t-0' is too long ago; the towers read the last 5 items"),
        ("anna", "t-7", ["nothing"], "unknown item ids, first: 'nothing'"),
        ("anna", "nothing", None, "unknown item ids, first: 'nothing'"),
        ("nobody", "t-7", None, "unknown user ids, first: 'nobody'"),
        ("anna", "t-8", None, "'t-8' has no vector: no training rows and no content"),
    ],
)
def test_what_cannot_be_explained_gets_one_clear_line(
    user: str, item: str, past: list[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        explain(make(), user, item, past=past)
    assert "\n" not in str(caught.value)


def test_only_towers_are_explained() -> None:
    recommender = make()
    popular = replace(recommender, ranker=fit_popularity(recommender.known))
    with pytest.raises(ConfigError, match="why needs two-tower"):
        explain(popular, "anna", "t-1")
    with pytest.raises(ConfigError, match="k = 0"):
        explain(recommender, "anna", "t-1", k=0)


@pytest.mark.parametrize(("fusion", "method"), [("sum", "exact"), ("gated", "knock-out")])
def test_tables_and_json_say_how_the_shares_were_found(fusion: str, method: str) -> None:
    recommender = make(fusion=fusion)
    why = explain(recommender, "anna", "t-5")
    told = json.loads(json.dumps(why_json(recommender, why)))
    assert told["item"]["method"] == method
    assert told["history"]["method"] == told["user"]["method"] == "knock-out"
    assert told["title"] == "Tea [5]"
    assert {row["item_id"] for row in told["nearest"]} == {"t-0", "t-1", "t-2", "t-3", "t-4", "t-6"}
    assert all(isinstance(row["drop"], float) for row in told["history"]["items"])
    if method == "exact":
        total = sum(part["value"] for part in told["item"]["parts"])
        assert total == pytest.approx(told["score"], abs=1e-5)
    shown = io.StringIO()
    Console(file=shown, width=120).print(why_tables(recommender, why))
    text = shown.getvalue()
    for words in (f"({method}", "content.text (missing)", "Tea [6]", "taken already"):
        assert words in text
