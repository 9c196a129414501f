"""Where is a model good, and for whom is it bad? Means over slices, gaps between groups.

Slices of users average what `recsys.evaluation.metrics` gives each user. Slices of held-out rows
look at each row by itself: with the true item of row r in place p_r of its user's list,

    hit@k  = [p_r <= k]                     gain@k = [p_r <= k] / log2(p_r + 1)

so that ``gain`` is the NDCG that the row would have were it its user's only one; both lie in
[0, 1]. The mean of a slice is over its rows, whoever's they are.

Every interval is a percentile bootstrap over users, who are drawn with all their rows; in each
draw a group is made of those of its own users that were drawn. Values are means over seeds.

Where nothing at all was found, no draw finds anything either; the upper bound is then that of
Clopper & Pearson (1934) for none of n users, ``1 - 0.025 ** (1 / n)``.

The gap of a grouping is the largest less the smallest mean of its groups. With the deviations
``e_g`` of the groups' means in a draw from those measured, and c the 95 % quantile of
``max_g e_g - min_g e_g``, its interval is ``gap - c`` (at least 0) to ``gap + c``: no two groups
differ by more from what was measured, whichever turn out largest and smallest (the reasoning of
Tukey's range test). An interval that begins at 0 means: no difference that could be told.

Whether a slice is served worse than all together is asked of many slices at once. Its two-sided p
is that of ``d / s`` under the normal distribution, d being the mean of the slice less that of all,
and s the larger of two standard errors: that of d over the draws, and that of the mean over all N
units times ``sqrt(N / n)``, which n units would have with the spread of all (the few users of a
slice of whom none, or one, got anything right look more alike than they are). The p values are
corrected by Holm over the slices looked at (`SliceReport.worst`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from recsys.data.tasks import Task
from recsys.evaluation.certainty import LEVEL, Interval, interval, user_weights
from recsys.evaluation.groups import Grouping, Unit, users_of_units
from recsys.evaluation.metrics import judge, ndcg, recall
from recsys.evaluation.slice_report import DRAWS, NAMES, Gap, Slice, SliceReport

__all__ = ["Lists", "measure_slices"]

Lists = Mapping[str, Mapping[int, NDArray[np.integer[Any]]]]  # model -> seed -> items (u, k_max)

ROUNDING = 1e-12
FEWEST_DRAWS = 250
MOST_SUMMED = 5_000_000_000  # values, over all draws: a minute; then draws are fewer
ROWS = 100_000  # held-out rows looked up in lists at a time
Columns = tuple[str, str]  # model and metric


def measure_slices(
    lists: Lists, task: Task, groupings: Sequence[Grouping], *, k: int = 10, seed: int = 0
) -> SliceReport:
    """Measure models over groups.

    Memory: a block of draws x users, and draws x (groups x models x 2).

    Args:
        lists: model -> seed -> item numbers of ``task.users``, best first, ``(u, >= k)``; -1 is an
            empty place.
        task: the users and the held-out rows.
        groupings: of the users or held-out rows of this task.
        k: length of list to measure at.
        seed: of the draws.
    """
    values = {unit: _unit_values(unit, lists, task, k) for unit in NAMES}
    everybody = [Grouping.whole(unit, task) for unit in NAMES]
    tables = [
        _Table.of(grouping, task, np.column_stack(list(values[grouping.unit].values())))
        for grouping in (*everybody, *groupings)
    ]
    whole = sparse.hstack([table.sums for table in tables], format="csc").T.tocsr()
    draws_made = min(DRAWS, max(FEWEST_DRAWS, MOST_SUMMED // whole.nnz))
    weights = user_weights(len(task.users), draws_made, seed)
    drawn = np.concatenate([(whole @ block.T).T for block in weights])
    starts = np.cumsum([0, *(table.sums.shape[1] for table in tables)])
    slices: list[list[Slice]] = []
    gaps: list[Gap] = []
    whole_of: dict[Unit, _Whole] = {}
    for table, start, stop in zip(tables, starts[:-1], starts[1:], strict=True):
        columns = list(values[table.grouping.unit])
        means, draws = table.means(drawn[:, start:stop])
        all_units = whole_of.setdefault(
            table.grouping.unit, _Whole(table.totals[0, 0], means[0], draws[:, 0])
        )
        slices.append(_slices(table, columns, means, draws, all_units))
        gaps += _gaps(table.grouping, columns, means, draws)
    overall = tuple(one for group in slices[: len(NAMES)] for one in group)
    rest = tuple(one for group in slices[len(NAMES) :] for one in group)
    left_out = {grouping.name: grouping.left_out for grouping in groupings if grouping.left_out}
    return SliceReport(overall, rest, tuple(gaps), left_out, k, draws_made)


@dataclass(frozen=True, eq=False)
class _Table:
    """Sums of a grouping by user: ``(u, g * (1 + c))``, per group the units and the c columns."""

    grouping: Grouping
    sums: sparse.csr_matrix
    totals: NDArray[np.float64]  # the same over all users, (g, 1 + c)
    users: NDArray[np.int64]  # (g,)

    @classmethod
    def of(cls, grouping: Grouping, task: Task, values: NDArray[np.float64]) -> "_Table":
        units, groups = grouping.codes.row_numbers, grouping.codes.values
        users = users_of_units(task, grouping.unit)[units]
        width, n_groups = 1 + values.shape[1], len(grouping.labels)
        cells = np.column_stack([np.ones(len(units)), values[units]]).ravel()
        columns = (groups[:, None].astype(np.int64) * width + np.arange(width)).ravel()
        shape = (len(task.users), n_groups * width)
        sums = sparse.csr_matrix((cells, (np.repeat(users, width), columns)), shape)
        pairs = np.unique(groups * np.int64(len(task.users)) + users)
        counts = np.bincount(pairs // max(len(task.users), 1), minlength=n_groups)
        totals = np.asarray(sums.sum(axis=0)).astype(np.float64).reshape(n_groups, width)
        return cls(grouping, sums, totals, counts)

    def means(self, drawn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means ``(g, c)``, and in each draw ``(d, g, c)``: NaN where nobody of a group is."""
        draws = drawn.reshape(len(drawn), *self.totals.shape)
        units = np.where(draws[..., :1] > 0, draws[..., :1], np.nan)
        return self.totals[:, 1:] / self.totals[:, :1], draws[..., 1:] / units


@dataclass(frozen=True, eq=False)
class _Whole:
    """All units: how many, their means ``(c,)``, and these in each draw ``(d, c)``."""

    n: float
    means: NDArray[np.float64]
    draws: NDArray[np.float64]

    def p(
        self, n: NDArray[np.float64], means: NDArray[np.float64], draws: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Two-sided p of ``n`` ``(g,)`` units with these means ``(g, c)``, draws ``(d, g, c)``."""
        apart = means - self.means
        drawn = np.nanstd(draws - self.draws[:, None], axis=0)
        alike = self.draws.std(axis=0) * np.sqrt(self.n / n)[:, None]
        errors = np.maximum(np.maximum(drawn, alike), ROUNDING)
        found: NDArray[np.float64] = 2 * stats.norm.sf(np.abs(apart) / errors)
        return found


def _slices(
    table: _Table,
    columns: Sequence[Columns],
    means: NDArray[np.float64],
    draws: NDArray[np.float64],
    whole: _Whole,
) -> list[Slice]:
    found = []
    p = whole.p(table.totals[:, 0], means, draws)
    for group, label in enumerate(table.grouping.labels):
        users, count = int(table.users[group]), int(table.totals[group, 0])
        metrics: dict[str, dict[str, Interval]] = {}
        differs: dict[str, float] = {}
        for c, (model, metric) in enumerate(columns):
            of_group = draws[:, group, c]
            seen = of_group[~np.isnan(of_group)]
            value = interval(float(means[group, c]), seen)
            if value.mean == 0:
                value = value._replace(high=1 - ((1 - LEVEL) / 2) ** (1 / users))
            metrics.setdefault(model, {})[metric] = value
            differs.setdefault(model, float(p[group, c]))  # by the first metric
        name, unit = table.grouping.name, table.grouping.unit
        found.append(Slice(name, label, unit, users, count, metrics, differs))
    return found


def _gaps(
    grouping: Grouping,
    columns: Sequence[Columns],
    means: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> Iterable[Gap]:
    if len(grouping.labels) < 2:
        return
    for c, (model, metric) in enumerate(columns):
        largest, smallest = int(means[:, c].argmax()), int(means[:, c].argmin())
        gap = float(means[largest, c] - means[smallest, c])
        errors = draws[..., c] - means[:, c]
        spread = np.nanmax(errors, axis=1) - np.nanmin(errors, axis=1)
        slack = float(np.quantile(spread, LEVEL))
        found = Interval(gap, max(0.0, gap - slack), gap + slack)
        labels = grouping.labels
        yield Gap(grouping.name, model, metric, labels[largest], labels[smallest], found)


def _unit_values(
    unit: Unit, lists: Lists, task: Task, k: int
) -> dict[Columns, NDArray[np.float64]]:
    """Model and metric -> value of each user ``(u,)`` or held-out row ``(t,)``, over seeds."""
    found = {}
    for model, per_seed in lists.items():
        of_seeds = [
            _of_users(items, task, k) if unit == "users" else _of_rows(items, task, k)
            for items in per_seed.values()
        ]
        for place, name in enumerate(NAMES[unit]):
            found[model, f"{name}@{k}"] = np.mean([pair[place] for pair in of_seeds], axis=0)
    return found


def _of_users(
    items: NDArray[np.integer[Any]], task: Task, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    judged = judge(items, task.truth.histories().take(task.users))
    return ndcg(judged, k), recall(judged, k)


def _of_rows(
    items: NDArray[np.integer[Any]], task: Task, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and hit of each held-out row, ``(t,)``; looked up in blocks of rows."""
    users = users_of_units(task, "rows")
    gain = np.zeros(len(users))
    for start in range(0, len(users), ROWS):
        block = slice(start, start + ROWS)
        found = items[users[block], :k] == task.truth.items[block, None]
        gain[block] = np.where(found.any(axis=1), 1 / np.log2(found.argmax(axis=1) + 2), 0.0)
    return gain, (gain > 0).astype(np.float64)
