"""rerank: weights of re-ranking tried on validation -> DIR/rerank, so that the test chooses none.

Towers that trained on validation know its answers: where a run trains again on train + validation
(``split.refit``), towers of train alone are trained in DIR/rerank/towers-of-train.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pydantic import ValidationError

from recsys.config import Config, RerankConfig
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.errors import ConfigError
from recsys.evaluation.reranking import reranking_markdown
from recsys.files import atomic_file, write_json
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.beyond import aspects_of
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data
from recsys.stages.reranking import MEASURED, Row, ages_of, category_column, rerank_rows
from recsys.stages.run import Run
from recsys.stages.stage import Record
from recsys.towers.saved import load_towers

__all__ = ["FOLDER", "GRID", "rerank_weights"]

FOLDER, TOWERS = "rerank", "towers-of-train"

GRID: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "diversity": (0.1, 0.3, 0.5, 0.7),
        "dampening": (0.05, 0.1, 0.2, 0.4),
        "freshness": (0.05, 0.1, 0.2, 0.4),
        "per_category": (5, 3, 2),
    }
)


def rerank_weights(
    run: Run,
    grid: Mapping[str, Sequence[float]] = GRID,
    *,
    force: bool = False,
    tell: Callable[[Record], None],
) -> list[Row]:
    """Try each weight alone; those that are set in the config are tried together, too.

    Args:
        run: whose config is trained; pool, half-life and columns are its ``[recommend.rerank]``.
        grid: weight -> values; of `GRID`, what the data lack the means for is left out.
        force: do what is done, too.
        tell: told of every stage.

    Returns:
        Rows as `recsys.evaluation.reranking.measure_reranking` gives them.

    Raises:
        ConfigError: nobody validates, a weight cannot be, or nothing can be tried.
    """
    split = run.config.split.model_copy(update={"refit": False})
    config = run.config.model_copy(update={"split": split})
    alone = run
    if run.config.split.refit:
        vectors = run.vectors or run.out.parent / "vectors"
        alone = replace(run, config=config, out=run.out / FOLDER / TOWERS, vectors=vectors)
    perform_stages(alone, ("prepare",), force=force, tell=tell)
    dataset, parts = load_data(alone)
    task = parts.task("validation", candidates=config.evaluation.candidates)
    if not len(task.users):
        raise ConfigError("rerank: nobody validates, so that no weights can be chosen")
    wanted = _wanted(config, grid, dated=ages_of(config, dataset, parts.train) is not None)
    if not wanted:
        raise ConfigError("rerank: nothing to try; expected weights such as --diversity 0.1,0.3")
    perform_stages(alone, ("embed", "train"), force=force, tell=tell)
    rankers = {}
    for seed in run.seeds:
        content = alone.folder("content")
        blocks, users = load_blocks(content), load_user_blocks(content)
        towers = load_towers(alone.folder("towers", seed), blocks, users, dim=config.index.dim)
        rankers[seed] = TwoTowerRanker(towers, ExactIndex.build(towers.item_vectors()))
    aspects = aspects_of(alone, dataset, parts.train, MEASURED)
    rows = rerank_rows(config, dataset, parts.train, task, rankers, wanted, aspects)
    folder = run.out / FOLDER
    write_json(folder / "table.json", rows)
    with atomic_file(folder / "table.md") as partial:
        partial.write_text(reranking_markdown(rows), encoding="utf-8")
    return rows


def _wanted(
    config: Config, grid: Mapping[str, Sequence[float]], *, dated: bool
) -> dict[str, RerankConfig]:
    """Every value of the grid alone, then what the config sets."""
    rerank, column = config.recommend.rerank, category_column(config)
    off = {"diversity": 0.0, "dampening": 0.0, "freshness": 0.0, "per_category": None}
    wanted = {}
    for name, values in grid.items():
        lacks = (name == "freshness" and not dated) or (name == "per_category" and column is None)
        if lacks and values and values != GRID[name]:  # asked for by name
            needed = "a log with times, or recommend.rerank.date"
            needed = needed if name == "freshness" else "recommend.rerank.category = COLUMN"
            raise ConfigError(f"rerank: {name} needs {needed}")
        for value in () if lacks else values:
            set_ = rerank.model_dump() | off | {"category": column}
            set_[name] = int(value) if name == "per_category" else value
            try:
                wanted[f"{name} {value:g}"] = RerankConfig.model_validate(set_)
            except ValidationError as error:
                why = error.errors()[0]["msg"]
                raise ConfigError(f"rerank: {name} {value:g}: {why}") from None
    return wanted | ({"as in the config": rerank} if rerank.active else {})
