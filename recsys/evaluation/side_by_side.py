"""Runs of one configuration under several splits, in one table: values, ranks and agreement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from scipy import stats

__all__ = ["SideBySide"]

TWIN = "two-tower-exact"  # the same towers once more: it takes no rank from others


@dataclass(frozen=True)
class SideBySide:
    """What several runs of one configuration measured.

    Attributes:
        metric: that is shown, such as ``"ndcg@10"``.
        values: run -> model -> mean over seeds.
        spans: run -> model -> least and greatest of its seeds.
        users: run -> how many were asked.
        left_out: what could not be run -> why.
    """

    metric: str
    values: dict[str, dict[str, float]]
    spans: dict[str, dict[str, tuple[float, float]]]
    users: dict[str, int]
    left_out: dict[str, str]

    @classmethod
    def of(
        cls, reports: Mapping[str, Mapping[str, Any]], metric: str, left_out: Mapping[str, str]
    ) -> "SideBySide":
        """Take the figures out of reports (``metrics.json``) by the names of their runs."""
        values: dict[str, dict[str, float]] = {}
        spans: dict[str, dict[str, tuple[float, float]]] = {}
        for name, report in reports.items():
            models = {m: v for m, v in report["models"].items() if m != TWIN}
            values[name] = {model: found[metric] for model, found in models.items()}
            seeds = {m: [s[metric] for s in v["per_seed"].values()] for m, v in models.items()}
            spans[name] = {model: (min(found), max(found)) for model, found in seeds.items()}
        users = {name: report["data"]["evaluated_users"] for name, report in reports.items()}
        return cls(metric, values, spans, users, dict(left_out))

    @property
    def models(self) -> list[str]:
        """All that any run measured."""
        return list(dict.fromkeys(model for found in self.values.values() for model in found))

    def ranks(self, run: str) -> dict[str, int]:
        """Model -> its place in a run, 1 for the best; equal values share the better place."""
        found = self.values[run]
        return {model: 1 + sum(v > mine for v in found.values()) for model, mine in found.items()}

    def agreement(self, run: str) -> float | None:
        """Kendall's tau-b between a run's order of models and the first run's, in [-1, 1]."""
        first, other = self.values[next(iter(self.values))], self.values[run]
        both = [model for model in first if model in other]
        if len(both) < 2:
            return None
        tau = stats.kendalltau([first[m] for m in both], [other[m] for m in both]).statistic
        return None if np.isnan(tau) else float(tau)

    @property
    def ranked_in(self) -> tuple[str, ...]:
        """The runs that measured all models of the first one; mean ranks are over these.

        A place among fewer models, or over the easier runs only, would flatter.
        """
        first = self.values[next(iter(self.values))]
        return tuple(run for run, found in self.values.items() if set(first) <= set(found))

    def mean_rank(self, model: str) -> float | None:
        """Mean place among the models of the first run in `ranked_in`; None of another model."""
        first = self.values[next(iter(self.values))]
        if model not in first:
            return None
        runs = [self.values[run] for run in self.ranked_in]
        return float(np.mean([1 + sum(of[m] > of[model] for m in first) for of in runs]))

    def overall(self, model: str) -> tuple[float, float]:
        """Mean and standard deviation (of a sample; 0 of one) over the runs it is in."""
        values = np.array([found[model] for found in self.values.values() if model in found])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        return float(values.mean()), float(spread)

    @property
    def note(self) -> str | None:
        """What mean ranks are over, where they are not over all runs and models."""
        first = next(iter(self.values))
        if len(self.ranked_in) == len(self.values) and set(self.models) == set(self.values[first]):
            return None
        return (
            f"Mean rank: of the models of {first}, over the protocols that measured all of them: "
            f"{', '.join(self.ranked_in)}."
        )

    def rows(self, *, folds: bool) -> tuple[list[str], list[list[str]]]:
        """Headings and rows as text: value (rank) by run; of folds their mean and deviation too."""
        ranks = {run: self.ranks(run) for run in self.values}
        last = ["mean", "sd"] if folds else ["mean rank"]
        rows = []
        for model in self.models:
            cells = [
                f"{_short(found[model])} ({ranks[run][model]})" if model in found else "-"
                for run, found in self.values.items()
            ]
            mean, spread = map(_short, self.overall(model))
            rank = self.mean_rank(model)
            rows.append(
                [model, *cells, *([mean, spread] if folds else [f"{rank:.1f}" if rank else "-"])]
            )
        agreed = [self.agreement(run) for run in self.values]
        tau = ["-" if value is None else f"{value:.2f}" for value in agreed]
        rows.append(["tau with the first", *tau, *([""] * len(last))])
        rows.append(["users", *(f"{n:,}" for n in self.users.values()), *([""] * len(last))])
        return [self.metric, *self.values, *last], rows

    def table(self, *, folds: bool) -> Table:
        """The table for the terminal."""
        headings, rows = self.rows(folds=folds)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for place, heading in enumerate(headings):
            table.add_column(
                heading.replace("-", "-\n"),  # else 80 columns would cut it
                justify="right" if place else "left",
                no_wrap=not place,
            )
        for row in rows:
            table.add_row(*row)
        return table

    def markdown(self, *, folds: bool) -> str:
        """The table in markdown, with what was left out."""
        headings, rows = self.rows(folds=folds)
        lines = ["| " + " | ".join(row) + " |" for row in (headings, *rows)]
        lines.insert(1, "|---" + "|---:" * (len(headings) - 1) + "|")
        lines += ["", *([self.note] if self.note and not folds else [])]
        lines += [f"Left out: {name}: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines).rstrip() + "\n"

    def as_dict(self) -> dict[str, Any]:
        """All of it, json-able."""
        models = {}
        for model in self.models:
            mean, spread = self.overall(model)
            models[model] = {"mean": mean, "sd": spread, "mean_rank": self.mean_rank(model)}
        return {
            "metric": self.metric,
            "ranked_in": list(self.ranked_in),
            "runs": {
                run: {
                    "users": self.users[run],
                    "tau_with_first": self.agreement(run),
                    "models": {
                        model: {"value": value, "rank": rank, "seeds": list(self.spans[run][model])}
                        for (model, value), rank in zip(
                            found.items(), self.ranks(run).values(), strict=True
                        )
                    },
                }
                for run, found in self.values.items()
            },
            "models": models,
            "left_out": self.left_out,
        }


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")
