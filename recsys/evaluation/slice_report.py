"""What the slices and gaps of an evaluation say: the worst one, as json and as markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from recsys.evaluation.certainty import LEVEL, Interval, holm
from recsys.evaluation.groups import Unit

__all__ = ["DRAWS", "NAMES", "Gap", "Slice", "SliceReport", "Worst"]

DRAWS = 2_000  # of the bootstrap; fewer where users and slices are many
ENOUGH = 30  # users: with fewer a slice is shown, but not called the worst
SINGLE = (
    "Intervals are of each slice by itself, not corrected for there being several. The worst slice "
    "is, of those that are clearly worse than all together, the one whose upper bound is the "
    "smallest share of the mean over all. gain@k of a held-out row is 1 / log2(rank + 1), and 0 "
    "beyond rank k; hit@k says whether it is among the first k."
)
NAMES: dict[Unit, tuple[str, str]] = {"users": ("ndcg", "recall"), "rows": ("gain", "hit")}


@dataclass(frozen=True)
class Slice:
    """What models did for some users or held-out rows.

    Attributes:
        grouping: such as ``"history length"``.
        value: such as ``"3 to 8"``.
        unit: what the means are over.
        users: whose these are.
        count: how many users or rows.
        metrics: model -> metric such as ``"gain@10"`` -> mean with its interval.
        p: model -> of no difference from all together by the first metric, two-sided; not corrected
            for the number of slices.
    """

    grouping: str
    value: str
    unit: Unit
    users: int
    count: int
    metrics: dict[str, dict[str, Interval]]
    p: dict[str, float]


class Worst(NamedTuple):
    """The slice that a model serves worst.

    Attributes:
        slice: clearly worse than all together.
        value: the model's figure there.
        overall: its figure for all.
        p: of no difference, corrected for all slices looked at.
    """

    slice: Slice
    value: Interval
    overall: Interval
    p: float


@dataclass(frozen=True)
class Gap:
    """How far the groups of a grouping lie apart, for one model and metric."""

    grouping: str
    model: str
    metric: str
    largest: str
    smallest: str
    gap: Interval  # the mean is the gap as measured


@dataclass(frozen=True)
class SliceReport:
    """All slices and gaps.

    Attributes:
        overall: all users, and all held-out rows.
        slices: in the order of the groupings.
        gaps: of groupings with at least two groups.
        left_out: grouping -> groups that are not shown.
        k: length of list.
        draws: of the bootstrap.
    """

    overall: tuple[Slice, ...]
    slices: tuple[Slice, ...]
    gaps: tuple[Gap, ...]
    left_out: dict[str, int]
    k: int
    draws: int = DRAWS

    @property
    def looked_at(self) -> list[Slice]:
        """The slices of enough users to be called the worst: at least 30."""
        return [one for one in self.slices if one.users >= ENOUGH]

    def worst(self, model: str) -> Worst | None:
        """The slice that a model serves worst.

        Of the slices that are worse than all together by a p that is corrected for the number of
        slices looked at (Holm), the one whose upper bound is the smallest share of the model's mean
        over all; None where there is no such slice.
        """
        whole = {one.unit: one.metrics[model] for one in self.overall}
        found: list[tuple[float, Worst]] = []
        corrected = holm([one.p[model] for one in self.looked_at])
        for one, p in zip(self.looked_at, corrected, strict=True):
            name = f"{NAMES[one.unit][0]}@{self.k}"
            value, overall = one.metrics[model][name], whole[one.unit][name]
            if p <= 1 - LEVEL and value.mean < overall.mean:
                found.append((value.high / overall.mean, Worst(one, value, overall, p)))
        return min(found, key=lambda entry: entry[0])[1] if found else None

    def worst_line(self, model: str) -> str:
        """The same in one sentence."""
        worst, n = self.worst(model), len(self.looked_at)
        if worst is None:
            return (
                f"No slice is served clearly worse than all together by {model} "
                f"(Holm over {n} slices)."
            )
        one, value, overall, p = worst
        least = "< 0.0001" if p < 0.0001 else f"{p:.4f}"
        return (
            f"Worst slice of {model}: {one.grouping} {one.value}, {one.users:,} users: "
            f"{NAMES[one.unit][0]}@{self.k} {value.mean:.4f} ({value.low:.4f} to {value.high:.4f}) "
            f"against {overall.mean:.4f} overall (p {least} after Holm over {n} slices)."
        )

    def as_dict(self, model: str) -> dict[str, Any]:
        """The content of ``slices.json``; the worst slice is that of a model."""
        worst = self.worst(model)
        return {
            "schema": 1,
            "k": self.k,
            "level": LEVEL,
            "draws": self.draws,
            "looked_at": len(self.looked_at),
            "overall": [_plain(one) for one in self.overall],
            "slices": [_plain(one) for one in self.slices],
            "gaps": [vars(gap) | {"gap": gap.gap._asdict()} for gap in self.gaps],
            "left_out": self.left_out,
            "worst": None
            if worst is None
            else {"model": model, "p_holm": worst.p} | _plain(worst.slice),
        }

    def markdown(self, model: str) -> str:
        """The content of ``slices.md``: a table of slices, one of gaps, the worst slice."""
        models = list(self.overall[0].metrics)
        lines = [f"# Slices\n\n{self.worst_line(model)}\n", f"{SINGLE}\n"]
        for unit, names in NAMES.items():
            shown = [one for one in (*self.overall, *self.slices) if one.unit == unit]
            heads = [f"{model} {name}@{self.k}" for model in models for name in names]
            lines.append(f"## By {'user' if unit == 'users' else 'held-out row'}\n")
            lines += _head(["slice", "value", *dict.fromkeys(("users", unit)), *heads])
            for one in shown:
                cells = [_text(value) for of in one.metrics.values() for value in of.values()]
                counts = [f"{n:,}" for n in {"users": one.users, unit: one.count}.values()]
                lines.append(_line([one.grouping, one.value, *counts, *cells]))
            lines.append("")
        lines.append("## Gaps between groups\n")
        lines += _head(["slice", "model", "metric", "largest", "smallest", "gap"])
        for gap in self.gaps:
            ends = [gap.largest, gap.smallest, _text(gap.gap)]
            lines.append(_line([gap.grouping, gap.model, gap.metric, *ends]))
        lines += [f"\nNot shown of {name}: {n:,} groups." for name, n in self.left_out.items()]
        return "\n".join(lines) + "\n"


def _plain(one: Slice) -> dict[str, Any]:
    metrics = {
        model: {name: value._asdict() for name, value in of.items()}
        for model, of in one.metrics.items()
    }
    return vars(one) | {"metrics": metrics}


def _head(heads: Sequence[str]) -> list[str]:
    return [_line(heads), f"|{'---|' * len(heads)}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _text(value: Interval) -> str:
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"
