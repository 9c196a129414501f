"""The part of ``evaluate`` that does not depend on the towers: baselines -> DIR/baselines."""

import logging
import time
from pathlib import Path
from typing import Any

from recsys.config import Config
from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.evaluation.evaluate import Evaluation, evaluate_ranker
from recsys.evaluation.tuning import tune
from recsys.files import read_json, write_json
from recsys.recommenders.baselines import BASELINES, Baseline
from recsys.stages.embed import embed_stage
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage

__all__ = ["baselines_of", "baselines_stage", "load_results", "not_too_slow", "save_ranking"]

RESULTS = "baselines.json"
RANKINGS = "rankings"
RIDGE_UP_TO = 20_000  # items, if it is not asked for: a minute or two on one core

logger = logging.getLogger(__name__)

FLOORS = ("random", "popularity", "decayed-popularity", "logistic")
BY_USERS = ("item-knn", "als", "bpr", "ease")
BY_CONTENT = ("content-cosine", "content-ridge")


def baselines_of(config: Config) -> tuple[str, ...]:
    """Those that ``evaluation.baselines`` names, or what suits the log and the split.

    New items are known to nobody who looks at interactions only: by them, all are alike.
    """
    if config.evaluation.baselines is not None:
        return config.evaluation.baselines
    content = BY_CONTENT if config.content else ()
    if config.split.protocol == "cold-items":
        return ("random", *(("logistic", *content) if content else ()))
    return (*FLOORS, *BY_USERS, *content)


def baselines_stage(run: Run) -> Stage:
    """Tune on validation, fit on all but the test, measure on the test."""
    config, names = run.config.evaluation, baselines_of(run.config)
    reads_content = bool(run.config.content) and any(BASELINES[n].reads_content for n in names)

    def work(folder: Path) -> dict[str, Any]:
        dataset, split = load_data(run)
        task = split.task("test", candidates=config.candidates)
        blocks = load_blocks(run.folder("content")) if reads_content else ()
        results, tried = {}, {}
        asked = not_too_slow(names, run.config, len(dataset.item_ids))
        for name in asked if len(task.users) else ():
            baseline = BASELINES[name].given(blocks, split.time_kind)
            parameters, tried[name] = _choose(run, baseline, split)
            results[name] = {
                str(seed): _measure(run, baseline, parameters, seed, split, task, dataset, folder)
                for seed in (run.seeds if baseline.seeded else run.seeds[:1])
            }
        write_json(folder / RESULTS, {"models": results, "tried": tried})
        return {"models": list(results), "tried": sum(len(trials) for trials in tried.values())}

    return Stage(
        name="baselines",
        folder=run.folder("baselines"),
        settings={
            "evaluation": config.model_dump(
                mode="json", exclude={"minimum", "beyond", "categories", "reference", "slices"}
            )
            | {"baselines": list(names)},
            "refit": run.config.split.refit,
            "seeds": list(run.seeds),
        },
        reads=(prepare_stage(run), *([embed_stage(run)] if reads_content else [])),
        files=(),
        work=work,
    )


def not_too_slow(names: tuple[str, ...], config: Config, n_items: int) -> tuple[str, ...]:
    """Leave the kernel ridge out where the catalogue is large and nobody asked for it."""
    if config.evaluation.baselines is not None or n_items <= RIDGE_UP_TO:
        return names
    if "content-ridge" in names:
        logger.warning(
            "content-ridge: left out, it takes long with %s items; name it in evaluation.baselines",
            f"{n_items:,}",
        )
    return tuple(name for name in names if name != "content-ridge")


def load_results(folder: Path) -> tuple[dict[str, dict[int, dict[str, float]]], dict[str, Any]]:
    """Read metrics (model -> seed -> name -> value) and everything that was tried."""
    saved = read_json(folder / RESULTS)
    models = {
        name: {int(seed): values for seed, values in per_seed.items()}
        for name, per_seed in saved["models"].items()
    }
    return models, saved["tried"]


def save_ranking(
    folder: Path, evaluation: Evaluation, seed: int, users: UserIds, items: ItemIds
) -> None:
    """Write the very lists that were measured, so that anybody can measure them again."""
    table = evaluation.table(users, items)
    path = folder / RANKINGS / f"{evaluation.model}-seed-{seed}.parquet"
    path.parent.mkdir(exist_ok=True)
    table.to_parquet(path, index=False)


def _choose(
    run: Run, baseline: Baseline, split: Split
) -> tuple[dict[str, float | int], list[dict[str, Any]]]:
    """The setting with the best validation NDCG@10, and all that were tried."""
    task = split.task("validation", candidates=run.config.evaluation.candidates)
    if not run.config.evaluation.tune_baselines or not len(task.users) or len(baseline.grid) == 1:
        return dict(baseline.grid[0]), []
    tuned = tune(
        baseline,
        split.train,
        task,
        seed=run.seeds[0],
        batch_size=run.config.evaluation.batch_size,
        description=f"tuning {baseline.name}",
    )
    tried = [{**trial.params, tuned.metric: trial.score} for trial in tuned.trials]
    return tuned.params, tried


def _measure(
    run: Run,
    baseline: Baseline,
    parameters: dict[str, float | int],
    seed: int,
    split: Split,
    task: Task,
    dataset: Dataset,
    folder: Path,
) -> dict[str, Any]:
    started = time.perf_counter()
    ranker = baseline.fit(split.learnable(refit=run.config.split.refit), seed=seed, **parameters)
    seconds = time.perf_counter() - started
    config = run.config.evaluation
    evaluation = evaluate_ranker(
        ranker,
        task,
        ks=config.ks,
        batch_size=config.batch_size,
        description=f"evaluating {baseline.name}",
    )
    save_ranking(folder, evaluation, seed, dataset.user_ids, dataset.item_ids)
    return {**evaluation.means, "fit_seconds": round(seconds, 3), **parameters}
