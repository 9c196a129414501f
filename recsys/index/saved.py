"""An index on disk: its files, the card that describes them, and the checks before use.

``index.json``, the card, is written last and says what Annoy's own file does not remember. Nothing
is mapped into memory before size and sha256 of every file are those of the card.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.config import IndexConfig
from recsys.errors import ArtifactError
from recsys.files import (
    FileFacts,
    check_file,
    describe_file,
    digest_json,
    read_json,
    write_json,
)
from recsys.index.effort import Calibration
from recsys.index.packed import Packed, kind_of
from recsys.index.vectors import Rows, Vectors

__all__ = [
    "CARD",
    "VECTORS",
    "Card",
    "check_answers",
    "open_index",
    "read_card",
    "read_sealed",
    "read_vectors",
    "write_index",
    "write_sealed",
]

CARD = "index.json"
VECTORS = "vectors.npy"
SEAL = "digest"  # of all else that a card says
PROBES = 5  # items that are asked for their neighbours when an index is saved and when it is loaded
NEIGHBOURS = 10

AnyCard = TypeVar("AnyCard", bound=BaseModel)
Neighbours = Callable[[Vectors, int], NDArray[np.int32]]  # queries (q, dim), k -> items (q, k)


class Card(BaseModel):
    """All that is known of a saved index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = 2
    metric: Literal["angular"] = "angular"
    dim: int
    count: int  # items
    calibration: Calibration | None  # None for exact search
    config: IndexConfig
    ids_digest: str  # of the item ids that the vectors belong to
    files: dict[str, FileFacts]
    probes: dict[int, tuple[int, ...]]  # item -> its nearest items, itself among them


def write_index(
    folder: Path,
    vectors: Rows,
    config: IndexConfig,
    *,
    ids_digest: str,
    calibration: Calibration | None,
    neighbours: Neighbours,
    others: tuple[str, ...] = (),
) -> None:
    """Write the vectors and then the card; ``others`` are files already in the folder."""
    (folder / CARD).unlink(missing_ok=True)  # while files change there is no valid index here
    stored = vectors.codes if isinstance(vectors, Packed) else np.asarray(vectors)
    np.save(folder / VECTORS, stored, allow_pickle=False)
    count, dim = vectors.shape
    probes = np.unique(np.linspace(0, count - 1, PROBES).astype(np.int64))
    found = neighbours(vectors[probes], min(NEIGHBOURS, count))
    card = Card(
        dim=dim,
        count=count,
        calibration=calibration,
        config=config,
        ids_digest=ids_digest,
        files={name: describe_file(folder / name) for name in (VECTORS, *others)},
        probes=dict(zip(probes.tolist(), found.tolist(), strict=True)),
    )
    write_sealed(folder / CARD, card)


def read_card(folder: Path) -> Card:
    """Read what a folder says about its index.

    Raises:
        ArtifactError: there is no card, or it is not one of ours.
    """
    return read_sealed(folder / CARD, Card, "build the index again")


def write_sealed(path: Path, card: BaseModel) -> None:
    """Write a card with a digest of what it says."""
    content = card.model_dump(mode="json")
    write_json(path, content | {SEAL: digest_json(content)})


def read_sealed(path: Path, kind: type[AnyCard], again: str) -> AnyCard:
    """Read a card; one of before there were digests may have none.

    Args:
        path: of its file.
        kind: what it must be.
        again: what to do about one that is not.

    Raises:
        ArtifactError: there is no card, it is another, or it was altered.
    """
    content = read_json(path)
    seal = content.pop(SEAL, None) if isinstance(content, dict) else None
    try:
        card = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path}: {where}: {first['msg']}; {again}") from None
    if seal is not None and seal != digest_json(content):
        raise ArtifactError(f"{path}: was altered; {again}")
    return card


def open_index(folder: Path, *, kind: str, ids_digest: str, others: tuple[str, ...] = ()) -> Card:
    """Read the card and check that the files are whole and belong to the ids.

    Args:
        folder: of the index.
        kind: the kind that is expected, ``"exact"`` or ``"annoy"``.
        ids_digest: of the item ids that it must have been built for.
        others: the files of this kind beside the vectors.

    Raises:
        ArtifactError: a file is missing, cut or changed, or the index is of another kind or of
            other items.
    """
    card = read_card(folder)
    if card.config.kind != kind:
        raise ArtifactError(f"{folder}: an index of kind {card.config.kind!r}, expected {kind!r}")
    if card.ids_digest != ids_digest:
        raise ArtifactError(
            f"{folder}: built for items {card.ids_digest[:12]!r}, asked for {ids_digest[:12]!r}; "
            "build the index again for this data set"
        )
    if set(card.files) != {VECTORS, *others}:
        raise ArtifactError(
            f"{folder / CARD}: describes {sorted(card.files)}, expected "
            f"{sorted({VECTORS, *others})}; build the index again"
        )
    for name, expected in card.files.items():
        check_file(folder / name, expected, CARD, "build the index again")
    return card


def read_vectors(folder: Path, card: Card) -> Rows:
    """Map the vectors into memory as they are stored, read-only, shape ``(count, dim)``."""
    stored: NDArray[Any] = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    kind = card.config.vectors
    if stored.shape != (card.count, card.dim) or kind_of(stored.dtype) != kind:
        raise ArtifactError(
            f"{folder / VECTORS}: {stored.dtype} of shape {stored.shape}, expected {kind} of "
            f"shape ({card.count}, {card.dim}); build the index again"
        )
    return stored if kind == "float32" else Packed(stored)


def check_answers(folder: Path, card: Card, vectors: Rows, neighbours: Neighbours) -> None:
    """Ask what was asked when the index was saved; the answers must be the same.

    This finds what no digest can: another version of Annoy, or one that answers wrongly on this
    machine (annoy#679: one neighbour whatever k).

    Raises:
        ArtifactError: an answer differs.
    """
    probes = np.array(list(card.probes), dtype=np.int64)
    found = neighbours(vectors[probes], min(NEIGHBOURS, card.count))
    for probe, items in zip(probes.tolist(), found.tolist(), strict=True):
        if tuple(items) != card.probes[probe]:
            raise ArtifactError(
                f"{folder}: nearest to item {probe} were {list(card.probes[probe])} when saved, "
                f"now {items}; build the index again on this machine"
            )
