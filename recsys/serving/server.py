"""``recsys serve``: a bundle behind uvicorn, which is looked at again every few seconds."""

import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NamedTuple, Protocol

import torch
import uvicorn
from threadpoolctl import threadpool_limits

from recsys.errors import ConfigError
from recsys.serving.app import Limits, create_app
from recsys.serving.registry import CHAMPION, Registry
from recsys.serving.served import Service

__all__ = ["Source", "serve", "source_of"]

logger = logging.getLogger(__name__)

SCHEME = "models:/"


class Source(Protocol):
    """Says where the bundle lies that should be served now."""

    def __call__(self) -> Path:
        """The bundle's folder."""
        ...

    def taken(self, folder: Path) -> None:
        """A folder, without links, is served from now on: others are not needed any more."""
        ...


def source_of(bundle: str, registry: str) -> Source:
    """Return what says where the bundle lies that should be served now.

    Args:
        bundle: a folder, or a link to one; or ``models:/NAME@ALIAS`` of MLflow's registry.
        registry: the MLflow store, for the second.

    Raises:
        ConfigError: it is neither.
    """
    if not bundle.startswith(SCHEME):
        return _Folder(Path(bundle))
    name, _, alias = bundle.removeprefix(SCHEME).partition("@")
    if not name or "/" in name:
        raise ConfigError(f"{bundle}: expected {SCHEME}NAME@ALIAS, such as {SCHEME}recsys@champion")
    return _Registered(Registry(registry, name), alias or CHAMPION)


@dataclass(frozen=True)
class _Folder:
    """A folder, or a link to one."""

    path: Path

    def __call__(self) -> Path:
        return self.path.resolve()

    def taken(self, folder: Path) -> None:
        """Nothing was fetched."""


class _Registered:
    """The bundle that an alias points to; a version is fetched once."""

    def __init__(self, registry: Registry, alias: str) -> None:
        self._registry = registry
        self._alias = alias
        self._fetched: dict[str, _Fetched] = {}  # by version

    def __call__(self) -> Path:
        version = self._registry.version_of(self._alias)
        if version not in self._fetched:
            scratch = TemporaryDirectory(prefix="recsys-", ignore_cleanup_errors=True)
            try:
                folder = self._registry.bundle_folder(version, Path(scratch.name))
            except BaseException:
                scratch.cleanup()
                raise
            self._fetched[version] = _Fetched(folder, scratch)
        return self._fetched[version].folder

    def taken(self, folder: Path) -> None:
        """Remove all but the folder that is served from now on; the others are not asked again."""
        for version, fetched in list(self._fetched.items()):
            if fetched.folder.resolve() != folder:
                fetched.scratch.cleanup()
                del self._fetched[version]


class _Fetched(NamedTuple):
    """A version on this machine."""

    folder: Path
    scratch: "TemporaryDirectory[str]"  # that goes when the process ends


def serve(source: Source, *, host: str, port: int, reload: float, limits: Limits) -> None:
    """Serve until stopped; SIGHUP looks for another bundle at once.

    Args:
        source: says where the bundle lies; see `source_of`.
        host: to listen at.
        port: to listen at.
        reload: seconds between looking for another bundle.
        limits: of requests.

    Raises:
        RecsysError: there is no bundle, or it is broken.
    """
    torch.set_num_threads(1)  # requests run beside each other; threads of theirs would only quarrel
    service = Service(source, source.taken)
    service.watch(reload)

    def wake(number: int, frame: FrameType | None) -> None:
        del number, frame
        service.wake()

    signal.signal(signal.SIGHUP, wake)
    card = service.current.bundle.card
    logger.info("serving %s (%s) at http://%s:%d", card.name, card.short, host, port)
    try:
        with threadpool_limits(1, "blas"):  # nor threads of numpy's
            uvicorn.run(
                create_app(service, limits),
                host=host,
                port=port,
                access_log=False,
                log_level="warning",
                server_header=False,
            )
    finally:
        service.stop()
