"""The teacher of a training: the towers of an earlier run on the same data and split."""

from pathlib import Path

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.errors import ArtifactError, ConfigError
from recsys.stages.run import Run
from recsys.stages.stage import read_record
from recsys.towers.saved import load_towers
from recsys.towers.two_tower import TwoTower

__all__ = ["load_teacher", "teacher_files"]


def teacher_files(run: Run, seed: int) -> tuple[Path, ...]:
    """The folders of the teacher's run that a training reads; none where nobody teaches.

    Towers are those of the same seed if it has such, else its first.

    Raises:
        ConfigError: a run would teach itself.
    """
    teacher = run.config.training.teacher
    if teacher is None:
        return ()
    if teacher == run.out:
        raise ConfigError(f"training.teacher: {teacher} cannot teach itself; choose another --out")
    own = teacher / "seeds" / str(seed) / "towers"
    return (own if own.is_dir() else teacher / "towers", teacher / "content")


def load_teacher(run: Run, seed: int) -> TwoTower | None:
    """Read the towers that teach; None where nobody does.

    Raises:
        ArtifactError: the teacher's run is not finished, or learnt from another log or split.
        ConfigError: it has learnt from the validation part, which is to judge the student.
    """
    files = teacher_files(run, seed)
    if not files:
        return None
    towers, content = files
    settings = read_record(towers)["settings"]
    data = content.with_name("data")
    if read_record(data)["outputs"] != read_record(run.folder("data"))["outputs"]:
        raise ArtifactError(
            f"{towers}: learnt from another log or split than {run.folder('data')}; train the "
            "teacher with the same [data] and [split]"
        )
    if settings["refit"]:
        raise ConfigError(
            f"training.teacher: {towers} has learnt from the validation part, by which this "
            "training is stopped; train the teacher with split.refit = false"
        )
    return load_towers(towers, load_blocks(content), load_user_blocks(content))
