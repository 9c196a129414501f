"""prepare: the user's files -> DIR/data, the data set and its split."""

from pathlib import Path
from typing import Any

from recsys.config import Config, SplitConfig
from recsys.data.dataset import Dataset
from recsys.data.disk.prepare import goes_to_disk, prepare_on_disk
from recsys.data.splits import Split, split
from recsys.evaluation.groups import check_columns
from recsys.recommenders.item_facts import item_facts
from recsys.recommenders.rules import Rules
from recsys.stages.run import Run
from recsys.stages.stage import Stage

__all__ = ["check_asked", "check_asked_again", "cut_log", "load_data", "prepare_stage"]


# Arguments of ``split``.
CUTS = ("protocol", "test_fraction", "validation_fraction", "seed", "folds", "fold")


def prepare_stage(run: Run) -> Stage:
    """Read, check and split the log; rejected rows go to ``rejected.parquet``."""
    data, cut = run.config.data, run.config.split
    unused = ("folds", "fold") if cut.folds == 1 else ()

    def work(folder: Path) -> dict[str, Any]:
        dataset, parts = _prepare(run, folder)
        return {
            "source": data.source or [path.name for path in data.interactions],
            "generated": dataset.generated,
            "storage": "memory" if parts.stored is None else "disk",
            "users": len(dataset.user_ids),
            "items": len(dataset.item_ids),
            "read": dataset.counts.read,
            "kept": dataset.counts.kept,
            "rejected": dataset.counts.rejected,
            "notes": list(dataset.notes),
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(parts.test),
        }

    files = [
        *data.interactions,
        data.items,
        data.users,
        data.path,
        cut.train,
        cut.validation,
        cut.test,
    ]
    return Stage(
        name="prepare",
        folder=run.folder("data"),
        settings={
            "data": data.model_dump(mode="json"),
            "split": cut.model_dump(mode="json", exclude={"refit", *unused}),
        },
        reads=(),
        files=tuple(path for path in files if path is not None),
        work=work,
    )


def _prepare(run: Run, folder: Path) -> tuple[Dataset, Split]:
    """Write the data set and its split, out of memory or, a long log, on disk from the start."""
    data, cut = run.config.data, run.config.split
    if goes_to_disk(data, cut):
        dataset, parts = prepare_on_disk(data, cut, folder)
        check_asked(run.config, dataset)
        return dataset, parts
    dataset = Dataset.from_config(data, cut, folder=folder)
    check_asked(run.config, dataset)
    dataset.save(folder)
    parts = cut_log(dataset, cut)
    parts.save(folder)
    return dataset, parts


def cut_log(dataset: Dataset, config: SplitConfig) -> Split:
    """Split the log as a config says.

    Raises:
        DataError: no row would train, or none would test.
        ConfigError: the data set lacks what the protocol needs.
    """
    return split(dataset, **config.model_dump(include=set(CUTS)))


def check_asked(config: Config, dataset: Dataset) -> None:
    """Refuse columns and conditions that the data cannot answer: not after training.

    Raises:
        ConfigError: ``evaluation`` or ``recommend`` names what is not there.
    """
    evaluation, recommend = config.evaluation, config.recommend
    check_columns(evaluation.slices, dataset, evaluation.categories)
    rules = Rules.of(recommend, dataset.items, dataset.users)
    item_facts(recommend.rerank, dataset.log, rules.items, dataset.time_kind)


def check_asked_again(run: Run) -> None:
    """Ask `check_asked` of data that were prepared before.

    Raises:
        ConfigError: see there.
    """
    config = run.config
    asked = (config.evaluation.slices, config.evaluation.categories, config.recommend.where)
    if any(asked) or config.recommend.rules or config.recommend.rerank.active:
        check_asked(config, Dataset.load(run.folder("data")))


def load_data(run: Run) -> tuple[Dataset, Split]:
    """Load what ``prepare`` wrote."""
    dataset = Dataset.load(run.folder("data"))
    return dataset, Split.load(run.folder("data"), dataset)
