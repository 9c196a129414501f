"""Alarms: does training know what is asked, or is a figure too good to be true?

What breaks the promise of a protocol is refused; what may be meant so is a warning. Both name the
first five rows. That every row of the log plays one part is so by construction
(`recsys.data.splits`); here it is asked whether the parts keep past and future, and cold users and
items, apart.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import DataError
from recsys.evaluation.certainty import Measured
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.table import PerSeed
from recsys.recommenders.popularity import fit_popularity

__all__ = ["Leak", "fitted_leaks", "oracle_leaks", "refuse", "split_leaks", "wrong_figures"]

SHOWN = 5
ROUNDING = 1e-6
LATEST = np.iinfo(np.int64).max
TIMELESS = ("random", "cold-items")  # these promise nothing about time
OWN = ("column", "files")  # here the user has said which row is for what

Severity = Literal["refuse", "warn"]


class Leak(NamedTuple):
    """One alarm.

    Attributes:
        what: is wrong, in words.
        n: how many rows, users or items show it.
        examples: the first five of them.
        severity: ``"refuse"``: figures would be wrong; ``"warn"``: look before you believe them.
    """

    what: str
    n: int
    examples: tuple[str, ...]
    severity: Severity

    def __str__(self) -> str:
        more = ", ..." if self.n > len(self.examples) else ""
        return f"{self.what}: {self.n:,} ({', '.join(self.examples)}{more})"


def refuse(leaks: Sequence[Leak]) -> list[Leak]:
    """Raise the first alarm that is no mere warning; return the warnings.

    Raises:
        DataError: an alarm says so.
    """
    for leak in leaks:
        if leak.severity == "refuse":
            raise DataError(
                f"leak: {leak}; figures would be wrong: mend the log, the split or the lists"
            )
    return list(leaks)


def split_leaks(split: Split, user_ids: UserIds, item_ids: ItemIds) -> list[Leak]:
    """Look for the future, for pairs on both sides, and for cold users and items in training.

    - ``"global-time"``: a row is as late as the first row of a later part;
    - ``"user-time"``, ``"leave-last-out"``, ``"cold-users"``: a row is later than the first row
      that is held out of its user; of ``"column"`` and ``"files"`` this is a warning;
    - ``"cold-users"``, ``"cold-items"``: one that is drawn for the test is in training as well;
    - a user and item are in training and in the test: a warning, as such rows are not asked.

    Args:
        split: any; the ids are for the messages.
    """
    log, parts = split.log, split.parts
    test = parts == Part.TEST
    known = ~test & (parts != Part.LATER)  # rows behind a fold's window are not used
    severity: Severity = "warn" if split.protocol in OWN else "refuse"
    found: list[tuple[str, NDArray[np.bool_], Severity]] = []
    if split.protocol not in TIMELESS:
        train = np.isin(parts, (Part.TRAIN, Part.VALIDATION_HISTORY))
        later = _as_late(split, train, parts == Part.VALIDATION)
        found.append(("training rows later than what validation holds out", later, severity))
        later = _as_late(split, known, test)
        found.append(("known rows later than what the test holds out", later, severity))
    if split.protocol == "cold-users":
        cold = np.isin(parts, (Part.TEST, Part.TEST_HISTORY))
        warm = ~cold & np.isin(log.users, log.users[cold])
        found.append(("rows of cold users in training", warm, "refuse"))
    if split.protocol == "cold-items":
        warm = ~test & (
            (split.item_parts == Part.TEST)[log.items] | np.isin(log.items, log.items[test])
        )
        found.append(("rows of cold items in training", warm, "refuse"))
    pairs = log.users.astype(np.int64) * log.n_items + log.items
    twice = test & np.isin(pairs, pairs[known])
    found.append(("test rows whose user and item are in training too", twice, "warn"))
    return [
        Leak(what, int(wrong.sum()), _rows(log, wrong, user_ids, item_ids), how)
        for what, wrong, how in found
        if wrong.any()
    ]


def fitted_leaks(
    what: str, fitted: NDArray[np.bool_], trained: NDArray[np.bool_], ids: UserIds | ItemIds
) -> list[Leak]:
    """Look for users or items that encoders, scalers or reductions were fitted on without right.

    Args:
        what: was fitted, such as ``"encoders of items"``.
        fitted: on which they were, bool ``(n,)``, as recorded when it was done.
        trained: those with training rows, ``(n,)`` (`Split.trained_items`, ``trained_users``).
        ids: of these users or items.
    """
    wrong = np.flatnonzero(fitted & ~trained)
    if not len(wrong):
        return []
    shown = tuple(f"{ids.kind} {one}" for one in ids.ids(wrong[:SHOWN]))
    return [Leak(f"{what} fitted on what has no training row", len(wrong), shown, "refuse")]


def wrong_figures(
    reported: Mapping[str, PerSeed], measured: Measured, relevant: NDArray[np.int64]
) -> list[Leak]:
    """Look for figures of a report that no ranking can reach, or that its lists do not give.

    The most that a ranking can reach is what an ideal one does, the oracle of every slice: with n
    relevant items of a user, ``min(k, n) / n`` of recall@k, ``min(k, n) / k`` of precision@k, else
    1; and the mean of that over users.

    Args:
        reported: model -> seed -> metric -> the mean that the report gives.
        measured: model -> seed -> metric -> value of each user by the saved lists, ``(u,)``. What
            is in one of both only is passed over.
        relevant: how many items are relevant, ``(u,)``.
    """
    found = []
    for model, per_seed in measured.items():
        wrong = []
        for seed, per_user in per_seed.items():
            told = reported.get(model, {}).get(seed, {})
            for metric, values in per_user.items():
                most, by_lists = _most(metric, relevant), float(values.mean())
                value = told.get(metric, by_lists)
                where = f"seed {seed}: {metric} {value:.4f}"
                if not -ROUNDING <= value <= most + ROUNDING:  # NaN is not, either
                    wrong.append(f"{where}, no ranking can leave 0 to {most:.4f}")
                elif not abs(value - by_lists) <= ROUNDING:
                    wrong.append(f"{where}, its lists give {by_lists:.4f}")
        if wrong:
            what = f"{model}: figures of the report that cannot be"
            found.append(Leak(what, len(wrong), tuple(wrong[:SHOWN]), "refuse"))
    return found


def oracle_leaks(measured: Measured, task: Task, user_ids: UserIds, metric: str) -> list[Leak]:
    """Look for models that beat an oracle on cold items: their popularity among the test rows.

    Nobody knows how often an item without training rows will be taken, so a ranker by content that
    does better than that count has probably seen the rows. A warning: taste may well win over it.

    Args:
        measured: model -> seed -> metric -> value of each user of the task, ``(u,)``.
        task: of the protocol ``"cold-items"``.
        user_ids: for the messages.
        metric: such as ``"ndcg@10"``.
    """
    k = int(metric.split("@")[1])
    oracle = evaluate_ranker(fit_popularity(task.truth), task, ks=(k,)).per_user[metric]
    found = []
    for model, per_seed in measured.items():
        values = np.mean([per_user[metric] for per_user in per_seed.values()], axis=0)
        if values.mean() > oracle.mean():
            most = np.argsort(oracle - values, kind="stable")[:SHOWN]
            shown = tuple(f"user {one}" for one in user_ids.ids(task.users[most]))
            what = (
                f"{model}: {metric} {values.mean():.4f} on cold items beats their popularity among "
                f"the test rows ({oracle.mean():.4f}); users ahead of it"
            )
            found.append(Leak(what, int((values > oracle).sum()), shown, "warn"))
    return found


def _as_late(split: Split, early: NDArray[np.bool_], late: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of ``early`` that do not come before ``late``; masks of the log, ``(n,)``.

    A moment is one side of a global boundary only; a user may have taken several things in one.
    """
    log = split.log
    if split.protocol == "global-time":
        boundary = log.times[late].min(initial=LATEST)
        as_late: NDArray[np.bool_] = early & (log.times >= boundary)
        return as_late
    first = np.full(log.n_users, LATEST, dtype=np.int64)
    np.minimum.at(first, log.users[late], log.times[late])
    later: NDArray[np.bool_] = early & (log.times > first[log.users])
    return later


def _rows(
    log: Interactions, wrong: NDArray[np.bool_], user_ids: UserIds, item_ids: ItemIds
) -> tuple[str, ...]:
    first = np.flatnonzero(wrong)[:SHOWN]
    users, items = user_ids.ids(log.users[first]), item_ids.ids(log.items[first])
    named = zip(log.rows[first], users, items, strict=True)
    return tuple(f"row {row}: user {user}, item {item}" for row, user, item in named)


def _most(metric: str, relevant: NDArray[np.int64]) -> float:
    """The mean over users of what an ideal ranking reaches."""
    name, _, k = metric.partition("@")
    reached = np.minimum(int(k), relevant)
    if name == "recall":
        return float((reached / relevant).mean())
    return float((reached / int(k)).mean()) if name == "precision" else 1.0
