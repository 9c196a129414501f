"""The changes of an index on disk: their files, the card that describes them, the checks."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from recsys.errors import ArtifactError, DataError
from recsys.files import FileFacts, check_file, describe_file
from recsys.index.saved import read_sealed, write_sealed
from recsys.index.vectors import Vectors, unit_vectors

__all__ = ["CARD", "Side", "read_side", "write_side"]

CARD = "live.json"
NUMBERS, SIDE, REMOVED = "numbers.npy", "side.npy", "removed.npy"
AGAIN = "make the changes again"

Probes = dict[int, tuple[int, ...]]  # changed item -> its nearest items


class Side(NamedTuple):
    """What changed, and in what.

    Attributes:
        numbers: items with another vector than in the base, ascending, int64 ``(m,)``.
        vectors: theirs, float32 ``(m, dim)``.
        removed: items that are never answered, ascending, int64 ``(r,)``.
        base: items of the base.
        base_ids_digest: of their ids.
        ids_digest: of the ids of all items.
    """

    numbers: NDArray[np.int64]
    vectors: Vectors
    removed: NDArray[np.int64]
    base: int
    base_ids_digest: str
    ids_digest: str


class _Card(BaseModel):
    """What saved changes say of themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    metric: Literal["angular"] = "angular"
    dim: int
    base: int
    count: int  # items with those added
    base_ids_digest: str
    ids_digest: str
    files: dict[str, FileFacts]
    probes: Probes


def write_side(folder: Path, side: Side, count: int, probes: Probes) -> None:
    """Write the arrays and then the card; ``probes`` are asked again at load."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    for name, array in ((NUMBERS, side.numbers), (SIDE, side.vectors), (REMOVED, side.removed)):
        np.save(folder / name, array, allow_pickle=False)
    card = _Card(
        dim=side.vectors.shape[1],
        base=side.base,
        count=count,
        base_ids_digest=side.base_ids_digest,
        ids_digest=side.ids_digest,
        files={name: describe_file(folder / name) for name in (NUMBERS, SIDE, REMOVED)},
        probes=probes,
    )
    write_sealed(folder / CARD, card)


def read_side(folder: Path, empty: Side) -> tuple[Side, Probes]:
    """Read what `write_side` wrote.

    Args:
        folder: that holds it.
        empty: no changes, of the base and the ids that are expected.

    Raises:
        ArtifactError: a file is missing or damaged, or it is of another base or of other ids.
    """
    card = read_sealed(folder / CARD, _Card, AGAIN)
    of = (card.base, card.dim, card.base_ids_digest[:12], card.ids_digest[:12])
    here = (
        empty.base,
        empty.vectors.shape[1],
        empty.base_ids_digest[:12],
        empty.ids_digest[:12],
    )
    if of != here or set(card.files) != {NUMBERS, SIDE, REMOVED}:
        raise ArtifactError(
            f"{folder}: changes of {of[0]:,} items x {of[1]} (ids {of[2]!r}, then {of[3]!r}), "
            f"asked for {here[0]:,} items x {here[1]} ({here[2]!r}, then {here[3]!r}); {AGAIN}"
        )
    for name, expected in card.files.items():
        check_file(folder / name, expected, CARD, AGAIN)
    numbers, vectors, removed = (_read(folder / name) for name in (NUMBERS, SIDE, REMOVED))
    side = empty._replace(numbers=numbers, vectors=vectors, removed=removed)
    if why := _misfit(side, card):
        raise ArtifactError(f"{folder}: {why}; {AGAIN}")
    return side, card.probes


def _misfit(side: Side, card: _Card) -> str:
    """What is wrong with arrays that came from files; "" if nothing."""
    for name, array, kind, axes in (
        (NUMBERS, side.numbers, np.int64, 1),
        (REMOVED, side.removed, np.int64, 1),
        (SIDE, side.vectors, np.float32, 2),
    ):
        if array.dtype != kind or array.ndim != axes:
            return f"{name} is {array.dtype} of shape {array.shape}"
    lists = (side.numbers, side.removed)
    ascending = all((np.diff(array) > 0).all() for array in lists)
    within = all(not len(a) or (a[0] >= 0 and a[-1] < card.count) for a in lists)
    added = int((side.numbers >= card.base).sum())
    if not ascending or not within or added != card.count - card.base:
        return f"the numbers are not those of {card.count:,} items"
    try:
        unit_vectors(side.vectors, SIDE, dim=card.dim)
    except DataError as error:
        return str(error)
    if len(side.vectors) != len(side.numbers):
        return f"{len(side.vectors):,} vectors of {len(side.numbers):,} items"
    return ""


def _read(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: {error}; {AGAIN}") from None
    return array
