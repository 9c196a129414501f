"""Is the copy known again? Retrieval of items by altered copies of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import ContentBlock, Encoded, Unreadable
from recsys.content.family import Modality
from recsys.probing.augment import altered_image, altered_sound, altered_text
from recsys.probing.figures import Figure, share_figure
from recsys.probing.neighbours import blocks, centred_directions
from recsys.progress import track

__all__ = ["COPYABLE", "Recognised", "copy_figure", "recognise_copies"]

COPYABLE: frozenset[Modality] = frozenset({"text", "image", "audio"})

EQUAL = 1e-6  # cosines nearer than this are the same
CHUNK = 32  # copies that lie on the disk at a time


class Recognised(NamedTuple):
    """A figure, and how many copies it is not of."""

    figure: Figure | None  # None where there are fewer than two vectors or no copy
    unaltered: int  # items drawn whose content could not be read again, or changed


def recognise_copies(
    block: ContentBlock,
    contents: Sequence[Any],
    modality: Modality,
    encode: Callable[[Sequence[Any]], Encoded],
    most: int,
    *,
    seed: int = 0,
) -> Recognised:
    """Draw items, alter their contents, encode the copies, and look for the originals.

    Items are drawn in one order for all contents of a run, and what is altered hangs on the item:
    contents are compared on the same items as far as these have them.

    Args:
        block: the vectors of all items.
        contents: one an item.
        modality: of them: text, image or audio.
        encode: what made the block's vectors.
        most: copies.
        seed: of the draws.
    """
    order = np.random.default_rng(seed).permutation(len(contents))
    drawn = order[block.present[order]][:most]
    places = np.cumsum(block.present) - 1  # of items among those that have the content
    chunks = [drawn[start : start + CHUNK] for start in range(0, len(drawn), CHUNK)]
    made = [
        _encode_copies(contents, items, modality, encode, seed)
        for items in track(chunks, f"copies {block.name}", len(chunks))
    ]
    items = np.concatenate([np.zeros(0, np.int64), *(of for of, _ in made)])
    if not len(items):
        return Recognised(None, len(drawn))
    vectors = np.concatenate([encoded.vectors for _, encoded in made])
    there = np.concatenate([encoded.present for _, encoded in made])
    figure = copy_figure(block.vectors[block.present], vectors, there, places[items])
    return Recognised(figure, len(drawn) - len(items))


def copy_figure(
    vectors: NDArray[np.float32],
    copies: NDArray[np.float32],
    there: NDArray[np.bool_],
    originals: NDArray[np.int64],
) -> Figure | None:
    """The share of copies whose nearest of all vectors is that of their original.

    Nearness is the cosine, all less the mean of the originals. Where several originals are as
    near (the same content twice), the right one counts by its share of them.

    Args:
        vectors: of all contents, ``(n, d)``.
        copies: of the altered copies, ``(q, d)``.
        there: which copies the encoder could make anything of, ``(q,)``; others count as not found.
        originals: the row of ``vectors`` that each copy is of, ``(q,)``.

    Returns:
        The share with its interval over copies; None where there are fewer than two vectors.
    """
    if len(vectors) < 2:
        return None
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    among, queries = centred_directions(vectors, mean), centred_directions(copies, mean)
    right = np.empty(len(copies))
    for rows in blocks(len(copies), len(vectors)):
        cosines = queries[rows] @ among.T
        best = cosines.max(axis=1, keepdims=True) - EQUAL
        own = np.take_along_axis(cosines, originals[rows, None], axis=1) >= best
        right[rows] = own[:, 0] / (cosines >= best).sum(axis=1)
    return share_figure(right * there, chance=1 / len(vectors))


def _encode_copies(
    contents: Sequence[Any],
    items: NDArray[np.int64],
    modality: Modality,
    encode: Callable[[Sequence[Any]], Encoded],
    seed: int,
) -> tuple[NDArray[np.int64], Encoded]:
    """Those of the items whose contents could be altered, and what came of the copies."""
    kept, copies = [], []
    with TemporaryDirectory() as folder:
        for item in items.tolist():
            draw = np.random.default_rng([seed, item])
            try:
                copies.append(_altered(contents[item], modality, Path(folder) / str(item), draw))
            except Unreadable:
                continue
            kept.append(item)
        return np.array(kept, dtype=np.int64), encode(copies)


def _altered(content: Any, modality: Modality, stem: Path, draw: np.random.Generator) -> str | Path:
    """An altered copy of a text, or the path of one of a file."""
    if modality == "image":
        return altered_image(content, stem, draw)
    if modality == "audio":
        return altered_sound(content, stem, draw)
    return altered_text(content, draw)
