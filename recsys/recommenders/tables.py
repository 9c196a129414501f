"""Answers as tables of ids, and what items are called before people."""

from collections.abc import Iterable
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.ids import ItemIds, UserIds
from recsys.index.topk import TopK

__all__ = ["as_table", "label_items"]

LONGEST_LABEL = 60  # letters; a catalogue without titles may have long texts


def as_table(
    users: NDArray[np.int32], found: TopK, user_ids: UserIds, item_ids: ItemIds
) -> pd.DataFrame:
    """Write user numbers ``(b,)``, -1 for somebody new, and their answers ``(b, k)`` with ids."""
    rows, ranks = np.nonzero(found.items >= 0)
    known = users[rows] >= 0
    named = pd.Series(user_ids.ids(np.where(known, users[rows], 0)))
    return pd.DataFrame(
        {
            "user_id": named.where(known, None) if not known.all() else named,
            "rank": (ranks + 1).astype(np.int32),
            "item_id": item_ids.ids(found.items[rows, ranks]),
            "score": found.scores[rows, ranks],
        }
    )


def label_items(
    catalogue: pd.DataFrame, items: NDArray[np.integer[Any]], item_ids: Iterable[Any]
) -> list[str]:
    """Call items, numbers ``(n,)``, by title or name, else by their first text, else their id."""
    texts = [c for c in catalogue.columns if pd.api.types.is_string_dtype(catalogue[c])]
    column = next((c for c in ("title", "name", *texts) if c in catalogue.columns), None)
    if column is None:
        return [str(item_id) for item_id in item_ids]
    titles = catalogue[column].iloc[items]
    return [
        str(item_id) if pd.isna(title) else shorten(str(title), LONGEST_LABEL, placeholder=" ...")
        for item_id, title in zip(item_ids, titles, strict=True)
    ]
