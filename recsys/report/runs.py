"""What notebooks look at: a finished run, made where it is not there, and its pictures."""

from collections.abc import Sequence
from pathlib import Path

from recsys.content.columns import paths
from recsys.content.encoders import encoder_family
from recsys.progress import set_quiet
from recsys.stages.command import Command
from recsys.stages.embed import catalogue_of
from recsys.stages.evaluate import METRICS_FILE
from recsys.stages.pipeline import STAGES, plan
from recsys.stages.run import Run

__all__ = ["finished_run", "pictures_of"]


def finished_run(
    config: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    stages: Sequence[str] = STAGES,
) -> Command:
    """Return a run with its stages done; what has been done before is not done again.

    Bars and messages are silenced: they are no part of what a notebook shows.

    Args:
        config: a TOML file.
        out: the folder that the runs of all notebooks share.
        overrides: words such as ``"training.epochs=3"``.
        name: of the run's folder in ``out``; the config's name if not given.
        stages: those that are needed, in their order. With all of them the run is recorded.

    Raises:
        RecsysError: the config cannot be used, or a stage cannot be done.
    """
    set_quiet(True)
    config = Path(config)
    command = Command.of(config, overrides, Path(out) / (name or config.stem))
    if set(stages) != set(STAGES):
        for stage in stages:
            command.stage(stage)
        return command
    # embed always looks at its files again; a notebook is content with the run as it stands.
    stale = [line.stage for line in plan(command.run) if line.would == "do"]
    if set(stale) - {"embed"} or not (command.out / "report" / METRICS_FILE).is_file():
        command.go()
    return command


def pictures_of(run: Run) -> list[Path | None]:
    """The picture of every item of a prepared run, ``n_items`` of them; None where there is none.

    Pictures are what the first content with an encoder of images reads, such as posters.
    """
    catalogue = catalogue_of(run)
    for content in run.config.content.values():
        if content.encoder and encoder_family(content.encoder).modality == "image":
            folder = content.folder or catalogue.folder
            files = paths(catalogue.items[list(content.columns)], folder)
            return [file if file is not None and file.is_file() else None for file in files]
    return [None] * len(catalogue.item_ids)
