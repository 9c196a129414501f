"""From the name of weights to the folder or file that holds them."""

import importlib.util
import os
from pathlib import Path

from recsys.content.weights.hub import cached_snapshot, download_snapshot, is_repository
from recsys.content.weights.known import known_weights, unknown_weights
from recsys.content.weights.sources import Hub, Installed, Url, Weights, Wheel
from recsys.errors import ArtifactError, ConfigError
from recsys.files import read_json, restore_folder

__all__ = ["RECORD", "cache_folder", "find_weights", "weights_here"]

RECORD = "fetched.json"  # beside the files: whence they came, their sizes and digests


def cache_folder() -> Path:
    """Return where fetched weights are kept: ``$RECSYS_WEIGHTS``, else ``~/.cache/recsys/weights``.

    What comes from the Hugging Face hub stays in the hub's own cache.
    """
    own = os.environ.get("RECSYS_WEIGHTS", "")
    return Path(own).expanduser() if own else Path.home() / ".cache" / "recsys" / "weights"


def find_weights(name: str, *, hub_owner: str | None = None, download: bool = True) -> Path:
    """Return the folder or file of weights.

    What is listed is looked for in its package (which is not imported), among what was fetched, or
    in the local cache of the Hugging Face hub; other names as a path, then on the hub. A model of
    the hub is downloaded where it is not here, unless ``HF_HUB_OFFLINE`` is set. Nothing else is.

    Args:
        name: a path, one that ``recsys weights list`` shows, or ``OWNER/NAME`` on the hub.
        hub_owner: whose model on the hub a name is that has no owner and is not listed.
        download: whether a model of the hub may be downloaded.

    Raises:
        ConfigError: they are not here; the message names the command that fetches them.
        ArtifactError: they were fetched, and have been damaged since.
    """
    weights = known_weights(name)  # first: a folder here may be called the same
    if weights is not None:
        return weights_here(weights) or _from_source(weights, download=download)
    path = _as_path(name)
    if path is not None:
        return path
    repository = f"{hub_owner}/{name}" if hub_owner and "/" not in name else name
    if not is_repository(repository):
        raise unknown_weights(name)
    return cached_snapshot(repository) or _from_hub(repository, download=download)


def weights_here(weights: Weights) -> Path | None:
    """Return the folder or file of listed weights that are on this machine; None if they are not.

    Raises:
        ArtifactError: they were fetched, and have been damaged since.
    """
    match weights.source:
        case Hub(repository=repository):
            root = cached_snapshot(repository)
        case Installed(module=module):
            root = _package_folder(module)
        case Wheel(module=module):
            root = _package_folder(module)
            if root is None or not (root / weights.inside).exists():
                root = _fetched(weights.name)
        case Url():
            root = _fetched(weights.name)
    found = None if root is None else root / weights.inside
    return found if found is not None and found.exists() else None


def _from_source(weights: Weights, *, download: bool) -> Path:
    """Download what may be downloaded unasked, or say how it is to be had."""
    if isinstance(weights.source, Hub):
        return _from_hub(weights.source.repository, download=download) / weights.inside
    if isinstance(weights.source, Installed):
        raise ConfigError(
            f"weights {weights.name!r} are part of {weights.source.module}: "
            f'pip install "recsys[{weights.source.extra}]"'
        )
    raise _not_here(weights.name)


def _from_hub(repository: str, *, download: bool) -> Path:
    if not download:
        raise _not_here(repository)
    return download_snapshot(repository)


def _not_here(name: str) -> ConfigError:
    return ConfigError(
        f"weights {name!r} are not here: recsys weights fetch {name}, or give a path"
    )


def _as_path(name: str) -> Path | None:
    """The path of that name, if there is something; None for words that can be no path."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, ~nobody, a zero byte
        return None


def _package_folder(module: str) -> Path | None:
    """The folder of an installed package; it is found, not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _fetched(name: str) -> Path | None:
    """The folder of weights that were fetched, every file as long as it was then."""
    folder = cache_folder() / name
    restore_folder(folder)  # of a fetch that was killed while it replaced another
    if not (folder / RECORD).is_file():
        return None
    for relative, about in read_json(folder / RECORD)["files"].items():
        path = folder / relative
        size = path.stat().st_size if path.is_file() else 0
        if size != about["size"]:
            raise ArtifactError(
                f"{path}: {size} bytes, {about['size']} were fetched; it is damaged: "
                f"recsys weights fetch {name}"
            )
    return folder
