"""What re-ranking costs and gains in a run: the part that ``evaluate`` and ``rerank`` share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import Beyond, Config, RerankConfig
from recsys.data.dataset import Dataset
from recsys.data.interactions import Interactions
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.aspects import Aspects
from recsys.evaluation.blending import some_users
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.reranking import Nature, measure_reranking
from recsys.recommenders.cells import Cells
from recsys.recommenders.item_facts import ages_in_days, category_codes
from recsys.recommenders.ranker import Ranker
from recsys.recommenders.rerank import Reranker

__all__ = ["MEASURED", "MOST_USERS", "Row", "ages_of", "category_column", "rerank_rows"]

MOST_USERS = 20_000  # asked at most, drawn at random: their pools are kept

MEASURED: tuple[Beyond, ...] = ("diversity", "popularity")  # whatever the config measures

Row = dict[str, Any]


def rerank_rows(
    config: Config,
    dataset: Dataset,
    learnt: Interactions,
    task: Task,
    rankers: Mapping[int, Ranker],
    wanted: Mapping[str, RerankConfig],
    aspects: Aspects,
) -> list[Row]:
    """Measure re-rankings of rankers' lists; see `measure_reranking`.

    Args:
        config: of the run.
        dataset: with the catalogue.
        learnt: the rows that popularity and age are of.
        task: that is asked, of at most `MOST_USERS` of its users.
        rankers: seed -> ranker.
        wanted: label -> weights.
        aspects: of the items.
    """
    task = some_users(task, MOST_USERS)
    items = Cells(dataset.items, "catalogue")
    k = int(config.evaluation.headline.partition("@")[2])
    depth = max(k, *(one.pool for one in wanted.values()))
    pools = {
        seed: evaluate_ranker(
            ranker,
            task,
            ks=(depth,),
            batch_size=config.evaluation.batch_size,
            description="re-ranking",
        ).ranked
        for seed, ranker in rankers.items()
    }
    kind = dataset.time_kind
    made = {
        label: {seed: Reranker.of(one, r, learnt, items, kind) for seed, r in rankers.items()}
        for label, one in wanted.items()
    }
    column = category_column(config)
    nature = Nature(
        aspects,
        ages_of(config, dataset, learnt),
        None if column is None else category_codes(items, column),
    )
    return measure_reranking(pools, made, task, nature, config.evaluation.headline)


def category_column(config: Config) -> str | None:
    """The column whose labels are counted: of re-ranking, evaluation or the first such content."""
    of_content = [
        one.columns[0]
        for one in config.content.values()
        if one.encoder == "categories" and one.reduce is None and len(one.columns) == 1
    ]
    named = (config.recommend.rerank.category, config.evaluation.categories, *of_content)
    return next(filter(None, named), None)


def ages_of(config: Config, dataset: Dataset, learnt: Interactions) -> NDArray[np.float64] | None:
    """How old items are, in days; None where nothing says."""
    items, date = Cells(dataset.items, "catalogue"), config.recommend.rerank.date
    try:
        return ages_in_days(learnt, items, dataset.time_kind, date)
    except ConfigError:
        if date is not None:
            raise
        return None
