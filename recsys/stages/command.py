"""What ``recsys run`` and the stage commands do: a config, an output folder, seeds, a tracker."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from recsys.config_file import load_config, to_toml
from recsys.errors import ArtifactError, ConfigError
from recsys.files import read_json
from recsys.progress import console, set_quiet
from recsys.stages.evaluate import METRICS_FILE, below_minimum, check_evaluation
from recsys.stages.pipeline import STAGES, perform_stages, plan
from recsys.stages.run import Engine, Run, Wishes
from recsys.stages.stage import Record
from recsys.stages.summary import SHOWN_USERS, print_models, print_summary
from recsys.tracking import Tracker, open_tracker, tracking_uri
from recsys.training.workers import Workers, open_workers

__all__ = ["Command", "tell"]

CONFIG_FILE = "config.toml"  # of the run: everything that was set, defaults included


@dataclass(frozen=True)
class Command:
    """One call of the command line."""

    run: Run

    @classmethod
    def of(
        cls,
        config: Path,
        overrides: Sequence[str] = (),
        out: Path | None = None,
        seeds: str | None = None,
        *,
        users: Path | None = None,
        exclude: Path | None = None,
        candidates: Path | None = None,
        where: str | None = None,
        to: str | None = None,
        engine: Engine = "local",
    ) -> Self:
        """Read the config; without ``out`` a run lies in ``runs/`` under the config's name.

        Raises:
            ConfigError: the config or the seeds cannot be used.
        """
        loaded = load_config(config, overrides)
        folder = (out or Path("runs") / config.stem).resolve()
        if to is not None and "://" not in to:
            to = str(Path(to).resolve())
        wishes = Wishes(users=users, exclude=exclude, candidates=candidates, where=where, to=to)
        numbers = _parse_seeds(seeds, loaded.seed)
        return cls(Run(loaded, folder, numbers, wishes=wishes, engine=engine))

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.run.out

    def go(self, *, force: bool = False) -> list[str]:
        """Do all stages and record the run; return one line for each minimum that was missed."""
        _alone("run")
        check_evaluation(self.run.config)
        self.out.mkdir(parents=True, exist_ok=True)
        tracker = open_tracker(self.run.config, self.out)
        done = False
        try:
            perform_stages(replace(self.run, tracker=tracker), force=force, tell=tell)
            self._keep_config()
            done = True
        finally:
            self._record(tracker, done=done)
        return self.below_minimum()

    def below_minimum(self) -> list[str]:
        """One line for each ``[evaluation.minimum]`` that the report misses."""
        return below_minimum(self.report(), self.run.config.evaluation.minimum)

    def stage(self, name: str, *, force: bool = False) -> dict[str, Any]:
        """Do one stage with what earlier stages left; ``torchrun`` may start several to train.

        Raises:
            ConfigError: several processes are to do another stage.
        """
        if name != "train":
            _alone(name)
        with open_workers(self.run.config.training.device) as workers:
            run = replace(self.run, workers=workers)
            if not workers.is_first:
                set_quiet(True)
            facts = perform_stages(run, (name,), force=force, tell=tell)
            if workers.is_first:
                self._keep_config()  # not before: what failed has not changed the folder
        return facts

    def report(self) -> dict[str, Any]:
        """The figures of the run, as in ``report/metrics.json``."""
        return dict(read_json(self.run.folder("report") / METRICS_FILE))

    def print_result(self, name: str, facts: Mapping[str, Any], output: Console) -> None:
        """Say what came out of a stage that is done for its own sake."""
        if name == "evaluate":
            print_models(self.report(), output)
            output.print(f"tables and lists: {self.run.folder('report')}", soft_wrap=True)
        if name == "recommend":
            facts = facts[name]
            place = self.run.wishes.to or self.run.folder("recommendations")
            short = f", {facts['short']:,} of them with fewer" if facts.get("short") else ""
            output.print(
                f"{facts['users']:,} users{short}, {facts['rows']:,} rows: {place}", soft_wrap=True
            )

    def print_summary(self, output: Console, users: int = SHOWN_USERS) -> None:
        """Say how it went, what some users get, and where everything lies."""
        config = self.run.config
        uri = tracking_uri(config, self.out) if "mlflow" in config.tracking.kinds else None
        print_summary(self.run, output, uri, users)

    @classmethod
    def finished(cls, out: Path) -> Self:
        """The call that filled a run's folder.

        Raises:
            ArtifactError: the folder is not that of a finished run.
        """
        if not (out / "report" / METRICS_FILE).is_file():
            raise ArtifactError(f"{out}: holds no report; expected the folder of a finished run")
        if not (out / CONFIG_FILE).is_file():
            raise ArtifactError(
                f"{out}: holds a report but no {CONFIG_FILE}, as a blend does; `recsys compare` "
                "and report/table.md show it"
            )
        seeds = ",".join(map(str, read_json(out / "report" / METRICS_FILE)["seeds"]))
        return cls.of(out / CONFIG_FILE, out=out, seeds=seeds)

    def print_plan(
        self, output: Console, names: tuple[str, ...] = STAGES, *, as_json: bool = False
    ) -> None:
        """Say what would be done, and how long it took the last time."""
        lines = plan(self.run, names)
        if as_json:
            output.print_json(json.dumps([line._asdict() for line in lines]))
            return
        table = Table(title=f"Plan for {self.out}", title_justify="left")
        for heading in ("stage", "would", "seconds last time", "folder"):
            table.add_column(heading)
        for line in lines:
            seconds = "not known" if line.seconds is None else f"{line.seconds:.1f}"
            table.add_row(line.stage, line.would, seconds, line.folder)
        output.print(table)

    def _keep_config(self) -> None:
        """Write down what the folder is made with, for those who look at it later."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / CONFIG_FILE).write_text(to_toml(self.run.config), encoding="utf-8")

    def _record(self, tracker: Tracker, *, done: bool) -> None:
        if not done:
            tracker.finish({}, {}, ok=False)
            return
        report = self.report()
        tracker.tag({"data_digest": report["data"]["digest"], "out": str(self.out)})
        metrics = {
            f"{model}/{name}": value
            for model, values in report["models"].items()
            for name, value in values.items()
            if name != "per_seed"
        }
        names = ("report", "towers", "index", CONFIG_FILE)
        tracker.finish(metrics, {name: self.run.folder(name) for name in names}, ok=True)


def _parse_seeds(text: str | None, default: int) -> tuple[int, ...]:
    if text is None:
        return (default,)
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {text}: expected numbers such as 0,1,2") from None
    if min(seeds) < 0:
        raise ConfigError(f"--seeds {text}: expected numbers of at least 0")
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"--seeds {text}: a seed comes twice")
    return seeds


def _alone(name: str) -> None:
    """Refuse several processes where one does the work."""
    if Workers.from_environment().are_several:
        raise ConfigError(
            f"{name}: is done by one process, but torchrun started several; start it without"
        )


def tell(record: Record) -> None:
    """Say that a stage is done, and how long it took."""
    state = "unchanged" if record.skipped else f"{record.seconds:6.1f} s"
    console.print(f"[green]done[/green] {record.name:<18} {state}")
