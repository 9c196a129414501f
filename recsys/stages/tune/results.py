"""What a search found: its trials, the best setting as a config, and which parameters mattered."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from recsys.config import RangeConfig
from recsys.config_file import to_toml
from recsys.files import atomic_file
from recsys.stages.tune.charts import draw_search
from recsys.stages.tune.space import Space
from recsys.stages.tune.study import WHY
from recsys.stages.tune.trial import EPOCHS, SECONDS

__all__ = ["FILES", "Results", "ValueRow", "print_results", "write_results"]

FILES = TRIALS, BEST, TABLE, CHART = "trials.parquet", "best.toml", "table.md", "tune.png"
FEWEST = 4  # finished trials that importance is computed of: a forest of fewer says nothing
SHOWN, COLUMNS = 10, 5  # best trials in the file and in the terminal
OPTIMISTIC = (
    "The best of many scores on validation is partly luck: `recsys run` of best.toml, with several "
    "--seeds, says on the test part what it is worth."
)


class ValueRow(NamedTuple):
    """How the finished trials did that had one value of a parameter; the others varied."""

    value: Any
    finished: int
    best: float
    median: float
    low: float  # quartiles
    high: float


@dataclass(frozen=True, eq=False)
class Results:
    """What came out.

    Attributes:
        trials: one row a trial: number, state, score (of finished ones), epochs, seconds, why, and
            its setting.
        keys: what was searched.
        best: the finished trial with the highest score, if any.
        setting: of that trial: key -> value as a config has it.
        importance: key -> share of the scores' variance by fANOVA (Hutter, Hoos and Leyton-Brown,
            "An efficient approach for assessing hyperparameter importance", ICML 2014), over
            finished trials; empty where there are too few.
        by_value: key of listed values -> a row for each value.
    """

    trials: pd.DataFrame
    keys: tuple[str, ...]
    best: FrozenTrial | None
    setting: Mapping[str, Any]
    importance: dict[str, float]
    by_value: Mapping[str, list[ValueRow]]

    @property
    def finished(self) -> pd.DataFrame:
        """The trials with a score, the best first."""
        done = self.trials[self.trials["state"] == "complete"]
        return done.sort_values(["score", "number"], ascending=[False, True])

    def files(self, folder: Path) -> list[Path]:
        """The files in the search's folder."""
        return [folder / name for name in FILES]

    def as_dict(self) -> dict[str, Any]:
        """The same for json."""
        counts = self.trials["state"].value_counts().to_dict() if len(self.trials) else {}
        best = None
        if self.best is not None:
            best = {"number": self.best.number, "score": self.best.value, **self.setting}
        return {
            "metric": "validation ndcg@10",
            "trials": counts,
            "best": best,
            "importance": dict(self.importance),
            "by_value": {
                key: [row._asdict() for row in rows] for key, rows in self.by_value.items()
            },
        }


def write_results(folder: Path, study: optuna.Study, space: Space) -> Results:
    """Write the table of trials, the best config, what mattered and a chart into a folder."""
    results = _results(study, space)
    with atomic_file(folder / TRIALS) as partial:
        frame = results.trials.copy()
        for key in results.keys:  # a column of lists and words has no type of its own
            if frame[key].dtype == object:
                frame[key] = frame[key].map(str)
        frame.to_parquet(partial, index=False)
    if results.best is None:
        return results
    with atomic_file(folder / BEST) as partial:
        partial.write_text(_best_toml(results.best, space), encoding="utf-8")
    with atomic_file(folder / TABLE) as partial:
        partial.write_text(_markdown(results), encoding="utf-8")
    with atomic_file(folder / CHART) as partial:
        draw_search(results.trials, results.importance, space).savefig(
            partial, format="png", dpi=130
        )
    return results


def _results(study: optuna.Study, space: Space) -> Results:
    trials = [one for one in study.get_trials(deepcopy=False) if one.state != TrialState.WAITING]
    keys = tuple(space.values)
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "score": trial.value if trial.state == TrialState.COMPLETE else None,
            "epochs": trial.user_attrs.get(EPOCHS),
            "seconds": trial.user_attrs.get(SECONDS),
            "why": trial.user_attrs.get(WHY, ""),
            **space.plain(trial.params),
        }
        for trial in trials
    ]
    head = ["number", "state", "score", "epochs", "seconds", "why"]
    frame = pd.DataFrame(rows, columns=[*head, *keys]).astype({"score": "float64"})
    done = [one for one in trials if one.state == TrialState.COMPLETE]
    best = max(done, key=lambda one: (one.value or 0.0, -one.number), default=None)
    listed = [key for key, values in space.values.items() if not isinstance(values, RangeConfig)]
    finished = frame[frame["state"] == "complete"]
    by_value = {key: _by_value(finished, space, key) for key in listed} if done else {}
    setting = {} if best is None else space.plain(best.params)
    return Results(frame, keys, best, setting, _importance(study, done, space), by_value)


def _importance(study: optuna.Study, done: list[FrozenTrial], space: Space) -> dict[str, float]:
    if len(done) < FEWEST or np.ptp([one.value for one in done]) == 0:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a parameter that never varied
        found = get_param_importances(
            study,
            evaluator=FanovaImportanceEvaluator(seed=0),
            params=[key for key in space.values if len({str(one.params[key]) for one in done}) > 1],
        )
    return {key: float(share) for key, share in found.items()}


def _by_value(finished: pd.DataFrame, space: Space, key: str) -> list[ValueRow]:
    rows = []
    values = space.values[key]
    for value in () if isinstance(values, RangeConfig) else values:
        scores = finished.loc[finished[key].map(str) == str(value), "score"].to_numpy()
        if len(scores):
            low, median, high = np.quantile(scores, [0.25, 0.5, 0.75]).tolist()
            rows.append(ValueRow(value, len(scores), float(scores.max()), median, low, high))
    return rows


def _best_toml(best: FrozenTrial, space: Space) -> str:
    head = (
        f"# trial {best.number} of `recsys tune`: validation NDCG@10 {best.value:.4f}\n"
        f"# found: {space.plain(best.params)}\n"
    )
    return head + to_toml(space.applied(best.params))


def _markdown(results: Results) -> str:
    lines = [f"# Search: {_counts(results)}", "", OPTIMISTIC, "", "## Best trials", ""]
    heads = ["number", "score", "epochs", "seconds", *results.keys]
    lines += _table(heads, [[row[head] for head in heads] for _, row in _shown(results)])
    if results.importance:
        lines += ["", "## What mattered", "", f"{_of_importance(results)}", ""]
        lines += _table(["parameter", "share"], [list(one) for one in results.importance.items()])
    for key, rows in results.by_value.items():
        lines += ["", f"## {key}", "", "Finished trials with each value; the others varied.", ""]
        lines += _table(list(ValueRow._fields), [list(row) for row in rows])
    return "\n".join(lines) + "\n"


def _table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [heads, ["---"] * len(heads), *([_cell(value) for value in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _shown(results: Results) -> list[tuple[Any, Any]]:
    return list(results.finished.head(SHOWN).iterrows())


def _counts(results: Results) -> str:
    counts = results.trials["state"].value_counts()
    return ", ".join(f"{counts[state]} {state}" for state in sorted(counts.index))


def _of_importance(results: Results) -> str:
    return (
        f"Share of the variance of validation NDCG@10 by fANOVA, over the {len(results.finished)} "
        "finished trials; pruned ones have no final score and are left out."
    )


def print_results(results: Results, folder: Path, output: Console) -> None:
    """Say which trials were best, what mattered, and what each width of vectors reached."""
    shown = [row for _, row in _shown(results)][:COLUMNS]
    table = Table(title=f"Best trials ({_counts(results)})", title_justify="left")
    for head in ("trial", *(str(row["number"]) for row in shown)):
        table.add_column(head)
    for key in ("score", "epochs", "seconds", *results.keys):
        table.add_row(key, *(_cell(row[key]) for row in shown))
    output.print(table)
    if results.importance:
        table = Table("parameter", "share", title="What mattered", title_justify="left")
        for key, share in results.importance.items():
            table.add_row(key, f"{share:.3f}")
        output.print(table)
        output.print(_of_importance(results))
    if rows := results.by_value.get("towers.dim"):
        table = Table(title="Width of a vector, by validation", title_justify="left")
        for head in ("dim", "finished", "best", "median", "quartiles"):
            table.add_column(head)
        for dim in rows:
            spread = f"{dim.low:.4f} to {dim.high:.4f}"
            table.add_row(
                str(dim.value), str(dim.finished), f"{dim.best:.4f}", f"{dim.median:.4f}", spread
            )
        output.print(table)
    output.print(f"\n{OPTIMISTIC}\n")
    for path in results.files(folder):
        output.print(str(path), soft_wrap=True)
