"""check: whether a log is fit for learning, before anything is learnt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.config import Config
from recsys.content.assemble import check_tables
from recsys.data.dataset import Dataset
from recsys.data.disk.prepare import goes_to_disk, prepare_on_disk
from recsys.data.fitness import FitnessReport, check_fitness
from recsys.data.splits import Split
from recsys.errors import RecsysError
from recsys.evaluation.leaks import Leak, split_leaks
from recsys.stages.prepare import check_asked, cut_log

__all__ = ["Checked", "check_log"]


@dataclass(frozen=True)
class Checked:
    """What is to be said of a log.

    Attributes:
        fitness: of its rows.
        cut: the split, or why there is none.
        leaks: alarms.
    """

    fitness: FitnessReport
    cut: str
    leaks: list[Leak]

    def lines(self) -> list[str]:
        """What a terminal shows."""
        alarms = [f"leak alarm: {leak}" for leak in self.leaks]
        return [*self.fitness.lines(), self.cut, *alarms]

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        leaks = [leak._asdict() for leak in self.leaks]
        return self.fitness.as_dict() | {"split": self.cut, "leaks": leaks}


def check_log(config: Config, folder: Path) -> Checked:
    """Read a log as ``prepare`` does and look at it.

    Args:
        config: of the run.
        folder: for what is made on the way.

    Raises:
        DataError: the log cannot be used at all.
        ConfigError: the config asks for what the data cannot answer.
    """
    parts: Split | None = None
    if goes_to_disk(config.data, config.split):
        dataset, parts = prepare_on_disk(config.data, config.split, folder)
    else:
        dataset = Dataset.from_config(config.data, config.split, folder=folder)
    check_tables(config.content, dataset.items)
    check_asked(config, dataset)
    fitness = check_fitness(dataset)
    try:
        parts = parts or cut_log(dataset, config.split)
        leaks = split_leaks(parts, dataset.user_ids, dataset.item_ids)
    except RecsysError as error:
        return Checked(fitness, f"not fit: {error}", [])
    return Checked(fitness, repr(parts), list(leaks))
