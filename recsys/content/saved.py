"""Content blocks in a folder: vectors that are mapped from disk, and what made them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsys.content.encoder import ContentBlock
from recsys.errors import ArtifactError, DataError
from recsys.files import read_json, write_json

__all__ = ["load_blocks", "save_blocks", "vectors_file"]

ABOUT = "blocks.json"


def vectors_file(folder: Path, name: str) -> Path:
    """Where the vectors of a block lie."""
    return folder / f"{name}.npy"


def save_blocks(blocks: Sequence[ContentBlock], folder: Path) -> None:
    """Write ``NAME.npy``, ``NAME.present.npy`` and ``blocks.json``; same blocks, same bytes.

    Vectors that are mapped from their very place are only flushed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        path = vectors_file(folder, block.name)
        vectors = block.vectors  # numpy gives its file's name as text or as a path, as it got it
        if isinstance(vectors, np.memmap) and Path(str(vectors.filename)) == path.resolve():
            vectors.flush()
        else:
            np.save(path, block.vectors, allow_pickle=False)
        np.save(folder / f"{block.name}.present.npy", block.present, allow_pickle=False)
    write_json(folder / ABOUT, [{"name": b.name, "dim": b.dim} for b in blocks])


def load_blocks(folder: Path) -> tuple[ContentBlock, ...]:
    """Read what :func:`save_blocks` wrote; vectors are mapped from disk, not read into memory.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not belong together.
    """
    blocks = []
    for about in read_json(folder / ABOUT):
        name = about["name"]
        path = vectors_file(folder, name)
        try:
            # Copy on write: torch wants memory it could write to.
            vectors = np.load(path, mmap_mode="c", allow_pickle=False)
            present = np.load(folder / f"{name}.present.npy", allow_pickle=False)
            block = ContentBlock(name, vectors, present)
        except (OSError, ValueError, EOFError, DataError) as error:
            raise ArtifactError(f"{path}: {error}; run embed again") from None
        if block.dim != about["dim"]:
            raise ArtifactError(
                f"{path}: is {block.dim} wide, blocks.json says {about['dim']}; run embed again"
            )
        blocks.append(block)
    return tuple(blocks)
