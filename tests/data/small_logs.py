"""Small random logs and data sets of them, for the tests of splits and tasks."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from recsys.data.dataset import Counts, Dataset, TimeKind
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.protocols import Part
from recsys.data.splits import Split

N_USERS, N_ITEMS = 8, 15
CATALOGUE_ROWS = np.random.default_rng(5).permutation(N_ITEMS).astype(np.int64)


class Row(NamedTuple):
    row: int
    user: int
    item: int
    time: int


def dataset_of(
    rows: list[Row], labels: dict[int, str] | None = None, time_kind: TimeKind = "timestamp"
) -> Dataset:
    """A data set whose user and item ids are disjoint and do not start at 0."""
    by_user = sorted(rows, key=lambda row: (row.user, row.time, row.row))
    log = Interactions(
        np.array([row.user for row in by_user], dtype=np.int32),
        np.array([row.item for row in by_user], dtype=np.int32),
        np.array([row.time for row in by_user], dtype=np.int64),
        np.ones(len(rows), dtype=np.float32),
        np.array([row.row for row in by_user], dtype=np.int64),
        N_USERS,
        N_ITEMS,
    )
    nothing = pd.DataFrame()
    return Dataset(
        UserIds(np.arange(101, 101 + N_USERS)),
        ItemIds(np.arange(7001, 7001 + N_ITEMS)),
        log,
        nothing,
        CATALOGUE_ROWS,
        nothing,
        time_kind,
        nothing,
        Counts(len(rows), len(rows)),
        labels=None
        if labels is None
        else np.array([labels[row.row] for row in by_user], dtype=object),
    )


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Distinct pairs of user and item, in a shuffled file, many at the same time; user 7 has none.

    Drawn by seed: lists that Hypothesis draws are so short that hardly a user would be tested.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 70))
    pairs = generator.choice((N_USERS - 1) * N_ITEMS, n, replace=False)
    times = generator.integers(0, draw(st.sampled_from([1, 3, 6, 50])), n)
    return [
        Row(10 + row, int(pair) // N_ITEMS, int(pair) % N_ITEMS, int(time))
        for row, (pair, time) in enumerate(zip(pairs, times, strict=True))
    ]


def parts_of(made: Split) -> dict[int, str]:
    """Row of the log -> name of its part."""
    names = [Part(part).name for part in made.parts]
    return dict(zip(made.log.rows.tolist(), names, strict=True))
