"""Who may get what: the same as a loop over users says, and never a mask per user."""

import itertools
import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from recsys.config import RecommendConfig, RerankConfig, RuleConfig
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.index.topk import TopK, top_k_of_scores
from recsys.recommenders.ranker import Abilities, Queries
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.rules import Rules

N_USERS, N_ITEMS = 30, 40
RANDOM = np.random.default_rng(0)
USERS = pd.DataFrame(
    {
        "age": pd.array(RANDOM.choice([10, 16, 40], N_USERS), dtype="Int64"),
        "country": RANDOM.choice(["AT", "FR", ""], N_USERS),
    }
)
USERS.loc[3, "age"] = pd.NA
ITEMS = pd.DataFrame(
    {
        "rating": RANDOM.choice(["G", "R", "PG"], N_ITEMS),
        "sold_in": RANDOM.choice(["AT|FR", "FR", "AT"], N_ITEMS),
        "stock": RANDOM.integers(0, 3, N_ITEMS),
    }
)
RULES = (
    RuleConfig(users="age < 18", items="rating != 'R'"),
    RuleConfig(users="age < 12", items="rating == 'G'"),
    RuleConfig(users="country == 'FR'", items="'FR' in sold_in"),
    RuleConfig(items="stock > 0"),
)
CONFIG = RecommendConfig(rules=RULES)


@dataclass(frozen=True, eq=False)
class Counting:
    """Ranks items by fixed scores of each user; keeps what it was asked."""

    asked: list[tuple[int, int]]
    name: str = "counting"

    @property
    def abilities(self) -> Abilities:
        return Abilities(new_users=True, new_items=False)

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        self.asked.append((len(queries), k))
        scores = -np.abs(np.arange(N_ITEMS) - queries.users[:, None]).astype(np.float32)
        return top_k_of_scores(scores, k, exclude=exclude, candidates=candidates)


def recommender_of(config: RecommendConfig, users: pd.DataFrame = USERS) -> Recommender:
    taken = np.arange(N_USERS, dtype=np.int32)
    n = np.arange(N_USERS)
    log = Interactions(taken, taken, n, np.ones(N_USERS, np.float32), n, N_USERS, N_ITEMS)
    user_ids, item_ids = UserIds(np.arange(100, 100 + N_USERS)), ItemIds(np.arange(N_ITEMS))
    return Recommender(Counting([]), user_ids, item_ids, log, ITEMS, users=users, config=config)


def may(age: float, country: str, item: int) -> bool:
    """The rules once more, of one user and item."""
    row = ITEMS.iloc[item]
    return (
        not (age < 18 and row["rating"] == "R")
        and not (age < 12 and row["rating"] != "G")
        and not (country == "FR" and "FR" not in row["sold_in"].split("|"))
        and row["stock"] > 0
    )


def test_everybody_gets_the_best_of_what_their_rules_allow() -> None:
    recommender = recommender_of(CONFIG)
    table = recommender.recommend(k=5, exclude=[0, 1])
    for user in range(N_USERS):
        age = USERS["age"][user]
        age = float("nan") if age is pd.NA else float(age)
        left = [i for i in range(2, N_ITEMS) if i != user and may(age, USERS["country"][user], i)]
        best = sorted(left, key=lambda item: (abs(item - user), item))[:5]
        assert table["item_id"][table["user_id"] == 100 + user].tolist() == best
    asked = recommender.ranker.asked  # type: ignore[attr-defined]
    assert len(asked) <= 6, "a question for each set of rules, not for each user"
    assert sum(users for users, _ in asked) == N_USERS


def test_groups_are_a_partition_whose_masks_are_the_rules_of_each() -> None:
    rules = Rules.of(CONFIG, ITEMS, USERS)
    everybody = np.array(list(itertools.product([False, True], repeat=4)))[[3, 5, 3, 0, 15, 5]]
    seen = np.zeros(len(everybody), dtype=int)
    for rows, items in rules.groups(everybody):
        seen[rows] += 1
        texts = [rule.items for rule in RULES]
        for row in rows:
            masks = [rules.allowed(texts[n]) for n in np.flatnonzero(everybody[row])]
            assert (items is None) == (not masks)
            if items is not None:
                assert np.array_equal(items, np.all(masks, axis=0))
    assert seen.tolist() == [1] * len(everybody)


def test_somebody_new_is_judged_by_what_they_tell() -> None:
    recommender = recommender_of(CONFIG)
    for told, expected in (({"age": 10}, 10.0), ({"age": 16}, 16.0), ({}, float("nan"))):
        new = recommender.recommend(history=[5], attributes=told or None, k=40)
        allowed = [item for item in range(N_ITEMS) if item != 5 and may(expected, "", item)]
        assert sorted(new["item_id"]) == allowed
    assert len(recommender.recommend(attributes={"country": "FR"}, k=40)), "rules alone read it"
    with pytest.raises(ConfigError, match=r"age < 18: column 'age' holds 'x'; expected numbers"):
        recommender.recommend(attributes={"age": "x"})
    with pytest.raises(ConfigError, match="job, but the towers read"):
        recommender.recommend(attributes={"job": "x"})


def test_where_narrows_what_the_config_and_candidates_allow() -> None:
    recommender = recommender_of(RecommendConfig(where="stock > 0"))
    stocked = set(np.flatnonzero(ITEMS["stock"] > 0))
    rated = set(np.flatnonzero(ITEMS["rating"] == "G"))
    found = recommender.recommend([100], k=99, exclude_seen=False, where="rating == 'G'")
    assert set(found["item_id"]) == stocked & rated
    some = recommender.recommend(
        [100], k=99, exclude_seen=False, candidates=range(20), where="rating == 'G'", exclude=[3]
    )
    assert set(some["item_id"]) == stocked & rated & set(range(20)) - {3}
    with pytest.raises(ConfigError, match="the catalogue has no column 'ratin'"):
        recommender.recommend([100], where="ratin == 'G'")


def test_masks_are_kept_and_cannot_be_changed() -> None:
    rules = Rules.of(CONFIG, ITEMS, USERS)
    first = rules.allowed("stock > 1")
    assert rules.allowed("stock > 1") is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True
    for number in range(70):
        rules.allowed(f"stock > {number}")
    assert rules.allowed("stock > 1") is not first, "but not all that anybody ever asked for"


def test_what_cannot_be_is_named_by_its_key(caplog: pytest.LogCaptureFixture) -> None:
    for change, message in (
        ({"where": "stock >"}, r"recommend\.where: stock >: cannot be read"),
        ({"where": "prize > 2"}, r"recommend\.where: prize > 2: the catalogue has no column"),
        ({"rules": (RuleConfig(users="old", items="stock > 0"),)}, r"rules\.0\.users: old: the us"),
        ({"rules": (RULES[0], RuleConfig(items="f(2)"))}, r"recommend\.rules\.1\.items: f\(2\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            Rules.of(RecommendConfig().model_copy(update=change), ITEMS, USERS)
    with caplog.at_level(logging.WARNING):
        Rules.of(RecommendConfig(where="stock > 9"), ITEMS, USERS)
    assert "recommend.where: no item meets stock > 9" in caplog.text


def test_re_ranking_chooses_among_what_the_rules_allow() -> None:
    config = RecommendConfig(rules=RULES, rerank=RerankConfig(dampening=5.0, pool=12))
    plain, reranked = recommender_of(CONFIG), recommender_of(config)
    deep = plain.recommend(k=12)
    table = reranked.recommend(k=4)
    for user, found in table.groupby("user_id"):
        pool = deep[deep["user_id"] == user].set_index("item_id")["score"]
        assert pool.loc[found["item_id"]].tolist() == found["score"].tolist(), "the ranker's scores"
        untaken = [item for item in pool.index if item >= N_USERS]  # popular are those taken once
        expected = [*untaken, *(item for item in pool.index if item < N_USERS)][:4]
        assert found["item_id"].tolist() == expected
    with pytest.raises(ConfigError, match="diversity: counting has no item vectors"):
        _ = replace(reranked, config=RecommendConfig(rerank=RerankConfig(diversity=0.5))).reranker
