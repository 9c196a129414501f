"""From the catalogue to what the towers take in: one block of vectors per [content.NAME] table."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import ContentConfig
from recsys.content.columns import delimiters_of, labels, number_rows, paths, texts
from recsys.content.encoder import MISSING, ContentBlock, Encoded, Encoder
from recsys.content.encoders import ENCODERS, check_encoder, encoder_family, make_encoder
from recsys.content.family import Modality, Wanted
from recsys.content.reduce import Reduction
from recsys.content.saved import vectors_file
from recsys.content.store import Spread, StoreReport, VectorStore
from recsys.content.vectors import read_vectors
from recsys.data.ids import ItemIds
from recsys.errors import ConfigError, DataError

__all__ = [
    "AssembledContent",
    "BlockReport",
    "Catalogue",
    "check_tables",
    "content_blocks",
    "contents_of",
    "encoder_of",
    "reduction_file",
]


class Catalogue(NamedTuple):
    """What is known of the items, one row an item in item-number order.

    Attributes:
        items: the columns (``Dataset.items``).
        item_ids: the items, ``n_items`` of them.
        rows: each item's row in the catalogue file, or -1, ``(n_items,)``.
        training: items that encoders, vocabularies and reductions may be fitted on: those with
            training rows, bool ``(n_items,)``.
        folder: where relative paths of images and sounds begin.
    """

    items: pd.DataFrame
    item_ids: ItemIds
    rows: NDArray[np.int64]
    training: NDArray[np.bool_]
    folder: Path


@dataclass(frozen=True)
class BlockReport:
    """How a block came to be: ``encoded + cached + missing + unreadable`` is the number of items.

    Attributes:
        name: of the block.
        encoder: with the digest of its weights; the file's name for ready-made vectors.
        dim: width.
        encoded: items encoded now.
        cached: items whose vectors were there already.
        missing: items that have no such content.
        unreadable: items whose content cannot be encoded.
        seconds: that it took.
        notes: what else there is to say.
        reasons: item number -> why it has no vector.
    """

    name: str
    encoder: str
    dim: int
    encoded: int
    cached: int
    missing: int
    unreadable: int
    seconds: float
    notes: tuple[str, ...]
    reasons: Mapping[int, str]

    @property
    def summary(self) -> dict[str, Any]:
        """All but the single items, json-able; how often each reason came."""
        facts = {name: value for name, value in vars(self).items() if name != "reasons"}
        why = Counter(reason for reason in self.reasons.values() if reason != MISSING)
        return facts | {"why": dict(why.most_common())}


class AssembledContent(NamedTuple):
    """All blocks of a data set, in the order of the configuration."""

    blocks: tuple[ContentBlock, ...]
    reports: tuple[BlockReport, ...]


def content_blocks(
    catalogue: Catalogue,
    configs: Mapping[str, ContentConfig],
    store: VectorStore,
    *,
    device: str = "cpu",
    out: Path | None = None,
    spread: Callable[[str], Spread] | None = None,
) -> AssembledContent:
    """Encode or read every configured kind of content.

    Vectors are left as the encoder makes them; towers centre and scale.

    Args:
        catalogue: the items.
        configs: the ``[content.NAME]`` tables.
        store: where encoded vectors are kept.
        device: ``"cpu"`` or ``"cuda"``, for encoders that compute on one.
        out: a folder for the vectors, which are then mapped from disk; None: in memory.
        spread: by the name of a table, what has its chunks encoded elsewhere.

    Returns:
        Blocks of ``(n_items, dim)`` each, with a report beside each.

    Raises:
        ConfigError: a name, column, encoder or option is not usable.
        DataError: what a table names cannot be read, or no item has any of it.
    """
    check_tables(configs, catalogue.items)  # all, before the first hour of encoding
    pairs = []
    for name, config in configs.items():
        if config.vectors is None:
            elsewhere = None if spread is None else spread(name)
            pairs.append(_encode(name, config, catalogue, store, device, out, elsewhere))
        else:
            pairs.append(_ready_made(name, config, config.vectors, catalogue, out))
    return AssembledContent(
        tuple(block for block, _ in pairs), tuple(report for _, report in pairs)
    )


def check_tables(configs: Mapping[str, ContentConfig], items: pd.DataFrame) -> None:
    """Say what can be said of ``[content.NAME]`` tables before anything is encoded.

    Args:
        configs: the tables.
        items: the catalogue.

    Raises:
        ConfigError: a name, column, encoder or option is not usable, or a library is not here.
    """
    for name, config in configs.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"[content.{name}]: name it by letters, digits, _ and -")
        lacking = [column for column in config.columns if column not in items.columns]
        if lacking:
            has = ", ".join(map(str, items.columns)) or "none (is there an items = FILE?)"
            raise ConfigError(
                f"[content.{name}]: the catalogue has no column {lacking[0]!r}; its columns: {has}"
            )
        if config.encoder is not None:
            family = check_encoder(config.encoder, config.options)
            if config.finetune.layers and not family.tunable:
                able = ", ".join(sorted(name for name, f in ENCODERS.items() if f.tunable))
                raise ConfigError(
                    f"[content.{name}]: encoder {config.encoder!r} has no layers that learn; "
                    f"finetune goes with {able}"
                )


def encoder_of(
    name: str, config: ContentConfig, catalogue: Catalogue, store: VectorStore, device: str
) -> tuple[Encoder[Any], Sequence[Any]]:
    """Make the encoder of a ``[content.NAME]`` table, and what it is to encode, one an item.

    Raises:
        ConfigError: a column, the encoder or an option is not usable.
        DataError: the columns hold nothing that such an encoder reads or can be fitted on.
    """
    check_tables({name: config}, catalogue.items)
    encoder_name = str(config.encoder)
    modality = encoder_family(encoder_name).modality
    folder = config.folder or catalogue.folder
    contents = contents_of(modality, catalogue.items[list(config.columns)], folder)
    wanted = Wanted(
        device=device,
        options=config.options,
        contents=[contents[item] for item in np.flatnonzero(catalogue.training).tolist()],
        keep=store.learnt,
    )
    return make_encoder(encoder_name, wanted), contents


def contents_of(
    modality: Modality, columns: pd.DataFrame, folder: Path, like: pd.DataFrame | None = None
) -> Sequence[Any]:
    """What encoders of a modality read, one content an item.

    Args:
        modality: of the encoder.
        columns: one row an item.
        folder: where relative paths begin.
        like: the same columns of other items, which say how cells are delimited; None: these.
    """
    match modality:
        case "text":
            return texts(columns)
        case "categories":
            return labels(columns, None if like is None else delimiters_of(like))
        case "numbers":
            return number_rows(columns)
        case "image" | "audio":
            return paths(columns, folder)


def _encode(
    name: str,
    config: ContentConfig,
    catalogue: Catalogue,
    store: VectorStore,
    device: str,
    out: Path | None,
    spread: Spread | None,
) -> tuple[ContentBlock, BlockReport]:
    """A block made by an encoder from columns of the catalogue."""
    started = time.perf_counter()
    encoder, contents = encoder_of(name, config, catalogue, store, device)
    if encoder_family(str(config.encoder)).stored:
        encoded, report = store.encode(
            encoder,
            contents,
            precision=config.precision,
            workers=config.workers,
            progress=f"encode {name}",
            out=None if out is None else vectors_file(out, name),
            spread=spread,
        )
    else:
        encoded = encoder.encode(contents)
        report = StoreReport(0, int(encoded.present.sum()), 0, 0.0)
    return _block(name, config, encoder.name, encoded, report, catalogue, started, out=out)


def _ready_made(
    name: str, config: ContentConfig, path: Path, catalogue: Catalogue, out: Path | None
) -> tuple[ContentBlock, BlockReport]:
    """A block of ready-made vectors."""
    started = time.perf_counter()
    encoded, notes = read_vectors(
        path, config.ids, config.missing, catalogue.item_ids, catalogue.rows
    )
    report = StoreReport(int(encoded.present.sum()), 0, 0, 0.0)
    return _block(name, config, path.name, encoded, report, catalogue, started, notes, out)


def _block(
    name: str,
    config: ContentConfig,
    encoder: str,
    encoded: Encoded,
    store: StoreReport,
    catalogue: Catalogue,
    started: float,
    notes: tuple[str, ...] = (),
    out: Path | None = None,
) -> tuple[ContentBlock, BlockReport]:
    """The block and its report; a block that no item has is refused."""
    absent = np.flatnonzero(~encoded.present).tolist()
    reasons = {row: encoded.reasons.get(row, MISSING) for row in absent}
    unreadable = [why for why in reasons.values() if why != MISSING]
    n_present = int(encoded.present.sum())
    if not n_present:
        why = f" (the first: {unreadable[0]})" if unreadable else ""
        raise DataError(
            f"[content.{name}]: none of {len(encoded.present):,} items has any{why}; "
            "check its columns or vectors, or leave it out"
        )
    if config.reduce is not None and config.dim is not None:
        rows = np.flatnonzero(encoded.present & catalogue.training)
        try:
            reduction = Reduction.fit(config.reduce, config.dim, encoded.vectors, rows)
        except DataError as error:
            raise DataError(f"[content.{name}]: {error}") from None
        encoded = reduction.apply(encoded)
        if out is not None:
            reduction.save(reduction_file(out, name))
    block = ContentBlock(name, encoded.vectors, encoded.present)
    report = BlockReport(
        name=name,
        encoder=encoder,
        dim=block.dim,
        encoded=store.misses,
        cached=store.hits,
        missing=len(reasons) - len(unreadable),
        unreadable=len(unreadable),
        seconds=time.perf_counter() - started,
        notes=notes,
        reasons=reasons,
    )
    return block, report


def reduction_file(folder: Path, name: str) -> Path:
    """Where the reduction of a block lies, if it has one."""
    return folder / f"{name}.reduction.safetensors"
