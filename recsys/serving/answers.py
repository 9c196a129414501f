"""Many users and newcomers answered at once: what MLflow and Spark ask."""

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender

__all__ = ["DEFAULT_K", "LARGEST_K", "answer_rows"]

DEFAULT_K = 10
LARGEST_K = 1_000

logger = logging.getLogger(__name__)


def answer_rows(recommender: Recommender, asked: pd.DataFrame) -> pd.DataFrame:
    """Recommend to every row of a table.

    Args:
        recommender: that answers.
        asked: columns ``user_id``, ``history`` (item ids, oldest first) and ``k`` (1 to 1,000; 10
            where it is missing); each may be absent. Where a row has a history, that counts.

    Returns:
        As many rows: ``item_id`` (texts) and ``score``, lists of at most k, best first. Both are
        empty where neither user nor history is known: one such row must not stop a job.

    Raises:
        DataError: a k is out of range, or no whole number.
    """
    ks = _ks(asked)
    users = _users(recommender, asked)
    histories = _histories(recommender, asked)
    described = np.array([history is not None for history in histories], dtype=bool)
    users[described] = -1
    known = np.flatnonzero(users >= 0)
    told = np.flatnonzero(described)
    answers: list[tuple[list[str], list[float]]] = [([], [])] * len(asked)
    past = Ragged.of([histories[row] or [] for row in told])
    for rows, queries in (
        (known, Queries(users[known], recommender.histories.take(users[known]))),
        (told, Queries(users[told], past)),
    ):
        if not len(rows):
            continue
        found = recommender.top_k(queries, int(ks[rows].max()), candidates=recommender.allowed())
        for row, items, scores in zip(rows.tolist(), found.items, found.scores, strict=True):
            best = items[: ks[row]]
            n = int((best >= 0).sum())
            item_ids = recommender.item_ids.ids(best[:n]).tolist()
            answers[row] = (list(map(str, item_ids)), scores[:n].tolist())
    nobody = len(asked) - len(known) - len(told)
    if nobody:
        logger.warning("%d of %d rows name nobody who is known: empty", nobody, len(asked))
    columns = list(zip(*answers, strict=True)) or [(), ()]
    return pd.DataFrame(dict(zip(("item_id", "score"), map(list, columns), strict=True)))


def _ks(asked: pd.DataFrame) -> NDArray[np.int64]:
    """How many items each row wants, ``(n,)``."""
    if "k" not in asked:
        return np.full(len(asked), DEFAULT_K)
    given = asked["k"].fillna(DEFAULT_K)
    ks = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~((ks >= 1) & (ks <= LARGEST_K) & (ks == np.floor(ks))))
    if len(wrong):
        raise DataError(
            f"k: {given.iloc[wrong[0]]} in row {wrong[0]:,}, expected a whole number from 1 to "
            f"{LARGEST_K:,}"
        )
    return ks.astype(np.int64)


def _users(recommender: Recommender, asked: pd.DataFrame) -> NDArray[np.int32]:
    """The number of each row's user, ``(n,)``; -1 where none is named or known."""
    users = np.full(len(asked), -1, dtype=np.int32)
    if "user_id" in asked:
        named = asked["user_id"].notna().to_numpy()
        users[named] = recommender.user_ids.find(asked["user_id"][named].to_list())
    return users


def _histories(recommender: Recommender, asked: pd.DataFrame) -> list[list[int] | None]:
    """The known items of each row's history; None where none is given, or nothing is known."""
    if "history" not in asked:
        return [None] * len(asked)
    histories: list[list[int] | None] = []
    for given in asked["history"]:
        if not isinstance(given, list | tuple | np.ndarray):  # missing: None or NaN
            histories.append(None)
            continue
        numbers: NDArray[Any] = recommender.item_ids.find(list(given))
        items = numbers[numbers >= 0].tolist()
        histories.append(None if len(given) and not items else items)
    return histories
