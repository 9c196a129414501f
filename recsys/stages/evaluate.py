"""evaluate: everything before -> DIR/report, what the towers are worth beside the baselines."""

from pathlib import Path
from typing import Any

import pandas as pd

from recsys.config import Config
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.evaluation.leaks import Leak
from recsys.evaluation.metrics import METRICS
from recsys.evaluation.ratings import rating_baselines, towers_rmse
from recsys.evaluation.reranking import components, reranking_markdown
from recsys.evaluation.table import (
    BEYOND,
    Against,
    Results,
    comparison_markdown,
    models_summary,
)
from recsys.files import digest_json, write_json
from recsys.index.exact import ExactIndex
from recsys.index.index import load_index
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.baselines import baselines_of, baselines_stage, load_results, save_ranking
from recsys.stages.beyond import aspects_of, with_beyond
from recsys.stages.curves import write_curves
from recsys.stages.embed import embed_stage
from recsys.stages.index import index_stage
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.reranking import MEASURED, rerank_rows
from recsys.stages.run import Run
from recsys.stages.scrutiny import SERVED, check_training, scrutinise
from recsys.stages.stage import Stage, read_record
from recsys.stages.train import train_stage
from recsys.towers.saved import load_towers

__all__ = [
    "METRICS_FILE",
    "TRUTH",
    "below_minimum",
    "check_evaluation",
    "evaluate_stage",
    "write_report",
]

METRICS_FILE = "metrics.json"
TOWERS = ("two-tower", "two-tower-exact")  # as served, and by exact search
TRUTH = "truth.parquet"


def evaluate_stage(run: Run) -> Stage:
    """Measure the towers of every seed, as served and exactly; write the comparison."""
    config, rerank = run.config, run.config.recommend.rerank

    def work(folder: Path) -> dict[str, Any]:
        dataset, split = load_data(run)
        warned = check_training(run, dataset, split)
        task = split.task("test", candidates=config.evaluation.candidates)
        baselines, tried = load_results(run.folder("baselines"))
        rankers = _served(run, dataset) if len(task.users) else {}
        results = {**_towers_results(run, rankers, dataset, task, folder), **baselines}
        more = {"tuning": tried, "index": read_record(run.folder("index"))["facts"]}
        more |= _ratings(run, split, task)
        more |= _reranked(run, rankers, dataset, split, task, folder)
        write_report(run, dataset, split, task, results, folder, warned, more=more)
        write_curves(run, folder)
        return {"users": len(task.users), "dropped": task.dropped}

    towers = [make(run, seed) for seed in run.seeds for make in (train_stage, index_stage)]
    return Stage(
        name="evaluate",
        folder=run.folder("report"),
        settings={
            "evaluation": config.evaluation.model_dump(mode="json", exclude={"minimum"}),
            "seeds": list(run.seeds),
        }
        | ({"rerank": rerank.model_dump(mode="json")} if rerank.active else {}),
        reads=(prepare_stage(run), embed_stage(run), baselines_stage(run), *towers),
        files=(),
        work=work,
    )


def write_report(
    run: Run,
    dataset: Dataset,
    split: Split,
    task: Task,
    results: Results,
    folder: Path,
    warned: list[Leak],
    *,
    more: dict[str, Any],
    blend: str | None = None,
) -> None:
    """Write all that is said of models: figures, beyond accuracy, certainty, slices, alarms.

    Args:
        run: whose data, content and baselines are there.
        dataset: of the run.
        split: of it.
        task: that was asked.
        results: model -> seed -> metric -> value.
        folder: of the report; it has the lists of all models but the baselines.
        warned: alarms that were raised before.
        more: what else ``metrics.json`` holds.
        blend: the model to slice and to hold the others against; None: the towers, and the
            ``reference`` of the config.
    """
    config = run.config.evaluation
    reference = blend or config.reference
    results = with_beyond(run, dataset, split, task, results, folder)
    _save_truth(folder, task, dataset)
    scrutiny = scrutinise(
        run,
        dataset,
        split,
        task,
        folder,
        warned,
        results=results,
        served=blend or SERVED,
        reference=reference,
    )
    report = {
        "schema": 1,
        "data": _about_data(run, dataset, task),
        "protocol": run.config.split.model_dump(mode="json", exclude_none=True)
        | {"candidates": config.candidates},
        "seeds": list(run.seeds),
        "models": models_summary(results),
    }
    write_json(folder / METRICS_FILE, report | more | scrutiny.report)
    tables = (
        comparison_markdown(results, against=Against(reference, scrutiny.verdicts)),
        comparison_markdown(results, columns=BEYOND),
    )
    (folder / "table.md").write_text("\n".join(tables), encoding="utf-8")


def below_minimum(report: dict[str, Any], minimum: dict[str, float]) -> list[str]:
    """One line for each metric of the two-tower that is below its ``[evaluation.minimum]``."""
    model = report["models"].get("two-tower", {})
    return [
        f"two-tower {name} is {model.get(name, 0.0):.4f}, below the minimum of {least}"
        for name, least in minimum.items()
        if model.get(name, 0.0) < least
    ]


def check_evaluation(config: Config) -> None:
    """Refuse what nothing will be measured against, before anything is done.

    Raises:
        ConfigError: a minimum is of no metric, or of a k that is not among ``ks``; or the reference
            of verdicts is a baseline that is not asked for.
    """
    evaluation = config.evaluation
    known = [f"{name}@{k}" for name in (*METRICS, "lauc", "coverage") for k in evaluation.ks]
    for name in evaluation.minimum:
        if name not in known:
            raise ConfigError(f"evaluation.minimum: {name!r} is not measured; known: {known}")
    models = [*TOWERS, *baselines_of(config)]
    if evaluation.reference not in models:
        raise ConfigError(
            f"evaluation.reference: {evaluation.reference!r} will not be measured; name it in "
            f"evaluation.baselines, or take one of {models}"
        )


def _served(run: Run, dataset: Dataset) -> dict[int, TwoTowerRanker]:
    """The towers of each seed as they are served."""
    content = run.folder("content")
    blocks, user_blocks = load_blocks(content), load_user_blocks(content)
    digest = dataset.item_ids.digest
    return {
        seed: TwoTowerRanker(
            load_towers(run.folder("towers", seed), blocks, user_blocks, dim=run.config.index.dim),
            load_index(run.folder("index", seed), ids_digest=digest),
        )
        for seed in run.seeds
    }


def _towers_results(
    run: Run, rankers: dict[int, TwoTowerRanker], dataset: Dataset, task: Task, folder: Path
) -> Results:
    results: Results = {}
    evaluation = run.config.evaluation
    for seed, served in rankers.items():
        exact = ExactIndex.build(served.towers.item_vectors())
        seconds = read_record(run.folder("towers", seed))["seconds"]
        for ranker in (served, TwoTowerRanker(served.towers, exact, name="two-tower-exact")):
            found = evaluate_ranker(
                ranker,
                task,
                ks=evaluation.ks,
                batch_size=evaluation.batch_size,
                description=f"evaluating {ranker.name}",
            )
            save_ranking(folder, found, seed, dataset.user_ids, dataset.item_ids)
            measured = {**found.means, "fit_seconds": seconds}
            results.setdefault(ranker.name, {})[seed] = measured
    return results


def _reranked(
    run: Run,
    rankers: dict[int, TwoTowerRanker],
    dataset: Dataset,
    split: Split,
    task: Task,
    folder: Path,
) -> dict[str, Any]:
    """The ``reranking`` of ``metrics.json``; nothing unless ``[recommend.rerank]`` is set."""
    config = run.config
    if not config.recommend.rerank.active or not rankers:
        return {}
    learnt = split.learnable(refit=config.split.refit)
    aspects, wanted = (
        aspects_of(run, dataset, learnt, MEASURED),
        components(config.recommend.rerank),
    )
    rows = rerank_rows(config, dataset, learnt, task, rankers, wanted, aspects)
    (folder / "reranking.md").write_text(reranking_markdown(rows), encoding="utf-8")
    return {"reranking": rows}


def _ratings(run: Run, split: Split, task: Task) -> dict[str, Any]:
    """The ``ratings`` of ``metrics.json``, in the log's unit; nothing unless they are learnt."""
    if not run.config.training.rating_weight or not len(task.truth):
        return {}
    content = run.folder("content")
    blocks, user_blocks = load_blocks(content), load_user_blocks(content)
    errors = {
        str(seed): towers_rmse(load_towers(run.folder("towers", seed), blocks, user_blocks), task)
        for seed in run.seeds
    }
    learnt = split.learnable(refit=run.config.split.refit)
    mean = sum(errors.values()) / len(errors)
    others = rating_baselines(learnt, task)
    return {"ratings": {"rmse": {"two-tower": mean, **others}, "per_seed": errors}}


def _about_data(run: Run, dataset: Dataset, task: Task) -> dict[str, Any]:
    record = read_record(run.folder("data"))
    return {
        **record["facts"],
        "evaluated_users": len(task.users),
        "dropped": task.dropped,
        "digest": digest_json(record["outputs"]),
        "generated": dataset.generated,
    }


def _save_truth(folder: Path, task: Task, dataset: Dataset) -> None:
    """What would have been right, beside the lists that were measured."""
    truth = pd.DataFrame(
        {
            "user_id": dataset.user_ids.ids(task.truth.users),
            "item_id": dataset.item_ids.ids(task.truth.items),
        }
    )
    truth.to_parquet(folder / TRUTH, index=False)
