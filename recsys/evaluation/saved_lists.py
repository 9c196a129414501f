"""The lists that a run was measured on, read again: ``rankings/MODEL-seed-N.parquet``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.arrow import read_parquet
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.errors import ArtifactError
from recsys.evaluation.certainty import Measured
from recsys.evaluation.metrics import METRICS, judge
from recsys.evaluation.slices import Lists

__all__ = ["measure_lists", "read_list", "read_rankings", "truth_rows"]


def read_rankings(
    folder: Path, user_ids: UserIds, item_ids: ItemIds, k: int, *, longest: int = 0
) -> dict[str, dict[int, NDArray[np.int32]]]:
    """Read all lists of a folder: model -> seed -> items, ``(n_users, k)``; see `read_list`.

    Models and seeds come in the order of their names and numbers; none where there is no folder.
    """
    found: dict[str, dict[int, NDArray[np.int32]]] = {}
    names = [(*path.stem.rpartition("-seed-")[::2], path) for path in folder.glob("*.parquet")]
    for model, seed, path in sorted((m, int(s), p) for m, s, p in names if s.isdecimal()):
        found.setdefault(model, {})[seed] = read_list(path, user_ids, item_ids, k, longest=longest)
    return found


def read_list(
    path: Path, user_ids: UserIds, item_ids: ItemIds, k: int, *, longest: int = 0
) -> NDArray[np.int32]:
    """Read one ranking: item numbers of every user, best first, ``(n_users, k)``, -1 where empty.

    Args:
        path: parquet with ``user_id, rank, item_id``, rank 1 first.
        user_ids: whose lists are wanted; others in the file are left out.
        item_ids: what the lists hold.
        k: places that are read.
        longest: places that somebody's list must have at least.

    Raises:
        ArtifactError: the file lacks a column, names an item that is not known, or a user's list
            has an item twice or other ranks than 1 to its length; or all lists are too short.
    """
    table = read_parquet(path)
    lacking = {"user_id", "rank", "item_id"} - set(table.column_names)
    if lacking:
        raise ArtifactError(f"{path}: lacks the columns {sorted(lacking)}; evaluate again")
    users = user_ids.find(table["user_id"].to_numpy())
    wanted = users >= 0
    users, ranks = users[wanted], table["rank"].to_numpy()[wanted]
    items = item_ids.find(table["item_id"].to_numpy()[wanted])
    if why := _broken(users, items, ranks, user_ids, longest):
        raise ArtifactError(f"{path}: {why}; evaluate again")
    lists = np.full((len(user_ids), k), -1, dtype=np.int32)
    read = ranks <= k
    lists[users[read], ranks[read] - 1] = items[read]
    return lists


def _broken(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ranks: NDArray[Any],
    user_ids: UserIds,
    longest: int,
) -> str | None:
    """What is wrong with the rows ``(n,)`` of a file, if anything."""
    if (items < 0).any():
        return f"{(items < 0).sum():,} rows of items that the data do not know"
    if not np.issubdtype(ranks.dtype, np.integer):
        return f"ranks of type {ranks.dtype}, expected whole numbers"
    order, lengths = np.lexsort((ranks, users)), np.bincount(users)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    wrong = ranks[order] != np.arange(len(ranks)) - starts + 1
    if wrong.any():
        (user,) = user_ids.ids(users[order][wrong][:1])
        return f"ranks of user {user} are not 1 to the length of the list, each once"
    twice = np.ones(len(items), dtype=np.bool_)
    pairs = users.astype(np.int64) * (items.max(initial=0) + 1) + items
    twice[np.unique(pairs, return_index=True)[1]] = False
    if twice.any():
        (user,) = user_ids.ids(users[twice][:1])
        return f"the list of user {user} has an item twice"
    if ranks.max(initial=0) < longest:
        return f"no list is longer than {ranks.max(initial=0)}, expected {longest}"
    return None


def measure_lists(lists: Lists, truth: Ragged, metrics: Sequence[str]) -> Measured:
    """Measure lists by accuracy: model -> seed -> metric -> value of each user ``(u,)``.

    Args:
        lists: model -> seed -> items of the ``u`` users, ``(u, k)``.
        truth: the items that were right for each of them, ``u`` rows.
        metrics: such as ``"ndcg@10"``.
    """
    return {
        model: {seed: _measure(items, truth, metrics) for seed, items in per_seed.items()}
        for model, per_seed in lists.items()
    }


def _measure(
    items: NDArray[np.integer[Any]], truth: Ragged, metrics: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    judged = judge(items, truth)
    wanted = [(metric, *metric.split("@")) for metric in metrics]
    return {metric: METRICS[name](judged, int(k)) for metric, name, k in wanted}


def truth_rows(table: Any, user_ids: UserIds, item_ids: ItemIds) -> Ragged:
    """Return the held-out items of ``report/truth.parquet``, in number order, ``n_users`` rows.

    Raises:
        DataError: an id is none of those given.
    """
    users = user_ids.numbers(table["user_id"].to_numpy())
    items = item_ids.numbers(table["item_id"].to_numpy())
    order = np.lexsort((items, users))
    lengths = np.bincount(users, minlength=len(user_ids))
    return Ragged(np.concatenate([[0], np.cumsum(lengths)]), items[order])
