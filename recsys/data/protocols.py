"""The protocols: each gives every row of a log the part it plays.

All are pure functions of a sorted log.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.moments import moments_of
from recsys.data.parts import Part, Parts, ceil_share, floor_share
from recsys.errors import ConfigError, DataError

__all__ = [
    "Part",
    "Parts",
    "cold_items",
    "cold_users",
    "given",
    "global_time",
    "hold_out_validation",
    "labels_of",
    "leave_last_out",
    "random_rows",
    "user_time",
]


def user_time(log: Interactions, test_fraction: float, validation_fraction: float) -> Parts:
    """Of each user's n rows the first ``ceil((1 - test_fraction) n)`` train, the rest test.

    Args:
        log: by user, time and item number; parts are in its order, shape ``(n,)``.
        test_fraction: in (0, 1).
        validation_fraction: of the training rows, see `hold_out_validation`.
    """
    counts = _rows_per_user(log.users, log.n_users)
    in_test = _from_end(log.users, counts) <= floor_share(counts, test_fraction)[log.users]
    parts = np.where(in_test, Part.TEST, Part.TRAIN).astype(np.int8)
    return hold_out_validation(log, parts, validation_fraction)


def hold_out_validation(log: Interactions, parts: Parts, fraction: float) -> Parts:
    """Move the last ``ceil(fraction m)`` of each user's m training rows to validation.

    A user keeps at least one training row: who has a single one does not validate.
    """
    training = np.flatnonzero(parts == Part.TRAIN)
    users = log.users[training]
    counts = _rows_per_user(users, log.n_users)
    held_out = np.minimum(ceil_share(counts, fraction), np.maximum(counts - 1, 0))
    result = parts.copy()
    result[training[_from_end(users, counts) <= held_out[users]]] = Part.VALIDATION
    return result


def leave_last_out(log: Interactions) -> Parts:
    """Each user's last row tests, the one before validates.

    The training row comes first: a user with two rows does not validate, one with one row does not
    test either.

    Args:
        log: by user, time and row of the file.
    """
    counts = _rows_per_user(log.users, log.n_users)
    place, of = _from_end(log.users, counts), counts[log.users]
    parts = np.full(len(log), Part.TRAIN, dtype=np.int8)
    parts[(place == 1) & (of >= 2)] = Part.TEST
    parts[(place == 2) & (of >= 3)] = Part.VALIDATION
    return parts


def global_time(
    log: Interactions,
    test_fraction: float,
    validation_fraction: float,
    folds: int = 1,
    fold: int = 1,
) -> Parts:
    """One moment for everybody: rows before it train, rows at or after it test.

    The boundary is the time of the row at place ``ceil((1 - test_fraction) n)`` of all n rows by
    time, counted from 0; rows of that same moment test too. The validation window is cut off the
    training rows in the same way, and ends where the test begins.

    With folds (rolling origin; Tashman, Out-of-sample tests of forecasting accuracy, 2000) the
    same test part is cut into windows of about as many rows each: fold i of n tests the rows with
    ``T_i <= time < T_(i+1)`` and has all rows before ``T_i`` to train and validate, where ``T_i``
    is the boundary of the share ``test_fraction (n - i + 1) / n``. Later rows are not used.

    Args:
        log: in any order; parts are in its order, shape ``(n,)``.
        test_fraction: in (0, 1).
        validation_fraction: of the training rows.
        folds: how many windows.
        fold: which of them tests, from 1.

    Raises:
        DataError: too many rows share a moment, so that nothing comes before a boundary, or in
            a window.
    """
    ordered = np.sort(log.times)
    moments = moments_of(
        len(ordered),
        lambda place: int(ordered[place]),
        lambda moment: int(np.searchsorted(ordered, moment)),
        (test_fraction, validation_fraction),
        (folds, fold),
    )
    return moments.parts(log.times)


def random_rows(
    log: Interactions, test_fraction: float, validation_fraction: float, seed: int
) -> Parts:
    """Shuffle all rows; the first ``floor(test_fraction n)`` test, the next ones validate.

    What is shuffled are the rows in file order, so that the draw does not depend on how ids sort.
    """
    n_test = floor_share(len(log), test_fraction)
    n_validation = ceil_share(len(log) - n_test, validation_fraction)
    shuffled = np.argsort(log.rows)[np.random.default_rng(seed).permutation(len(log))]
    parts = np.full(len(log), Part.TRAIN, dtype=np.int8)
    parts[shuffled[:n_test]] = Part.TEST
    parts[shuffled[n_test : n_test + n_validation]] = Part.VALIDATION
    return parts


def cold_items(
    catalogue_rows: NDArray[np.int64], test_fraction: float, validation_fraction: float, seed: int
) -> Parts:
    """Draw the items whose rows all test, then those whose rows all validate.

    The test draw is ``default_rng(seed).choice(n, int(test_fraction * n), replace=False)`` over the
    n rows of the catalogue; the validation draw takes ``ceil(validation_fraction m)`` of the m rows
    left, with the same generator. Items that the catalogue lacks are never drawn.

    Args:
        catalogue_rows: of each item its row in the catalogue, -1 for none, shape ``(n_items,)``.

    Returns:
        The part of each item, shape ``(n_items,)``; a row of the log takes that of its item.
    """
    n = int(catalogue_rows.max(initial=-1)) + 1
    parts = np.append(_draw_twice(n, test_fraction, validation_fraction, seed), Part.TRAIN)
    return parts[catalogue_rows].astype(np.int8)  # -1 reads the part appended last


def cold_users(
    log: Interactions, test_fraction: float, validation_fraction: float, seed: int
) -> Parts:
    """Draw users who are not learnt from; of their rows the first are given, the last asked for.

    Users are drawn like cold items. Of a drawn user's n rows the first
    ``ceil((1 - test_fraction) n)`` are history, given when the user is asked; the rest is asked.

    Args:
        log: by user, time and item number.
    """
    role = _draw_twice(log.n_users, test_fraction, validation_fraction, seed)[log.users]
    counts = _rows_per_user(log.users, log.n_users)
    asked = _from_end(log.users, counts) <= floor_share(counts, test_fraction)[log.users]
    parts = np.full(len(log), Part.TRAIN, dtype=np.int8)
    parts[role == Part.VALIDATION] = Part.VALIDATION_HISTORY
    parts[role == Part.TEST] = Part.TEST_HISTORY
    parts[(role == Part.VALIDATION) & asked] = Part.VALIDATION
    parts[(role == Part.TEST) & asked] = Part.TEST
    return parts


def given(log: Interactions, labels: NDArray[Any], validation_fraction: float) -> Parts:
    """The parts as a column or the files say; without validation rows, the last ones of training.

    Args:
        log: by user, time and item number.
        labels: ``"train"``, ``"validation"`` or ``"test"`` of each row of ``log``, shape ``(n,)``.

    Raises:
        DataError: a label is another one.
    """
    parts = np.full(len(log), -1, dtype=np.int8)
    for part in (Part.TRAIN, Part.VALIDATION, Part.TEST):
        parts[labels == part.name.lower()] = part
    if (parts < 0).any():
        wrong = np.flatnonzero(parts < 0)[0]
        raise DataError(
            f"row {log.rows[wrong]} of the log: its part is {labels[wrong]!r}, "
            "expected train, validation or test"
        )
    if (parts == Part.VALIDATION).any():
        return parts
    return hold_out_validation(log, parts, validation_fraction)


def labels_of(
    log: Interactions, labels: NDArray[np.object_] | None, rows: NDArray[np.int64]
) -> NDArray[Any]:
    """The label of each row of a log, ``(n,)``.

    Args:
        log: the same rows as those of the labels, in another order.
        labels: ``(n,)``.
        rows: of the log's files, that the labels are of, ``(n,)``.

    Raises:
        ConfigError: there are no labels.
    """
    if labels is None:
        raise ConfigError(
            "split: such a protocol needs a data set whose rows are labelled; "
            "read it with the [split] section that names the column or the files"
        )
    by_row = np.argsort(rows)
    found: NDArray[Any] = labels[by_row[np.searchsorted(rows, log.rows, sorter=by_row)]]
    return found


def _draw_twice(n: int, test_fraction: float, validation_fraction: float, seed: int) -> Parts:
    generator = np.random.default_rng(seed)
    parts = np.full(n, Part.TRAIN, dtype=np.int8)
    n_test = floor_share(n, test_fraction)
    parts[generator.choice(n, n_test, replace=False)] = Part.TEST
    left = np.flatnonzero(parts == Part.TRAIN)
    n_validation = ceil_share(len(left), validation_fraction)
    parts[generator.choice(left, n_validation, replace=False)] = Part.VALIDATION
    return parts


def _rows_per_user(users: NDArray[np.int32], n_users: int) -> NDArray[np.int64]:
    return np.bincount(users, minlength=n_users)


def _from_end(users: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row's place among its user's rows from the end, 1 for the last; users are sorted."""
    return np.cumsum(counts)[users] - np.arange(len(users))
