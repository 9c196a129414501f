"""What a stage is: settings and inputs in, one folder with a ``stage.json`` out.

A stage is fresh when its settings, the files it read and the files it wrote are what its
``stage.json`` says; only then is it skipped. So a run that was killed goes on where it stood.
"""

import logging
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recsys import __version__
from recsys.errors import ArtifactError
from recsys.files import (
    JOURNAL,
    atomic_folder,
    digest_file,
    digest_files,
    digest_json,
    read_json,
    resumed_folder,
    write_json,
)
from recsys.training.workers import Workers

__all__ = ["RECORD", "Record", "Stage", "inputs_of", "is_fresh", "perform", "read_record"]

logger = logging.getLogger(__name__)

RECORD = "stage.json"
MADE_BY = {
    "data": "prepare",
    "content": "embed",
    "towers": "train",
    "index": "index",
    "recommendations": "recommend",
    "baselines": "evaluate",
    "report": "evaluate",
}  # folder -> command
LIBRARIES = ("torch", "numpy", "pandas", "annoy", "implicit", "sentence-transformers")

Facts = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One step of the way.

    Attributes:
        name: what the command line calls it.
        folder: what it writes.
        settings: the part of the configuration that it obeys, json-able.
        reads: the earlier stages whose folders it reads.
        files: the user's own files or folders that it reads.
        work: writes into the folder that it is given and returns facts worth recording. The folder
            is empty, but for what a killed call left where the stage resumes.
        always: do it at every run: it reads files that only itself knows of. What it writes is the
            same as long as they are, and later stages are skipped.
        resumes: what is finished of a killed call is kept for the next with the same key.
        join: what processes that share the work do, while the first does ``work``.
        is_there: whether what it wrote elsewhere than into its folder is there still.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    reads: tuple["Stage", ...]
    files: tuple[Path, ...]
    work: Callable[[Path], Facts]
    always: bool = False
    resumes: bool = False
    join: Callable[[], None] = lambda: None
    is_there: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Record:
    """What became of a stage."""

    name: str
    facts: Facts
    seconds: float
    skipped: bool


def perform(stage: Stage, *, force: bool = False, workers: Workers | None = None) -> Record:
    """Do the stage's work, or skip it when nothing it depends on has changed.

    Of several workers the first does it and the others join in; only the first one's record says
    what was found.

    Raises:
        ArtifactError: an earlier stage's folder is missing, was altered, or is of other settings.
    """
    inputs = inputs_of(stage)
    workers = workers or Workers()
    if not workers.agree(lambda: force or stage.always or not is_fresh(stage, inputs)):
        record = read_record(stage.folder)
        return Record(stage.name, record["facts"], record["seconds"], skipped=True)
    if not workers.is_first:
        stage.join()
        return Record(stage.name, {}, 0.0, skipped=False)
    logger.info("%s: begins", stage.name)
    started = time.perf_counter()
    with _unfinished(stage, _key(stage, inputs), force=force) as folder:
        facts = stage.work(folder)
        seconds = time.perf_counter() - started
        record = {
            "stage": stage.name,
            "key": _key(stage, inputs),
            "settings": dict(stage.settings),
            "inputs": inputs,
            "outputs": digest_files(folder, leave_out=frozenset({RECORD, JOURNAL})),
            "versions": _versions(),
            "seconds": round(seconds, 3),
            "facts": facts,
        }
        write_json(folder / RECORD, record)
    logger.info("%s: done in %.1f s: %s", stage.name, seconds, facts)
    return Record(stage.name, facts, seconds, skipped=False)


def _unfinished(stage: Stage, key: str, *, force: bool) -> AbstractContextManager[Path]:
    """The folder to work in."""
    if stage.resumes:
        return resumed_folder(stage.folder, key, afresh=force)
    return atomic_folder(stage.folder)


def is_fresh(stage: Stage, inputs: Mapping[str, str]) -> bool:
    """Whether the folder holds exactly what this stage would write, and so does elsewhere."""
    if not (stage.folder / RECORD).is_file():
        return False
    record = read_record(stage.folder)
    if record["key"] != _key(stage, inputs) or _altered(stage.folder, record):
        return False
    return stage.is_there()


def inputs_of(stage: Stage) -> dict[str, str]:
    """Return the digest of everything a stage reads: ``{folder or file: sha256}``.

    Raises:
        ArtifactError: an earlier stage's folder is missing, or holds other files than it wrote.
    """
    digests = {}
    for number, earlier in enumerate(stage.reads):
        record = read_record(earlier.folder)
        command = f"recsys {_made_by(earlier.folder)} CONFIG"
        altered = _altered(earlier.folder, record)
        if altered:
            raise ArtifactError(
                f"{earlier.folder / altered[0]}: is not what the stage {earlier.name!r} wrote; "
                f"run `{command} --force`"
            )
        if record["key"] != _key(earlier, inputs_of(earlier)):
            raise ArtifactError(
                f"{earlier.folder}: was made with other settings or from other files than the "
                f"config now says; run `{command}`, or `recsys run CONFIG`"
            )
        digests[f"{number} {earlier.folder.name}"] = digest_json(record["outputs"])
    for number, path in enumerate(stage.files):
        name = f"file {number} {path.name}"
        digests[name] = digest_json(digest_files(path)) if path.is_dir() else _digest(path)
    return digests


def read_record(folder: Path) -> dict[str, Any]:
    """Read a folder's ``stage.json``.

    Raises:
        ArtifactError: there is none, or it is not one.
    """
    if not (folder / RECORD).is_file():
        raise ArtifactError(
            f"{folder}: not made yet; `recsys {_made_by(folder)} CONFIG` makes it, or all that "
            "is missing `recsys run CONFIG`"
        )
    record = read_json(folder / RECORD)
    missing = {"stage", "key", "outputs", "facts", "seconds"} - set(record)
    if missing:
        raise ArtifactError(f"{folder / RECORD}: lacks {sorted(missing)}; delete the folder")
    return dict(record)


def _made_by(folder: Path) -> str:
    """The command whose stage writes a folder; what no stage writes, the whole way does."""
    return MADE_BY.get(folder.name, "run")


def _altered(folder: Path, record: Mapping[str, Any]) -> list[str]:
    now, then = digest_files(folder, leave_out=frozenset({RECORD})), record["outputs"]
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def _key(stage: Stage, inputs: Mapping[str, str]) -> str:
    return digest_json([stage.name, dict(stage.settings), dict(inputs), __version__])


def _digest(path: Path) -> str:
    """A missing file has a digest too: the stage itself says best what is missing."""
    return digest_file(path) if path.is_file() else "absent"


def _versions() -> dict[str, str]:
    versions = {"recsys": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions
