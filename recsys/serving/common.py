"""Two bundles of different logs, asked the same now: a champion of an older log can be judged too.

The gate compares the lists that bundles were measured on, which takes one log. Where the log has
grown, both are asked anew for what a run held out, about users and items that both know, with the
histories of that run; each answers through its own towers and its own index.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.arrow import read_parquet
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import Bundle
from recsys.stages.command import Command
from recsys.stages.evaluate import TRUTH
from recsys.stages.prepare import load_data

__all__ = ["Common", "ask_both"]

BLOCK = 256  # users asked at a time


@dataclass(frozen=True, eq=False)
class Common:
    """What both bundles answered.

    Attributes:
        lists: of the candidate and of the champion, items ``(u, k)`` numbered as the run does.
        truth: what was held out of each of the ``u`` users and both can recommend.
        n_items: that both can recommend.
        of: users that the run holds something out of.
    """

    lists: tuple[NDArray[np.int32], NDArray[np.int32]]
    truth: Ragged
    n_items: int
    of: int


def ask_both(candidate: Bundle, champion: Bundle, run: Path, k: int) -> Common:
    """Ask two bundles for what a run held out for its test.

    Held-out rows that one of the two may have learnt from are left out: those in its log, but for
    what it held out itself.

    Args:
        candidate: one bundle.
        champion: the other.
        run: a finished run; its log may be newer than theirs.
        k: how many items each user gets.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    command = Command.finished(run)
    dataset, split = load_data(command.run)
    task = split.task("test", candidates=command.run.config.evaluation.candidates)
    bundles = (candidate, champion)
    recommenders = [bundle.recommender() for bundle in bundles]
    users = [who.user_ids.find(dataset.user_ids.values) for who in recommenders]
    items = [who.item_ids.find(dataset.item_ids.values) for who in recommenders]
    allowed = task.candidates.copy()
    for who, own in zip(recommenders, items, strict=True):
        allowed &= (own >= 0) & who.offered[own]
    fair = allowed[task.truth.items]
    for bundle, who, own in zip(bundles, recommenders, users, strict=True):
        fair &= (own >= 0)[task.truth.users] & ~_learnt(bundle, who, dataset, task.truth)
    truth = task.truth.take(fair)
    asked, histories = np.unique(truth.users), task.history.histories()
    lists = [
        _lists(who, own_users[asked], histories.take(asked), own_items, allowed, k)
        for who, own_users, own_items in zip(recommenders, users, items, strict=True)
    ]
    rows = truth.histories().take(asked)
    return Common((lists[0], lists[1]), rows, int(allowed.sum()), len(task.users))


def _learnt(
    bundle: Bundle, who: Recommender, dataset: Dataset, rows: Interactions
) -> NDArray[np.bool_]:
    """Which rows ``(n,)`` are in a bundle's log and were not held out of what it learnt."""
    held_out = read_parquet(bundle.folder / "report" / TRUTH)
    log = _pairs(dataset, who.user_ids.ids(who.known.users), who.item_ids.ids(who.known.items))
    columns = (held_out[name].to_numpy() for name in ("user_id", "item_id"))
    learnt = np.setdiff1d(log, _pairs(dataset, *columns))
    asked = rows.users.astype(np.int64) * rows.n_items + rows.items
    found: NDArray[np.bool_] = np.isin(asked, learnt)
    return found


def _pairs(dataset: Dataset, user_ids: NDArray[Any], item_ids: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each pair that the data set knows both of."""
    users, items = _of(dataset.user_ids, user_ids), _of(dataset.item_ids, item_ids)
    known = (users >= 0) & (items >= 0)
    return users[known] * len(dataset.item_ids) + items[known]


def _of(ids: UserIds | ItemIds, wanted: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each id ``(n,)``, -1 where it is unknown; each distinct id is read once."""
    distinct, places = np.unique(wanted, return_inverse=True)
    return ids.find(distinct)[places].astype(np.int64)


def _lists(
    who: Recommender,
    users: NDArray[np.int32],
    histories: Ragged,
    own: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    k: int,
) -> NDArray[np.int32]:
    """What a recommender answers, ``(u, k)``, in the numbers of the run; -1 where it ends.

    Args:
        who: is asked.
        users: in its own numbers, ``(u,)``.
        histories: in the run's numbers, u rows.
        own: the recommender's number of each of the run's items, -1: unknown.
        allowed: which of the run's items may be answered.
        k: how many.
    """
    back = np.full(len(who.item_ids) + 1, -1, dtype=np.int32)  # the last place: for no item
    back[own[own >= 0]] = np.flatnonzero(own >= 0)
    candidates = np.zeros(len(who.item_ids), dtype=np.bool_)
    candidates[own[allowed]] = True
    known = histories.where(own[histories.values] >= 0)
    known = Ragged(known.indptr, own[known.values], known.times)
    found = np.empty((len(users), k), dtype=np.int32)
    for start in range(0, len(users), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(users)))
        queries = Queries(users[rows], known.take(rows))
        found[rows] = back[who.top_k(queries, k, candidates=candidates).items]
    return found
