"""More items for a catalogue that is encoded already, by the very encoders that did it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, contents_of, encoder_of, reduction_file
from recsys.content.encoder import MISSING, ContentBlock, Encoded
from recsys.content.encoders import encoder_family
from recsys.content.reduce import Reduction
from recsys.content.store import VectorStore
from recsys.errors import ArtifactError, DataError

__all__ = ["encode_more"]


def encode_more(
    items: pd.DataFrame,
    names: Sequence[object],
    *,
    items_folder: Path,
    before: Catalogue,
    blocks: Sequence[ContentBlock],
    numbers: NDArray[np.int64],
    configs: Mapping[str, ContentConfig],
    encoders: Mapping[str, str],
    store: VectorStore,
    reductions: Path,
    device: str = "cpu",
) -> tuple[ContentBlock, ...]:
    """Encode new or changed items as the others were.

    Ready-made vectors have no encoder: changed items keep theirs, new ones have none.

    Args:
        items: the columns of the catalogue, one row for each of ``m`` items, all columns.
        names: their ids, for messages.
        items_folder: where relative paths in these columns begin.
        before: the catalogue, and which of its items encoders may learn from.
        blocks: its content.
        numbers: what each item is in the catalogue, ``(m,)``; -1: new.
        configs: the ``[content.NAME]`` tables, in the order of ``blocks``.
        encoders: content -> the encoder that made its block.
        store: keeps what encoders learnt.
        reductions: the folder of the blocks' reductions.
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        Blocks of ``m`` rows each.

    Raises:
        DataError: an item has no content at all.
        ConfigError: an encoder or its weights are not here.
        ArtifactError: the encoder that is here is not the one that made the block.
    """
    found: list[ContentBlock] = []
    reasons: dict[int, str] = {}
    for block, (name, config) in zip(blocks, configs.items(), strict=True):
        if config.vectors is not None:
            found.append(_kept(block, numbers))
            continue
        encoder, _ = encoder_of(name, config, before, store, device)
        if encoder.name != encoders[name]:
            raise ArtifactError(
                f"content {name}: its vectors were made by {encoders[name]}, here is "
                f"{encoder.name}; fetch the weights of the first, or train again"
            )
        columns = list(config.columns)
        folder, like = config.folder or items_folder, before.items[columns]
        modality = encoder_family(str(config.encoder)).modality
        encoded = encoder.encode(contents_of(modality, items[columns], folder, like))
        encoded = _reduced(encoded, reduction_file(reductions, name))
        reasons |= {row: f"{name}: {why}" for row, why in encoded.reasons.items() if why != MISSING}
        found.append(ContentBlock(name, encoded.vectors, encoded.present))
    _check_content(found, names, reasons)
    return tuple(found)


def _kept(block: ContentBlock, numbers: NDArray[np.int64]) -> ContentBlock:
    there = numbers >= 0
    rows = np.maximum(numbers, 0)
    present = block.present[rows] & there
    return ContentBlock(block.name, block.vectors[rows] * present[:, None], present)


def _reduced(encoded: Encoded, path: Path) -> Encoded:
    return Reduction.load(path).apply(encoded) if path.is_file() else encoded


def _check_content(
    blocks: Sequence[ContentBlock], names: Sequence[object], reasons: Mapping[int, str]
) -> None:
    has_any = (
        np.any([block.present for block in blocks], axis=0) if blocks else np.zeros(len(names))
    )
    without = np.flatnonzero(~has_any.astype(np.bool_)).tolist()
    if without:
        why = f" ({reasons[without[0]]})" if without[0] in reasons else ""
        more = f" and {len(without) - 1:,} more" if len(without) > 1 else ""
        raise DataError(
            f"item {str(names[without[0]])!r}{more}: no content that an encoder can read{why}; "
            "expected at least one of the columns of the [content.NAME] tables to say something"
        )
