"""The lists of all models, measured beyond accuracy once the content is there."""

from collections.abc import Sequence
from pathlib import Path

from recsys.config import Beyond, Config
from recsys.content.categories import CategoryEncoder
from recsys.content.columns import labels
from recsys.content.encoder import ContentBlock
from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.evaluation.aspects import Aspects, measure_beyond
from recsys.evaluation.groups import check_columns
from recsys.evaluation.saved_lists import read_list
from recsys.evaluation.table import Results
from recsys.stages.baselines import RANKINGS
from recsys.stages.run import Run

__all__ = ["aspects_of", "with_beyond"]


def with_beyond(
    run: Run, dataset: Dataset, split: Split, task: Task, results: Results, folder: Path
) -> Results:
    """Add what lies beyond accuracy to the results of all models, from the lists they left.

    Args:
        run: of which the content and the baselines are there.
        dataset: with the catalogue.
        split: whose learnable rows say what is popular.
        task: that the lists answer.
        results: model -> seed -> metric -> value.
        folder: of the report, with the lists of the towers.

    Raises:
        ConfigError: ``evaluation.categories`` is no column of the catalogue.
    """
    config = run.config
    aspects = aspects_of(run, dataset, split.learnable(refit=config.split.refit))
    k = max(config.evaluation.ks)
    added: Results = {}
    for model, per_seed in results.items():
        for seed, values in per_seed.items():
            path = _ranking(model, seed, folder, run.folder("baselines"))
            lists = read_list(path, dataset.user_ids, dataset.item_ids, k)[task.users]
            measured = measure_beyond(lists, task, aspects, config.evaluation.ks)
            added.setdefault(model, {})[seed] = {**values, **measured.means}
    return added


def aspects_of(
    run: Run,
    dataset: Dataset,
    learnt: Interactions,
    measured: Sequence[Beyond] | None = None,
) -> Aspects:
    """What is known of the items of a run.

    Args:
        run: of which the content is there.
        dataset: with the catalogue.
        learnt: rows that say what is popular.
        measured: what is wanted; None: as in the config.

    Raises:
        ConfigError: ``evaluation.categories`` is no column of the catalogue.
    """
    blocks = load_blocks(run.folder("content"))
    return Aspects.of(
        learnt,
        blocks=blocks,
        categories=_categories(run.config, dataset, blocks),
        measured=run.config.evaluation.beyond if measured is None else measured,
    )


def _categories(
    config: Config, dataset: Dataset, blocks: Sequence[ContentBlock]
) -> ContentBlock | None:
    """The column that the config names, else the first content of categories, else nothing."""
    column = config.evaluation.categories
    if column is not None:
        check_columns((), dataset, column)
        contents = labels(dataset.items[[column]])
        encoded = CategoryEncoder.fit(contents).encode(contents)
        return ContentBlock(column, encoded.vectors, encoded.present)
    names = {
        name
        for name, one in config.content.items()
        if one.encoder == "categories" and one.reduce is None
    }
    return next((block for block in blocks if block.name in names), None)


def _ranking(model: str, seed: int, *folders: Path) -> Path:
    paths = [folder / RANKINGS / f"{model}-seed-{seed}.parquet" for folder in folders]
    return next((path for path in paths if path.is_file()), paths[-1])
