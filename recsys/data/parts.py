"""The parts that rows of a log play, and shares of whole numbers.

Shares are computed in whole numbers: 0.8 * 5 is 4 exactly, where floating point may say
4.000000000000001 and round up to 5.
"""

from enum import IntEnum
from fractions import Fraction
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "NAMES",
    "Part",
    "Parts",
    "ceil_share",
    "floor_share",
    "learnable",
    "learnable_rows",
    "parts_named",
    "ties_of",
]

Parts = NDArray[np.int8]  # of each row or item its Part
Whole = TypeVar("Whole", int, NDArray[np.int64])


class Part(IntEnum):
    """What a row is for."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    VALIDATION_HISTORY = 3  # cold users: known when they are asked, not learnt from
    TEST_HISTORY = 4
    LATER = 5  # folds: behind the window that tests, not used


NAMES = [part.name.lower() for part in Part]


def learnable_rows(parts: Any, *, refit: bool) -> NDArray[np.bool_]:
    """Which of the rows of ``split.parquet``, by their column of names, are fitted on, ``(n,)``."""
    return np.isin(parts_named(parts), learnable(refit=refit))


def learnable(*, refit: bool) -> tuple[Part, ...]:
    """The parts that are fitted on."""
    return (Part.TRAIN, Part.VALIDATION, Part.VALIDATION_HISTORY) if refit else (Part.TRAIN,)


def parts_named(names: Any) -> Parts:
    """The `Part` of each name in an Arrow column."""
    numbers: Parts = pc.index_in(names, pa.array(NAMES)).to_numpy().astype(np.int8)
    return numbers


def ties_of(protocol: str) -> Literal["item", "row"]:
    """What tells rows of equal time apart under a protocol."""
    return "row" if protocol == "leave-last-out" else "item"


def floor_share(n: Whole, fraction: float) -> Whole:
    """``floor(fraction * n)`` of whole numbers, exactly; ``ceil((1 - fraction) n)`` is the rest."""
    exact = Fraction(str(fraction)).limit_denominator(1_000_000)  # 0.2 is 1/5; n stays in int64
    return n * exact.numerator // exact.denominator


def ceil_share(n: Whole, fraction: float) -> Whole:
    """``ceil(fraction * n)`` of whole numbers, exactly."""
    return -floor_share(-n, fraction)
