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

__all__ = ["measure_lists", "read_list", "read_rankings"]


def read_rankings(
    folder: Path, user_ids: UserIds, item_ids: ItemIds, k: int
) -> dict[str, dict[int, NDArray[np.int32]]]:
    """Read all lists of a folder: model -> seed -> items, ``(n_users, k)``; see `read_list`.

    Models and seeds come in the order of their names and numbers; none where there is no folder.
    """
    found: dict[str, dict[int, NDArray[np.int32]]] = {}
    names = [(*path.stem.rpartition("-seed-")[::2], path) for path in folder.glob("*.parquet")]
    for model, seed, path in sorted((m, int(s), p) for m, s, p in names if s.isdecimal()):
        found.setdefault(model, {})[seed] = read_list(path, user_ids, item_ids, k)
    return found


def read_list(path: Path, user_ids: UserIds, item_ids: ItemIds, k: int) -> NDArray[np.int32]:
    """Read one ranking: item numbers of every user, best first, ``(n_users, k)``, -1 where empty.

    Args:
        path: parquet with ``user_id, rank, item_id``, rank 1 first.
        user_ids: whose lists are wanted; others in the file are left out.
        item_ids: what the lists hold.
        k: places that are read.

    Raises:
        ArtifactError: the file lacks a column, or names an item that is not known.
    """
    table = read_parquet(path)
    lacking = {"user_id", "rank", "item_id"} - set(table.column_names)
    if lacking:
        raise ArtifactError(f"{path}: lacks the columns {sorted(lacking)}; evaluate again")
    users = user_ids.find(table["user_id"].to_numpy())
    items = item_ids.find(table["item_id"].to_numpy())
    ranks = table["rank"].to_numpy()
    if (items < 0).any() or (ranks < 1).any():
        raise ArtifactError(f"{path}: holds unknown items or ranks below 1; evaluate again")
    lists = np.full((len(user_ids), k), -1, dtype=np.int32)
    asked = (users >= 0) & (ranks <= k)
    lists[users[asked], ranks[asked] - 1] = items[asked]
    return lists


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
