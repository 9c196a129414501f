"""prepare: the user's files -> DIR/data, the data set and its split."""

from pathlib import Path
from typing import Any

from recsys.config import SplitConfig
from recsys.data.dataset import Dataset
from recsys.data.splits import Split, split
from recsys.evaluation.groups import check_columns
from recsys.stages.run import Run
from recsys.stages.stage import Stage

__all__ = ["check_asked_columns", "cut_log", "load_data", "prepare_stage"]


# Arguments of ``split``.
CUTS = ("protocol", "test_fraction", "validation_fraction", "seed", "folds", "fold")


def prepare_stage(run: Run) -> Stage:
    """Read, check and split the log; rejected rows go to ``rejected.parquet``."""
    data, cut, evaluation = run.config.data, run.config.split, run.config.evaluation
    unused = ("folds", "fold") if cut.folds == 1 else ()

    def work(folder: Path) -> dict[str, Any]:
        dataset = Dataset.from_config(data, cut, folder=folder)
        check_columns(evaluation.slices, dataset, evaluation.categories)
        dataset.save(folder)
        parts = cut_log(dataset, cut)
        parts.save(folder)
        return {
            "source": data.source or [path.name for path in data.interactions],
            "generated": dataset.generated,
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


def cut_log(dataset: Dataset, config: SplitConfig) -> Split:
    """Split the log as a config says.

    Raises:
        DataError: no row would train, or none would test.
        ConfigError: the data set lacks what the protocol needs.
    """
    return split(dataset, **config.model_dump(include=set(CUTS)))


def check_asked_columns(run: Run) -> None:
    """Refuse columns that ``evaluation`` names and the prepared data lack: not after training.

    Raises:
        ConfigError: there is no such column.
    """
    evaluation = run.config.evaluation
    if evaluation.slices or evaluation.categories is not None:
        dataset = Dataset.load(run.folder("data"))
        check_columns(evaluation.slices, dataset, evaluation.categories)


def load_data(run: Run) -> tuple[Dataset, Split]:
    """Load what ``prepare`` wrote."""
    dataset = Dataset.load(run.folder("data"))
    return dataset, Split.load(run.folder("data"), dataset)
