"""A finished run -> a bundle: which of its files serving reads."""

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from recsys import __version__
from recsys.config_file import to_toml
from recsys.data import dataset_files as data_files
from recsys.errors import ArtifactError, ConfigError, RecsysError
from recsys.files import atomic_folder, digest_files, digest_json, remove_folder, write_json
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import (
    CARD,
    ENCODERS,
    RANKING,
    Bundle,
    BundleCard,
)
from recsys.serving.described import describe_files, digest_of
from recsys.serving.search import TextSearch
from recsys.stages.command import CONFIG_FILE, Command
from recsys.stages.evaluate import METRICS_FILE, TRUTH
from recsys.stages.run import Run
from recsys.stages.stage import RECORD, read_record

__all__ = ["as_bundle", "make_bundle"]

DATA = (
    data_files.ABOUT,
    data_files.USERS,
    data_files.ITEMS,
    data_files.REJECTED,
)
TOWERS = ("towers.json", "weights.safetensors", "tuned.safetensors")  # the last one not always
LIBRARIES = ("torch", "numpy", "pandas", "annoy")
# what stages write beside that serving does not read
NOT_READ = frozenset({RECORD, "absent.parquet", "fitted_users.npy"})

logger = logging.getLogger(__name__)


def as_bundle(folder: Path) -> Bundle:
    """Load a bundle; a run is bundled first, beside itself.

    Raises:
        ArtifactError: the folder is neither.
    """
    return Bundle.load(folder) if (folder / CARD).is_file() else make_bundle(folder)


def make_bundle(folder: Path, out: Path | None = None) -> Bundle:
    """Write what serving needs of a finished run into one folder.

    Args:
        folder: of the run.
        out: of the bundle; absent: beside the run.

    Raises:
        ArtifactError: the run is not finished, or its report is not about its towers and index.
        ConfigError: ``out`` holds something else than a bundle, which would be lost.
    """
    run = Command.finished(folder).run
    _check_report(run)
    report = Command(run).report()
    seed = run.seeds[0]
    blocks = read_record(run.folder("content"))["facts"]["blocks"]
    encoders = {block["name"]: block["encoder"] for block in blocks}
    target = out or run.out.with_name(f"{run.out.name}.bundle")
    _check_target(target)
    with atomic_folder(target) as partial:
        for path, name in _parts(run):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, partial / name)
        (partial / CONFIG_FILE).write_text(to_toml(run.config), encoding="utf-8")
        recommender = Recommender.load(partial)  # a bundle that does not answer is none
        recommender.recommend(recommender.user_ids.values[:1], k=1)
        try:
            TextSearch.load(partial, encoders)  # what an encoder has to learn is kept here
        except RecsysError as error:
            logger.info("the bundle has no text search: %s", error)
            remove_folder(partial / ENCODERS)
        files = describe_files(partial)
        card = BundleCard(
            name=run.out.name,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            digest=digest_of(files),
            seed=seed,
            versions={"recsys": __version__, "python": python_version()}
            | {name: version(name) for name in LIBRARIES},
            encoders=encoders,
            counts=_counts(recommender),
            evaluation=report["models"]["two-tower"]["per_seed"][str(seed)],
            files=files,
        )
        write_json(partial / CARD, card.model_dump(mode="json"))
    return Bundle.load(target)


def _counts(recommender: Recommender) -> dict[str, int]:
    return {
        "users": len(recommender.user_ids),
        "items": len(recommender.item_ids),
        "interactions": len(recommender.known),
    }


def _parts(run: Run) -> Iterator[tuple[Path, str]]:
    """The files, each with its name in the bundle."""
    ranking = RANKING.format(run.seeds[0])
    names = [f"data/{name}" for name in (*DATA, *data_files.log_files(run.folder("data")))]
    names += [f"towers/{name}" for name in TOWERS if (run.folder("towers") / name).is_file()]
    names += [f"report/{METRICS_FILE}", f"report/{TRUTH}", ranking]
    for part in ("content", "index"):
        names += [f"{part}/{name}" for name in digest_files(run.folder(part), leave_out=NOT_READ)]
    return ((run.out / name, name) for name in names)


def _check_target(target: Path) -> None:
    if target.is_file() or (
        target.is_dir() and any(target.iterdir()) and not (target / CARD).is_file()
    ):
        raise ConfigError(
            f"{target}: holds something else than a bundle; give a folder that is new, empty or a "
            "bundle"
        )


def _check_report(run: Run) -> None:
    """Refuse figures that are not those of the towers and the index beside them.

    Raises:
        ArtifactError: a stage was done again after ``evaluate``, or a file was changed.
    """
    again = "run `recsys evaluate CONFIG` (or `recsys run CONFIG`) first"
    measured: dict[str, str] = {}
    for name, digest in read_record(run.folder("report"))["inputs"].items():
        measured.setdefault(name.partition(" ")[2], digest)  # the first seed's come first
    for part in ("data", "content", "towers", "index"):
        folder = run.folder(part)
        outputs = read_record(folder)["outputs"]
        if digest_files(folder, leave_out=frozenset({RECORD})) != outputs:
            raise ArtifactError(f"{folder}: is not what its stage wrote; {again}")
        if measured.get(part) != digest_json(outputs):
            raise ArtifactError(f"{folder}: is not what the report was measured on; {again}")
