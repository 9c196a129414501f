"""Augmentation: histories changed at random, so that no single past item is relied upon.

The three operators of CL4SRec (Xie et al., "Contrastive learning for sequential recommendation",
ICDE 2022), with its ratios: crop, mask and reorder. A masked item is left out, as encoders without
a vector for "something was here" need it. No row that had an item loses its last one.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged

__all__ = ["Operator", "augmented", "crop", "mask", "reorder", "two_views"]

Operator = Literal["crop", "mask", "reorder"]

CROPPED_TO = 0.6  # share of a history that a crop keeps
MASKED = 0.3  # share of a history's items that are left out
REORDERED = 0.6  # share of a history that is shuffled

Whole = NDArray[np.int64]
Chosen = NDArray[np.bool_]


def augmented(
    histories: Ragged, operator: Operator, share: float, random: np.random.Generator
) -> Ragged:
    """Change a random share of the histories.

    Args:
        histories: oldest item first, ``b`` rows.
        operator: what is done to a history.
        share: probability that a history is changed, 0 to 1.
        random: decides which ones, and how.
    """
    chosen = random.random(len(histories)) < share
    return {"crop": crop, "mask": mask, "reorder": reorder}[operator](histories, chosen, random)


def two_views(histories: Ragged, random: np.random.Generator) -> Ragged:
    """Return ``2 b`` histories: each of the ``b`` changed, then each changed another way.

    Every view draws its own operator out of the three.
    """
    views = histories.take(np.tile(np.arange(len(histories)), 2))
    drawn = random.integers(3, size=len(views))
    for number, operator in enumerate((crop, mask, reorder)):
        views = operator(views, drawn == number, random)
    return views


def crop(histories: Ragged, chosen: Chosen, random: np.random.Generator) -> Ragged:
    """Keep a random stretch of neighbours of each chosen history.

    Args:
        histories: ``b`` rows.
        chosen: the rows that change, bool ``(b,)``.
        random: draws the stretch.
    """
    inside, _ = _stretch(histories, CROPPED_TO, random)
    return _kept(histories, inside | ~chosen[histories.row_numbers])


def mask(histories: Ragged, chosen: Chosen, random: np.random.Generator) -> Ragged:
    """Leave random items out of each chosen history.

    Args:
        histories: ``b`` rows.
        chosen: the rows that change, bool ``(b,)``.
        random: draws the items.
    """
    rows = histories.row_numbers
    rank = np.empty(len(rows), dtype=np.int64)  # of each item in its row, in a random order
    rank[np.lexsort((random.random(len(rows)), rows))] = _within(histories)
    left_out = (MASKED * histories.lengths).astype(np.int64)
    return _kept(histories, (rank >= left_out[rows]) | ~chosen[rows])


def reorder(histories: Ragged, chosen: Chosen, random: np.random.Generator) -> Ragged:
    """Shuffle a random stretch of neighbours of each chosen history.

    Times stay where they are: the items of the stretch trade theirs, and none runs backwards.

    Args:
        histories: ``b`` rows.
        chosen: the rows that change, bool ``(b,)``.
        random: draws the stretch and its order.
    """
    rows = histories.row_numbers
    inside, begins = _stretch(histories, REORDERED, random)
    # The items of a stretch share its first place, so that only the random keys order them.
    places = np.where(inside & chosen[rows], begins[rows], _within(histories))
    order = np.lexsort((random.random(len(rows)), places, rows))
    return replace(histories, values=histories.values[order])


def _within(histories: Ragged) -> Whole:
    """The place of each item in its row, from 0, ``(h,)``."""
    places: Whole = np.arange(len(histories.values)) - histories.indptr[histories.row_numbers]
    return places


def _stretch(histories: Ragged, ratio: float, random: np.random.Generator) -> tuple[Chosen, Whole]:
    """Draw a stretch of each row: which items lie in it ``(h,)``, where it begins ``(b,)``.

    It has this share of the row's items, at least one.
    """
    rows, within = histories.row_numbers, _within(histories)
    long = np.maximum((ratio * histories.lengths).astype(np.int64), 1)
    room = np.maximum(histories.lengths - long, 0)
    begins = (random.random(len(histories)) * (room + 1)).astype(np.int64)
    return (within >= begins[rows]) & (within < (begins + long)[rows]), begins


def _kept(histories: Ragged, keep: Chosen) -> Ragged:
    """The items ``(h,)`` that are kept, in as many rows."""
    lengths = np.bincount(histories.row_numbers[keep], minlength=len(histories))
    return histories.at(np.concatenate([[0], np.cumsum(lengths)]), keep)
