"""From the catalogue to what the towers take in: one block of vectors per [content.NAME] table."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import ContentConfig
from recsys.content.columns import labels, number_rows, texts
from recsys.content.encoder import ContentBlock, Encoded
from recsys.content.encoders import encoder_family, make_encoder
from recsys.content.family import Modality, Wanted
from recsys.content.store import VectorStore
from recsys.content.vectors import read_vectors
from recsys.data.ids import ItemIds
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json, write_json

__all__ = [
    "AssembledContent",
    "BlockReport",
    "content_blocks",
    "load_blocks",
    "save_blocks",
]

CONTENTS: Mapping[Modality, Callable[[pd.DataFrame], Sequence[Any]]] = {
    "text": texts,
    "categories": labels,
    "numbers": number_rows,
}


@dataclass(frozen=True)
class BlockReport:
    """How a block came to be: ``encoded + cached + absent`` is the number of items."""

    name: str
    encoder: str  # with the digest of its weights; the file's name for ready-made vectors
    dim: int
    encoded: int  # items encoded now
    cached: int  # items whose vectors were there already
    absent: int  # items without this content
    seconds: float
    notes: tuple[str, ...] = ()


class AssembledContent(NamedTuple):
    """All blocks of a data set, in the order of the configuration."""

    blocks: tuple[ContentBlock, ...]
    reports: tuple[BlockReport, ...]


def content_blocks(
    items: pd.DataFrame,
    item_ids: ItemIds,
    catalogue_rows: NDArray[np.int64],
    configs: Mapping[str, ContentConfig],
    store: VectorStore,
    device: str = "cpu",
) -> AssembledContent:
    """Encode or read every configured kind of content.

    Text vectors are left as the encoder makes them; towers centre and scale.

    Args:
        items: the catalogue, one row an item in item-number order (``Dataset.items``).
        item_ids: the items, ``n_items`` of them.
        catalogue_rows: each item's row in the catalogue file, or -1, ``(n_items,)``.
        configs: the ``[content.NAME]`` tables.
        store: where encoded vectors are kept.
        device: ``"cpu"`` or ``"cuda"``, for encoders that compute on one.

    Returns:
        Blocks of ``(n_items, dim)`` each, with a report beside each.

    Raises:
        ConfigError: a name, column or encoder is not usable.
        DataError: what a table names cannot be read, or no item has any of it.
    """
    pairs = []
    for name, config in configs.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"[content.{name}]: name it by letters, digits, _ and -")
        if config.vectors is None:
            pairs.append(_encode(name, config, items, store, device))
        else:
            pairs.append(_read(name, config, config.vectors, item_ids, catalogue_rows))
    return AssembledContent(
        tuple(block for block, _ in pairs), tuple(report for _, report in pairs)
    )


def save_blocks(blocks: Sequence[ContentBlock], folder: Path) -> None:
    """Write ``NAME.npy``, ``NAME.present.npy`` and ``blocks.json``; same blocks, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        np.save(folder / f"{block.name}.npy", block.vectors, allow_pickle=False)
        np.save(folder / f"{block.name}.present.npy", block.present, allow_pickle=False)
    write_json(folder / "blocks.json", [{"name": b.name, "dim": b.dim} for b in blocks])


def load_blocks(folder: Path) -> tuple[ContentBlock, ...]:
    """Read what :func:`save_blocks` wrote.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not belong together.
    """
    blocks = []
    for about in read_json(folder / "blocks.json"):
        name = about["name"]
        try:
            vectors = np.load(folder / f"{name}.npy", allow_pickle=False)
            present = np.load(folder / f"{name}.present.npy", allow_pickle=False)
            block = ContentBlock(name, vectors, present)
        except (OSError, ValueError, EOFError, DataError) as error:
            raise ArtifactError(f"{folder}/{name}.npy: {error}; run embed again") from None
        if block.dim != about["dim"]:
            raise ArtifactError(
                f"{folder}/{name}.npy: is {block.dim} wide, blocks.json says {about['dim']}; "
                "run embed again"
            )
        blocks.append(block)
    return tuple(blocks)


def _encode(
    name: str, config: ContentConfig, items: pd.DataFrame, store: VectorStore, device: str
) -> tuple[ContentBlock, BlockReport]:
    """A block made by an encoder from columns of the catalogue."""
    started = time.perf_counter()
    lacking = [column for column in config.columns if column not in items.columns]
    if lacking:
        has = ", ".join(map(str, items.columns)) or "none (is there an items = FILE?)"
        raise ConfigError(
            f"[content.{name}]: the catalogue has no column {lacking[0]!r}; its columns: {has}"
        )
    encoder_name = str(config.encoder)
    family = encoder_family(encoder_name)
    contents = CONTENTS[family.modality](items[list(config.columns)])
    encoder = make_encoder(
        encoder_name, Wanted(device=device, options=config.options, contents=contents)
    )
    if family.stored:
        encoded, report = store.encode(encoder, contents, progress=f"encode {name}")
        cached = report.hits
    else:
        encoded, cached = encoder.encode(contents), 0
    return _block(name, encoder.name, encoded, cached, started)


def _read(
    name: str,
    config: ContentConfig,
    vectors: Path,
    item_ids: ItemIds,
    catalogue_rows: NDArray[np.int64],
) -> tuple[ContentBlock, BlockReport]:
    """A block of ready-made vectors."""
    started = time.perf_counter()
    encoded, notes = read_vectors(vectors, config.ids, config.missing, item_ids, catalogue_rows)
    return _block(name, vectors.name, encoded, int(encoded.present.sum()), started, notes)


def _block(
    name: str,
    encoder: str,
    encoded: Encoded,
    cached: int,
    started: float,
    notes: tuple[str, ...] = (),
) -> tuple[ContentBlock, BlockReport]:
    """The block and its report; a block that no item has is refused."""
    n_present = int(encoded.present.sum())
    if not n_present:
        raise DataError(
            f"[content.{name}]: none of {len(encoded.present):,} items has any; "
            "check its columns or vectors, or leave it out"
        )
    block = ContentBlock(name, encoded.vectors, encoded.present)
    report = BlockReport(
        name=name,
        encoder=encoder,
        dim=block.dim,
        encoded=n_present - cached,
        cached=cached,
        absent=len(encoded.present) - n_present,
        seconds=time.perf_counter() - started,
        notes=notes,
    )
    return block, report
