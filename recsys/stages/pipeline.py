"""The way from a log to everybody's recommendations: the stages in their order."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from recsys.data.dataset import Dataset
from recsys.errors import ArtifactError
from recsys.fitting import check_times
from recsys.stages.baselines import baselines_stage
from recsys.stages.embed import embed_stage
from recsys.stages.evaluate import evaluate_stage
from recsys.stages.index import index_stage
from recsys.stages.prepare import check_asked_again, prepare_stage
from recsys.stages.recommend import recommend_stage
from recsys.stages.run import Run
from recsys.stages.stage import RECORD, Record, Stage, inputs_of, is_fresh, perform, read_record
from recsys.stages.train import train_stage

__all__ = ["STAGES", "Planned", "perform_stages", "plan", "stages_of"]

STAGES = ("prepare", "embed", "train", "index", "recommend", "evaluate")


def stages_of(run: Run, names: tuple[str, ...] = STAGES) -> Iterator[Stage]:
    """Yield the stages of the given names in the order of the way, training once a seed."""
    for name in STAGES:
        if name not in names:
            continue
        if name == "prepare":
            yield prepare_stage(run)
        elif name == "embed":
            yield embed_stage(run)
        elif name == "train":
            yield from (train_stage(run, seed) for seed in run.seeds)
        elif name == "index":
            yield from (index_stage(run, seed) for seed in run.seeds)
        elif name == "recommend":
            yield recommend_stage(run)
        else:
            yield baselines_stage(run)
            yield evaluate_stage(run)


def perform_stages(
    run: Run,
    names: tuple[str, ...] = STAGES,
    *,
    force: bool = False,
    tell: Callable[[Record], None],
) -> dict[str, Any]:
    """Do the stages that are not fresh; return what each found, by stage name.

    Raises:
        RecsysError: a stage cannot be done; those before it are kept.
    """
    facts: dict[str, Any] = {}
    for stage in stages_of(run, names):
        record = perform(stage, force=force, workers=run.workers)
        facts[stage.name] = record.facts
        tell(record)
        if stage.name == "prepare" and record.skipped:  # else it has looked itself
            check_asked_again(run)
        if stage.name == "prepare" and run.config.towers.time_gaps:  # not after hours of encoding
            check_times(run.config.towers, Dataset.load(stage.folder).time_kind)
    return facts


class Planned(NamedTuple):
    """What would be done of a stage."""

    stage: str
    would: Literal["do", "skip"]
    seconds: float | None  # it took the last time
    folder: str


def plan(run: Run, names: tuple[str, ...] = STAGES) -> list[Planned]:
    """Say what would be done, without doing it."""
    lines = []
    for stage in stages_of(run, names):
        try:
            doing = stage.always or not is_fresh(stage, inputs_of(stage))
        except ArtifactError:
            doing = True  # an input will be made first
        made = (stage.folder / RECORD).is_file()
        seconds = float(read_record(stage.folder)["seconds"]) if made else None
        lines.append(Planned(stage.name, "do" if doing else "skip", seconds, str(stage.folder)))
    return lines
