"""Blocks whose encoder learns on: made ready once, for all seeds and all resumed runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recsys.config import ContentConfig
from recsys.content.assemble import Catalogue, encoder_of
from recsys.content.encoder import ContentBlock
from recsys.content.learnt import digest_contents
from recsys.content.store import VectorStore
from recsys.content.text.tail import Halves, States, TunableBlock, packed_rows
from recsys.content.text.text_encoder import TextEncoder
from recsys.errors import ConfigError
from recsys.files import atomic_folder
from recsys.progress import track

__all__ = ["tunable_blocks"]

VERSION = 1  # of the files: raise it when the same texts give other states
HIDDEN, STARTS = "hidden.npy", "starts.npy"


def tunable_blocks(
    blocks: Sequence[ContentBlock],
    configs: Mapping[str, ContentConfig],
    catalogue: Catalogue,
    store: VectorStore,
    device: str,
) -> list[ContentBlock]:
    """Add to blocks what their encoders need to learn on, where the configuration asks for it.

    Hidden states in front of the layers that learn are kept beside the vectors in the store, in
    half precision: 2 bytes x width a token.

    Args:
        blocks: of all items, each by the table of its name.
        configs: the ``[content.NAME]`` tables.
        catalogue: the items.
        store: of the vectors.
        device: ``"cpu"`` or ``"cuda"``, for the frozen layers.

    Returns:
        The blocks, with a `TunableBlock` for each with ``finetune.layers``.

    Raises:
        ConfigError: an encoder has no layers that could learn, or hidden states that half
            precision cannot hold.
    """
    return [_tunable(block, configs[block.name], catalogue, store, device) for block in blocks]


def _tunable(
    block: ContentBlock,
    config: ContentConfig,
    catalogue: Catalogue,
    store: VectorStore,
    device: str,
) -> ContentBlock:
    layers = config.finetune.layers
    if not layers:
        return block
    encoder, contents = encoder_of(block.name, config, catalogue, store, device)
    if not isinstance(encoder, TextEncoder) or encoder.halve is None:
        raise ConfigError(f"[content.{block.name}]: encoder {config.encoder!r} cannot be finetuned")
    halves: Halves = encoder.halve(layers)
    about = {"encoder": encoder.name, "layers": layers, "version": VERSION}
    folder = store.learnt / f"states-{digest_contents(contents, about)}"
    states = _read(folder)
    if states is None:
        with atomic_folder(folder) as partial:
            _write(encoder, halves, contents, partial, f"layers below {block.name}")
        states = _read(folder)
    if states is None:
        raise ConfigError(f"{folder}: was written, but cannot be read")
    return TunableBlock(
        block.name, block.vectors, block.present, halves.tail, states, config.finetune
    )


def _read(folder: Path) -> States | None:
    """Map what `_write` left; None where it is not there or damaged."""
    try:
        starts = np.load(folder / STARTS, allow_pickle=False)
        hidden = np.load(folder / HIDDEN, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return States(hidden, starts) if len(hidden) == starts[-1] else None


def _write(
    encoder: TextEncoder,
    halves: Halves,
    contents: Sequence[str | None],
    folder: Path,
    progress: str,
) -> None:
    """Run all texts through the frozen layers, texts of like length together."""
    places, texts = encoder.readable(contents)
    tokens = encoder.lengths(texts) if texts else np.zeros(0, dtype=np.int64)
    lengths = np.zeros(len(contents), dtype=np.int64)
    lengths[places] = tokens
    starts = np.concatenate([[0], np.cumsum(lengths)])
    np.save(folder / STARTS, starts, allow_pickle=False)
    hidden = np.lib.format.open_memmap(
        folder / HIDDEN, mode="w+", dtype=np.float16, shape=(int(starts[-1]), halves.width)
    )
    order = np.argsort(-tokens, kind="stable")
    batches = [order[at : at + encoder.batch] for at in range(0, len(order), encoder.batch)]
    for batch in track(batches, progress, len(batches)):
        made, mask = halves.lower([texts[row] for row in batch])
        halved = made[mask.bool()].half().cpu().numpy()
        if not np.isfinite(halved).all():
            raise ConfigError(
                f"encoder {encoder.name}: hidden vectors go beyond half precision (65,504); set "
                "finetune.layers = 0 or take another encoder"
            )
        hidden[packed_rows(starts[places[batch]], tokens[batch])] = halved
    hidden.flush()
