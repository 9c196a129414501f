"""What evaluate says of its own figures: how sure they are, for whom they hold, and any alarms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import EvaluationConfig
from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import ConfigError
from recsys.evaluation.certainty import LEVEL, Certainty, certainty
from recsys.evaluation.groups import column_grouping, default_groupings
from recsys.evaluation.leaks import (
    Leak,
    fitted_leaks,
    oracle_leaks,
    refuse,
    split_leaks,
    wrong_figures,
)
from recsys.evaluation.metrics import METRICS
from recsys.evaluation.saved_lists import measure_lists, read_rankings
from recsys.evaluation.slice_report import SliceReport
from recsys.evaluation.slices import Lists, measure_slices
from recsys.evaluation.table import Results
from recsys.files import write_json
from recsys.stages.baselines import RANKINGS
from recsys.stages.embed import FITTED_ITEMS, FITTED_USERS
from recsys.stages.run import Run

__all__ = ["SERVED", "Scrutiny", "check_training", "scrutinise"]

SERVED = "two-tower"
MAIN = ("ndcg", "recall", "hr", "mrr")  # at every k of the config


@dataclass(frozen=True)
class Scrutiny:
    """What there is to say of the figures of a run.

    Attributes:
        report: what it adds to ``metrics.json``.
        verdicts: model -> whether it is better than the reference, by the main metric.
    """

    report: dict[str, Any]
    verdicts: dict[str, str]


def check_training(run: Run, dataset: Dataset, split: Split) -> list[Leak]:
    """Look for leaks before anything is measured; return the warnings.

    Raises:
        DataError: training knows of the test what the protocol forbids.
    """
    found = split_leaks(split, dataset.user_ids, dataset.item_ids)
    content = run.folder("content")
    for file, what, trained, ids in (
        (FITTED_ITEMS, "encoders of items", split.trained_items, dataset.item_ids),
        (FITTED_USERS, "encoders of users", split.trained_users, dataset.user_ids),
    ):
        if (content / file).is_file():
            fitted = np.load(content / file, allow_pickle=False)
            found += fitted_leaks(what, fitted, trained, ids)
    return refuse(found)


def scrutinise(
    run: Run,
    dataset: Dataset,
    split: Split,
    task: Task,
    folder: Path,
    warned: list[Leak],
    *,
    results: Results,
    served: str = SERVED,
    reference: str | None = None,
) -> Scrutiny:
    """Read the lists of all models again; test and slice them, hold the report's figures to them.

    Args:
        run: whose baselines are there.
        dataset: of the run.
        split: of it.
        task: that the lists answer.
        folder: of the report, with the lists of the towers; gets ``slices.json``, ``slices.md``.
        warned: alarms that were raised before.
        results: model -> seed -> metric -> value, as the report gives them.
        served: the model whose slices are shown.
        reference: the model that the others are held against; None: as in the config.

    Raises:
        ConfigError: the reference was not measured, or a slice is of no column.
        ArtifactError: saved lists are broken.
        DataError: a figure of the report is not that of the lists, or beyond any ranking.
    """
    if not len(task.users):
        return Scrutiny({"leaks": _plain(warned)}, {})
    config = run.config.evaluation
    lists = _lists(run, dataset, task, folder)
    reference = reference or config.reference
    if reference not in lists:
        raise ConfigError(
            f"evaluation.reference: {reference!r} was not measured; known: {list(lists)}"
        )
    truth = task.truth.histories().take(task.users)
    measured = measure_lists(lists, truth, [f"{name}@{k}" for name in METRICS for k in config.ks])
    leaks = wrong_figures(results, measured, truth.lengths)
    if split.protocol == "cold-items":
        leaks += oracle_leaks(measured, task, dataset.user_ids, config.headline)
    warned = [*warned, *refuse(leaks)]
    sure = certainty(measured, [f"{name}@{k}" for name in MAIN for k in config.ks])
    slices = _slices(run, dataset, split, task, lists, sure[config.headline], served)
    write_json(folder / "slices.json", slices.as_dict(served))
    (folder / "slices.md").write_text(slices.markdown(served), encoding="utf-8")
    report = _certain(sure, config, reference) | {
        "worst_slice": slices.worst_line(served),
        "leaks": _plain(warned),
    }
    return Scrutiny(report, dict(sure[config.headline].verdicts(reference)))


def _lists(run: Run, dataset: Dataset, task: Task, folder: Path) -> Lists:
    """The lists of the task's users: model -> seed -> items ``(u, k)``; the towers come first."""
    found: dict[str, dict[int, NDArray[np.int32]]] = {}
    k = max(run.config.evaluation.ks)
    # Whoever knows least has so many items to be recommended: somebody's list is as long.
    left = int(task.candidates.sum() - task.history.user_counts()[task.users].min())
    for place in (folder, run.folder("baselines")):
        found |= read_rankings(
            place / RANKINGS, dataset.user_ids, dataset.item_ids, k, longest=min(k, left)
        )
    return {
        model: {seed: items[task.users] for seed, items in per_seed.items()}
        for model, per_seed in found.items()
    }


def _slices(
    run: Run,
    dataset: Dataset,
    split: Split,
    task: Task,
    lists: Lists,
    sure: Certainty,
    served: str,
) -> SliceReport:
    """What is served beside the best of the others, over the default slices and those asked for."""
    learnt = split.learnable(refit=run.config.split.refit).item_counts()
    groupings = default_groupings(task, learnt, load_blocks(run.folder("content")))
    groupings += [column_grouping(name, dataset, task) for name in run.config.evaluation.slices]
    others = {m: i.mean for m, i in sure.intervals.items() if not m.startswith(served)}
    shown = [served, *sorted(others, key=lambda model: -others[model])[:1]]
    k = int(run.config.evaluation.headline.split("@")[1])
    return measure_slices({model: lists[model] for model in shown}, task, groupings, k=k)


def _certain(
    sure: Mapping[str, Certainty], config: EvaluationConfig, reference: str
) -> dict[str, Any]:
    """``intervals`` and ``verdicts`` of ``metrics.json``: model -> metric -> what is known."""
    intervals: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, dict[str, Any]] = {}
    for metric, one in sure.items():
        for model, value in one.intervals.items():
            intervals.setdefault(model, {})[metric] = value._asdict()
        for model, pair in one.against(reference).items():
            verdicts.setdefault(model, {})[metric] = pair.as_dict(one.level)
    about = {
        "reference": reference,
        "metric": config.headline,
        "level": LEVEL,
        "draws": next(iter(sure.values())).draws,
        "correction": "Holm over the models held against the reference, for each metric",
    }
    return {"certainty": about, "intervals": intervals, "verdicts": verdicts}


def _plain(leaks: list[Leak]) -> list[dict[str, Any]]:
    return [leak._asdict() for leak in leaks]
