"""``recsys serve``: a bundle behind uvicorn, which is looked at again every few seconds."""

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
import uvicorn

from recsys.errors import ConfigError
from recsys.serving.app import Limits, create_app
from recsys.serving.registry import CHAMPION, Registry
from recsys.serving.served import Service

__all__ = ["serve", "source_of"]

logger = logging.getLogger(__name__)

SCHEME = "models:/"


def source_of(bundle: str, registry: str) -> Callable[[], Path]:
    """Return what says where the bundle lies that should be served now.

    Args:
        bundle: a folder, or a link to one; or ``models:/NAME@ALIAS`` of MLflow's registry.
        registry: the MLflow store, for the second.

    Raises:
        ConfigError: it is neither.
    """
    if not bundle.startswith(SCHEME):
        return Path(bundle).resolve
    name, _, alias = bundle.removeprefix(SCHEME).partition("@")
    if not name or "/" in name:
        raise ConfigError(f"{bundle}: expected {SCHEME}NAME@ALIAS, such as {SCHEME}recsys@champion")
    return _Registered(Registry(registry, name), alias or CHAMPION)


class _Registered:
    """The bundle that an alias points to; a version is fetched once."""

    def __init__(self, registry: Registry, alias: str) -> None:
        self._registry = registry
        self._alias = alias
        self._version: str | None = None
        self._folder = Path()

    def __call__(self) -> Path:
        version = self._registry.version_of(self._alias)
        if version != self._version:
            self._folder = self._registry.bundle_folder(version)
            self._version = version
        return self._folder


def serve(find: Callable[[], Path], *, host: str, port: int, reload: float, limits: Limits) -> None:
    """Serve until stopped; SIGHUP looks for another bundle at once.

    Args:
        find: says where the bundle lies; see `source_of`.
        host: to listen at.
        port: to listen at.
        reload: seconds between looking for another bundle.
        limits: of requests.

    Raises:
        RecsysError: there is no bundle, or it is broken.
    """
    torch.set_num_threads(1)  # requests run beside each other; threads of theirs would only quarrel
    service = Service(find)
    service.watch(reload)

    def wake(number: int, frame: FrameType | None) -> None:
        del number, frame
        service.wake()

    signal.signal(signal.SIGHUP, wake)
    card = service.current.bundle.card
    logger.info("serving %s (%s) at http://%s:%d", card.name, card.short, host, port)
    try:
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
