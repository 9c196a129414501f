"""One configuration under several splits: protocols side by side, or the folds of rolling origin.

Each split is a run of its own below DIR/protocols or DIR/folds-N, towers trained anew, so that
what is done is not done again; the table lies beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from recsys.config import Protocol
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError, DataError, RecsysError
from recsys.evaluation.side_by_side import SideBySide
from recsys.files import write_json
from recsys.stages.baselines import baselines_of
from recsys.stages.command import Command
from recsys.stages.evaluate import TOWERS
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import cut_log, load_data
from recsys.stages.run import Run
from recsys.stages.stage import Record

__all__ = ["ASKED", "fold_runs", "measure_all", "parse_protocols", "protocol_runs"]

ASKED = ("prepare", "embed", "train", "index", "evaluate")
GIVEN = ("column", "files")  # splits that only the log itself can name


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
    run: Run, names: Sequence[Protocol], tell: Callable[[Record], None] | None
) -> tuple[dict[str, Command], dict[str, str]]:
    """A run for each protocol that the log can have, and why it cannot have the others.

    Args:
        run: whose configuration it is.
        names: of protocols.
        tell: told when the data are prepared; None: they are only looked at, nothing is written.

    Raises:
        ConfigError: the config's log comes in files that are its split.
    """
    cut = run.config.split
    if cut.protocol == "files":
        raise ConfigError(
            'evaluate: protocol = "files" brings a log that is cut already; name the whole log in '
            "data.interactions to compare protocols"
        )
    dataset = _dataset(run, tell)
    able: dict[str, Command] = {}
    left_out: dict[str, str] = {}
    for name in names:
        found = _below(run, f"protocols/{name}", protocol=name, folds=1, fold=1)
        try:
            why = _nobody(dataset, found.run)
        except (ConfigError, DataError) as error:
            why = str(error)
        if name == "cold-items" and not run.config.content:
            why = "new items are known by their content, and there is no [content.NAME]"
        if why is None:
            able[name] = found
        else:
            left_out[name] = why
    return able, left_out


def fold_runs(run: Run, folds: int, tell: Callable[[Record], None] | None) -> dict[str, Command]:
    """A run for each window of the test part by time; see `recsys.data.protocols.global_time`.

    Args:
        run: whose configuration it is.
        folds: how many windows.
        tell: as of `protocol_runs`.

    Raises:
        ConfigError: fewer than two folds, or the config's log comes in files that are its split.
        DataError: a fold cannot be cut, or nobody could be asked in it.
    """
    if folds < 2 or run.config.split.protocol == "files":
        raise ConfigError(f"evaluate: --folds {folds} needs at least 2, and a log of one piece")
    dataset = _dataset(run, tell)
    found = {
        f"fold {n}": _below(run, f"folds-{folds}/{n}", protocol="global-time", folds=folds, fold=n)
        for n in range(1, folds + 1)
    }
    for name, command in found.items():
        try:
            why = _nobody(dataset, command.run)
        except (ConfigError, DataError) as error:
            why = str(error)
        if why is not None:
            raise DataError(
                f"evaluate: {name} of {folds}: {why}; take fewer folds or a larger "
                "split.test_fraction"
            )
    return found


def _dataset(run: Run, tell: Callable[[Record], None] | None) -> Dataset:
    """The prepared data; without ``tell`` read from the user's files, with nothing left behind."""
    if tell is not None:
        perform_stages(run, ("prepare",), tell=tell)
        return load_data(run)[0]
    with TemporaryDirectory() as folder:  # what a generator makes is only looked at
        return Dataset.from_config(run.config.data, run.config.split, folder=Path(folder))


def _nobody(dataset: Dataset, run: Run) -> str | None:
    """That nobody could be asked under the split of a run, if so.

    Raises:
        ConfigError, DataError: the log cannot be cut so.
    """
    task = cut_log(dataset, run.config.split).task(
        "test", candidates=run.config.evaluation.candidates
    )
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in task.dropped.items() if n)
    return None if len(task.users) else f"nobody could be asked ({dropped or 'no test row'})"


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
