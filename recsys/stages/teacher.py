"""The teachers of a training: the towers of earlier runs on the same data and split."""

from pathlib import Path

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.errors import ArtifactError, ConfigError
from recsys.stages.run import Run
from recsys.stages.stage import read_record
from recsys.towers.saved import load_towers
from recsys.towers.two_tower import TwoTower
from recsys.training.distill import Teachers

__all__ = ["load_teachers", "teacher_files"]


def teacher_files(run: Run, seed: int) -> tuple[Path, ...]:
    """The folders of the teachers' runs that a training reads; none where nobody teaches.

    Towers are those of the same seed if a run has such, else its first.

    Raises:
        ConfigError: a run would teach itself.
    """
    training = run.config.training
    files: list[Path] = []
    for teacher in (training.teacher, training.teacher_refit):
        if teacher is None:
            continue
        if teacher == run.out:
            raise ConfigError(
                f"training.teacher: {teacher} cannot teach itself; choose another --out"
            )
        own = teacher / "seeds" / str(seed) / "towers"
        files += [own if own.is_dir() else teacher / "towers", teacher / "content"]
    return tuple(files)


def load_teachers(run: Run, seed: int) -> Teachers | None:
    """Read the towers that teach; None where nobody does.

    Raises:
        ArtifactError: a teacher's run is not finished, or learnt from another log or split.
        ConfigError: one that teaches while validation judges has learnt from it, or the other not.
    """
    files = teacher_files(run, seed)
    if not files:
        return None
    search = _load(run, *files[:2], refit=False)
    return Teachers(search, search if len(files) == 2 else _load(run, *files[2:], refit=True))


def _load(run: Run, towers: Path, content: Path, *, refit: bool) -> TwoTower:
    settings = read_record(towers)["settings"]
    data = content.with_name("data")
    if read_record(data)["outputs"] != read_record(run.folder("data"))["outputs"]:
        raise ArtifactError(
            f"{towers}: learnt from another log or split than {run.folder('data')}; train the "
            "teacher with the same [data] and [split]"
        )
    if settings["refit"] and not refit:
        raise ConfigError(
            f"training.teacher: {towers} has learnt from the validation part, by which this "
            "training is stopped; train the teacher with split.refit = false, and name this one "
            "as training.teacher_refit"
        )
    if refit and not settings["refit"]:
        raise ConfigError(
            f"training.teacher_refit: {towers} has not learnt from the validation part; train it "
            "with split.refit = true"
        )
    return load_towers(towers, load_blocks(content), load_user_blocks(content))
