"""Why a user gets an item: the score in shares, in catalogue ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.errors import ConfigError, DataError
from recsys.index.live import LiveIndex, vectors_of
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.explain import Share, adds_up, history_drops, item_shares, user_shares
from recsys.towers.two_tower import TwoTower

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a score is made of.

    Attributes:
        user_id: who asks.
        item_id: what for.
        score: the cosine of their vectors.
        taken: whether the user has taken the item already: its own history then speaks for it.
        exact: whether ``item`` holds shares that sum to the score; otherwise what the score loses
            without a part.
        item: what the item's id and contents do.
        user: what the score loses without the whole history, and without what else is known.
        history: columns ``item_id`` and ``drop``: what the score loses without that item of the
            history; the largest first.
        nearest: columns ``item_id`` and ``cosine``: the items of the history nearest to the item.
    """

    user_id: Any
    item_id: Any
    score: float
    taken: bool
    exact: bool
    item: list[Share]
    user: list[Share]
    history: pd.DataFrame
    nearest: pd.DataFrame


def explain(
    recommender: Recommender,
    user_id: Any,
    item_id: Any,
    *,
    past: Iterable[Any] | None = None,
    k: int = 10,
) -> Explanation:
    """Say why a user gets an item, or why not.

    Args:
        recommender: of two towers.
        user_id: a known user.
        item_id: any item that has a vector.
        past: items of the history that are left out, one by one; every one that the towers read
            when not given.
        k: how many items of the history are told at most.

    Raises:
        DataError: an id is unknown, the item has no vector or is a newcomer that the towers do not
            place, or an item of ``past`` is not in the history that the towers read.
        ConfigError: the recommender has no towers, or k is below 1.
    """
    ranker = recommender.ranker
    if not isinstance(ranker, TwoTowerRanker):
        raise ConfigError(f"{ranker.name} has no item vectors; why needs two-tower")
    if k < 1:
        raise ConfigError(f"why: k = {k}, expected at least 1")
    towers = ranker.towers
    if towers.dim != towers.config.dim:
        raise ConfigError(
            f"why: index.dim = {towers.dim} serves cut vectors, of which no shares are told; ask a "
            "run without index.dim"
        )
    (user,) = recommender.user_ids.numbers([user_id]).tolist()
    (item,) = recommender.item_ids.numbers([item_id]).tolist()
    if not ranker.scorable[item]:
        raise DataError(
            f"why: item {str(item_id)!r} has no vector: no training rows and no content; expected "
            "an item that was learnt from, or with content"
        )
    if isinstance(ranker.index, LiveIndex) and item in ranker.index.numbers:
        raise DataError(
            f"why: item {str(item_id)!r} was added or changed since the bundle was made; rebuild "
            "the bundle first (`recsys items BUNDLE --rebuild`)"
        )
    if towers.newcomers is not None and not towers.items.known[item]:
        raise DataError(
            f"why: item {str(item_id)!r} was not learnt from: its content is placed beside the "
            "towers, and its score is not told in shares; expected an item with training rows"
        )
    past_of_user = recommender.histories.take(np.array([user]))
    history = past_of_user.values
    left_out = _left_out(recommender, towers, user_id, history, past)
    users = np.array([user], dtype=np.int32)
    (query,) = towers.user_vectors(users, past_of_user)
    (vector,) = vectors_of(ranker.index, np.array([item]))
    drops = history_drops(towers, user, past_of_user, left_out, vector)
    liked = np.unique(history[history != item])
    cosines = vectors_of(ranker.index, liked) @ vector
    return Explanation(
        user_id=recommender.user_ids.ids(np.array([user])).tolist()[0],
        item_id=recommender.item_ids.ids(np.array([item])).tolist()[0],
        score=float(query @ vector),
        taken=item in history,
        exact=adds_up(towers),
        item=item_shares(towers, _asked_of_towers(towers, query, vector), item),
        user=user_shares(towers, user, past_of_user, vector),
        history=_largest(recommender, left_out, drops, "drop", k),
        nearest=_largest(recommender, liked, cosines, "cosine", k),
    )


def _asked_of_towers(
    towers: TwoTower, query: NDArray[np.float32], item: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a query asks of the item tower alone, ``(d,)``: newcomers widen and scale vectors.

    All else of a known item's vector meets zeros in the query.
    """
    own = slice(towers.config.dim)
    asked: NDArray[np.float32] = query[own] * np.linalg.norm(item[own])
    return asked


def _left_out(
    recommender: Recommender,
    towers: TwoTower,
    user_id: Any,
    history: NDArray[np.int32],
    past: Iterable[Any] | None,
) -> NDArray[np.int32]:
    """The distinct items, ``(k,)``, whose part in the history is asked for."""
    read = history[-towers.config.history :]
    if past is None:
        return np.unique(read)
    wanted = list(past)
    items = recommender.item_ids.numbers(wanted)
    for asked, item in zip(wanted, items, strict=True):
        if item not in history:
            raise DataError(
                f"why: item {str(asked)!r} is not in the history of user {str(user_id)!r}; "
                f"expected one of its {len(read)} items; ask without --past to see them"
            )
        if item not in read:
            raise DataError(
                f"why: item {str(asked)!r} is too long ago; the towers read the last {len(read)} "
                f"items of user {str(user_id)!r} (towers.history)"
            )
    return np.unique(items)


def _largest(
    recommender: Recommender,
    items: NDArray[np.int32],
    values: NDArray[np.float32],
    name: str,
    k: int,
) -> pd.DataFrame:
    """The k items of the largest values, as a table."""
    order = np.argsort(-values, kind="stable")[:k]
    return pd.DataFrame({"item_id": recommender.item_ids.ids(items[order]), name: values[order]})
