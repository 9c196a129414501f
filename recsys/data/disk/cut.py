"""The parts of a split, some users at a time, and the arrays that training reads."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import SplitConfig
from recsys.data import protocols
from recsys.data.disk.judge import Groups
from recsys.data.disk.pieces import in_order
from recsys.data.interactions import Interactions
from recsys.data.mapped import LOG_KINDS, ArrayWriter, LogWriter, log_writer
from recsys.data.moments import check_moments, moments_of
from recsys.data.parts import Parts, ties_of
from recsys.data.splits import ABOUT, MAPPED, PARTS
from recsys.data.stored_parts import STORED
from recsys.errors import ConfigError
from recsys.files import remove_folder, write_json

__all__ = ["CAN_CUT", "Numbers", "cutter", "nth_smallest", "write_arrays"]

CAN_CUT = ("user-time", "leave-last-out", "global-time")
BINS = 1 << 20  # of a histogram of times

Cut = Callable[[Interactions], Parts]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Numbers:
    """What the numbers of a data set are, by those of the first pass; -1: nothing is left of it.

    Attributes:
        users: int32 ``(n,)``, rising but for -1.
        items: int32 ``(n,)``.
        n_users: of the data set.
        n_items: of the data set.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    n_users: int
    n_items: int


def cutter(groups: Groups, n: int, config: SplitConfig) -> Cut:
    """What gives rows of some users, with all that these have, their parts.

    Args:
        groups: all rows: global-time looks for its moments in them.
        n: how many there are.
        config: which protocol.

    Raises:
        ConfigError: the protocol needs the whole log at once, or moments that there are not.
        DataError: too many rows share a moment.
    """
    fractions = (config.test_fraction, config.validation_fraction)
    match config.protocol:
        case "user-time":
            return lambda log: protocols.user_time(log, *fractions)
        case "leave-last-out":
            return protocols.leave_last_out
        case "global-time":
            check_moments(groups.time_kind)

            def times() -> Iterator[NDArray[np.int64]]:
                for number in range(len(groups)):
                    yield groups.pieces.get(number)["time"]

            moments = moments_of(
                n,
                lambda place: nth_smallest(times, place),
                lambda moment: sum(int((block < moment).sum()) for block in times()),
                fractions,
                (config.folds, config.fold),
            )
            return lambda log: moments.parts(log.times)
    raise ConfigError(
        f'data.storage = "disk": split.protocol = "{config.protocol}" needs the whole log in '
        f'memory; take one of {", ".join(CAN_CUT)}, or storage = "memory"'
    )


def nth_smallest(blocks: Callable[[], Iterator[NDArray[np.int64]]], place: int) -> int:
    """The value at a place, counted from 0, of all values in order: by histograms, some passes."""
    spans = [(int(block.min()), int(block.max())) for block in blocks() if len(block)]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    while low < high:
        width = (high - low) // BINS + 1
        counts = np.zeros((high - low) // width + 1, dtype=np.int64)
        for block in blocks():
            inside = block[(block >= low) & (block <= high)]
            counts += np.bincount((inside - low) // width, minlength=len(counts))
        behind = np.cumsum(counts)
        number = int(np.searchsorted(behind, place, side="right"))
        place -= int(behind[number - 1]) if number else 0
        low, high = low + number * width, min(low + (number + 1) * width - 1, high)
    return low


def write_arrays(
    groups: Groups,
    numbers: Numbers,
    config: SplitConfig,
    cut: Cut,
    folders: tuple[Path, Path],
    *,
    weighed: bool,
) -> None:
    """Write the log and its split, as `Dataset.load` and `Split.load` map them.

    Args:
        groups: the rows that are kept, by user, time and row.
        numbers: of the data set.
        config: the protocol.
        cut: see `cutter`.
        folders: of the log, and of the data set, which gets the split.
        weighed: whether a weight is not 1.
    """
    by_item = ties_of(config.protocol) == "item"
    log_folder, folder = folders

    def work(number: int) -> _Written:
        return _cut_group(groups.pieces.get(number), numbers, cut, by_item=by_item)

    reordered = False
    with ExitStack() as stack:
        whole = stack.enter_context(log_writer(log_folder, weighed=weighed))
        again = stack.enter_context(log_writer(folder / MAPPED / "log", weighed=weighed))
        stored: dict[str, LogWriter] = {
            name: stack.enter_context(log_writer(folder / MAPPED / name, weighed=weighed))
            for name in STORED
        }
        parts_file = ArrayWriter((folder / MAPPED / PARTS).open("w+b"), np.int8)
        stack.callback(parts_file.close)
        for done in in_order(work, range(len(groups))):
            reordered |= done.ordered is not done.rows
            whole.add(done.rows)
            again.add(done.ordered)
            parts_file.add(done.parts)
            for name, rows in done.stored.items():
                stored[name].add(rows)
    if not reordered:
        remove_folder(folder / MAPPED / "log")  # it is the data set's
    about: dict[str, Any] = {
        "protocol": config.protocol,
        "cold_item_numbers": {"validation": [], "test": []},
        "rows": whole.n,
        "reordered": reordered,
        "sizes": {name: writer.n for name, writer in stored.items()},
    }
    write_json(folder / ABOUT, about)


@dataclass(frozen=True, eq=False)
class _Written:
    """What is written of a group: its rows, the same in the order of the split, and its parts."""

    rows: Columns
    ordered: Columns
    parts: Parts
    stored: dict[str, Columns]


def _cut_group(rows: NDArray[Any], numbers: Numbers, cut: Cut, *, by_item: bool) -> _Written:
    columns = {
        "users": numbers.users[rows["user"]],
        "items": numbers.items[rows["item"]],
        "times": rows["time"].copy(),
        "weights": np.ones(len(rows), np.float32),
        "rows": rows["row"].copy(),
    }
    if "weight" in (rows.dtype.names or ()):
        columns["weights"] = rows["weight"].astype(LOG_KINDS["weights"])
    order, ordered = _by_item(columns) if by_item else None, columns
    if order is not None:
        ordered = {name: values.take(order) for name, values in columns.items()}
    parts, stored = _parts_of(ordered, numbers, cut), {}
    for name, kept in STORED.items():
        places = np.flatnonzero(np.isin(parts, list(kept)))
        stored[name] = {column: values.take(places) for column, values in ordered.items()}
    return _Written(columns, ordered, parts, stored)


def _parts_of(columns: Columns, numbers: Numbers, cut: Cut) -> Parts:
    """Cut rows of some users; a protocol looks at these users only."""
    users = columns["users"]
    first = int(users[0]) if len(users) else 0
    n_users = int(users[-1]) - first + 1 if len(users) else 0
    own = {**columns, "users": users - np.int32(first)}
    return cut(Interactions(**own, n_users=n_users, n_items=numbers.n_items))


def _by_item(columns: Columns) -> NDArray[np.int64] | None:
    """The order by user, time, item and row of rows by user, time and row; None: the same."""
    users, times = columns["users"], columns["times"]
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    if not same.any():
        return None
    order = np.arange(len(users))
    runs = np.concatenate([[0], np.cumsum(~same)])
    several = np.flatnonzero(np.append(same, False) | np.append(False, same))
    order[several] = several[np.lexsort((several, columns["items"][several], runs[several]))]
    return None if bool((order == np.arange(len(order))).all()) else order
