"""One configuration under several splits: protocols side by side, or the folds of rolling origin.

Each split is a run of its own below DIR/protocols or DIR/folds-N, towers trained anew, so that
what is done is not done again; the table lies beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich import box
from rich.table import Table
from scipy import stats

from recsys.config import Protocol
from recsys.errors import ConfigError, DataError, RecsysError
from recsys.files import write_json
from recsys.stages.baselines import baselines_of
from recsys.stages.command import Command
from recsys.stages.evaluate import TOWERS
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import cut_log, load_data
from recsys.stages.run import Run
from recsys.stages.stage import Record

__all__ = ["SideBySide", "fold_runs", "measure_all", "parse_protocols", "protocol_runs"]

ASKED = ("prepare", "embed", "train", "index", "evaluate")
GIVEN = ("column", "files")  # splits that only the log itself can name
TWIN = "two-tower-exact"  # the same towers once more: it takes no rank from others


def parse_protocols(text: str, own: Protocol) -> tuple[Protocol, ...]:
    """Read ``--protocols``: names with commas, or ``all``, which are all that need no labels.

    Args:
        text: what was asked for.
        own: the config's own protocol; of ``all`` it comes first.

    Raises:
        ConfigError: a name is no protocol, or comes twice.
    """
    known = [name for name in get_args(Protocol) if name not in GIVEN]
    if text == "all":
        return (own, *(name for name in known if name != own))
    names = tuple(text.split(","))
    if wrong := [name for name in names if name not in (*known, own)]:
        raise ConfigError(f"--protocols: {wrong[0]!r} is none; known: all, {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"--protocols {text}: a protocol comes twice")
    return names  # type: ignore[return-value]  # they are among the known ones


def protocol_runs(
    run: Run, names: Sequence[Protocol], tell: Callable[[Record], None]
) -> tuple[dict[str, Command], dict[str, str]]:
    """A run for each protocol that the log can have, and why it cannot have the others.

    Raises:
        ConfigError: the config's log comes in files that are its split.
    """
    cut = run.config.split
    if cut.protocol == "files":
        raise ConfigError(
            'evaluate: protocol = "files" brings a log that is cut already; name the whole log in '
            "data.interactions to compare protocols"
        )
    perform_stages(run, ("prepare",), tell=tell)
    dataset, _ = load_data(run)
    able: dict[str, Command] = {}
    left_out: dict[str, str] = {}
    for name in names:
        found = _below(run, f"protocols/{name}", protocol=name, folds=1, fold=1)
        try:
            parts = cut_log(dataset, found.run.config.split)
        except (ConfigError, DataError) as error:
            left_out[name] = str(error)
            continue
        if name == "cold-items" and not run.config.content:
            left_out[name] = "new items are known by their content, and there is no [content.NAME]"
        elif not len(parts.task("test", candidates=run.config.evaluation.candidates).users):
            left_out[name] = "nobody could be asked"
        else:
            able[name] = found
    return able, left_out


def fold_runs(run: Run, folds: int) -> dict[str, Command]:
    """A run for each window of the test part by time; see `recsys.data.protocols.global_time`.

    Raises:
        ConfigError: fewer than two folds, or the config's log comes in files that are its split.
    """
    if folds < 2 or run.config.split.protocol == "files":
        raise ConfigError(f"evaluate: --folds {folds} needs at least 2, and a log of one piece")
    return {
        f"fold {n}": _below(run, f"folds-{folds}/{n}", protocol="global-time", folds=folds, fold=n)
        for n in range(1, folds + 1)
    }


def _below(run: Run, name: str, **cut: Any) -> Command:
    """The same configuration under another split, in a folder below; nothing is learnt on from."""
    config = run.config
    evaluation = config.evaluation
    split = config.split.model_copy(update=cut)
    measured = (*TOWERS, *baselines_of(config.model_copy(update={"split": split})))
    if evaluation.reference not in measured:  # not every protocol asks the same baselines
        evaluation = evaluation.model_copy(update={"reference": "two-tower"})
    config = config.model_copy(
        update={
            "split": split,
            "evaluation": evaluation,
            "update": run.config.update.model_copy(update={"start": None}),
        }
    )
    vectors = run.vectors or run.out.parent / "vectors"
    return Command(Run(config, run.out / name, run.seeds, vectors=vectors))


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

    def overall(self, model: str) -> tuple[float, float, float]:
        """Mean, standard deviation (of a sample; 0 of one) and mean rank over the runs it is in."""
        runs = [run for run, found in self.values.items() if model in found]
        values = np.array([self.values[run][model] for run in runs])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        return (
            float(values.mean()),
            float(spread),
            float(np.mean([self.ranks(run)[model] for run in runs])),
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
            mean, spread, rank = self.overall(model)
            rows.append(
                [model, *cells, *([_short(mean), _short(spread)] if folds else [f"{rank:.1f}"])]
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
            table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
        for row in rows:
            table.add_row(*row)
        return table

    def markdown(self, *, folds: bool) -> str:
        """The table in markdown, with what was left out."""
        headings, rows = self.rows(folds=folds)
        lines = ["| " + " | ".join(row) + " |" for row in (headings, *rows)]
        lines.insert(1, "|---" + "|---:" * (len(headings) - 1) + "|")
        lines += ["", *(f"Left out: {name}: {why}" for name, why in self.left_out.items())]
        return "\n".join(lines).rstrip() + "\n"

    def as_dict(self) -> dict[str, Any]:
        """All of it, json-able."""
        names = ("mean", "sd", "mean_rank")
        return {
            "metric": self.metric,
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
            "models": {m: dict(zip(names, self.overall(m), strict=True)) for m in self.models},
            "left_out": self.left_out,
        }


def measure_all(
    commands: Mapping[str, Command],
    left_out: Mapping[str, str],
    folder: Path,
    *,
    folds: bool,
    force: bool = False,
) -> SideBySide:
    """Do all runs as far as they are not done, and write ``table.md`` and ``table.json``.

    Args:
        commands: the runs by name.
        left_out: what cannot be run -> why.
        folder: where the table is written.
        folds: whether the runs are folds: their mean and deviation are shown.
        force: do what is done, too.

    Raises:
        RecsysError: nothing can be run, or a stage of a run fails; what was done is kept.
    """
    if not commands:
        raise RecsysError(f"evaluate: no split is left; {dict(left_out)}")
    for command in commands.values():
        for stage in ASKED:
            command.stage(stage, force=force)
    reports = {name: command.report() for name, command in commands.items()}
    metric = next(iter(commands.values())).run.config.evaluation.headline
    found = SideBySide.of(reports, metric, left_out)
    write_json(folder / "table.json", found.as_dict())
    (folder / "table.md").write_text(found.markdown(folds=folds), encoding="utf-8")
    return found


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")
