"""Somebody who is in no table, by what is told of them."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from recsys.content.user_attributes import UserAttributes
from recsys.data.ids import ItemIds
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.recommenders.ranker import Queries

__all__ = ["somebody_new"]

logger = logging.getLogger(__name__)


def somebody_new(
    history: Sequence[Any],
    attributes: Mapping[str, Any] | None,
    item_ids: ItemIds,
    reading: UserAttributes,
    for_rules: Collection[str] = (),
) -> Queries:
    """Return the question of one new user.

    Args:
        history: item ids, oldest first; unknown ones are skipped.
        attributes: such as ``{"age": 30}``; None: nothing is told of them.
        item_ids: the items.
        reading: how the ranker reads attributes.
        for_rules: columns that may be told because rules ask for them.

    Raises:
        DataError: all that is told is unknown.
        ConfigError: an attribute is nobody's to read.
    """
    items, blocks = item_ids.find(history), None
    if attributes is not None:
        read = {
            column: value
            for column, value in attributes.items()
            if column in reading.columns or column not in for_rules
        }
        if read or not attributes:  # what only rules read tells the ranker nothing
            blocks = reading.of_one(read)
    unknown = [item for item, number in zip(history, items, strict=True) if number < 0]
    told = len(items) > 0 or blocks is not None
    none_known = len(unknown) == len(items) and not any(b.present.any() for b in blocks or ())
    if told and none_known:  # whereas somebody of whom nothing is told is anybody
        first = f" (the first: {unknown[0]!r})" if unknown else ""
        beside = f" and none of the attributes {dict(attributes)}" if attributes else ""
        raise DataError(
            f"recommend: none of the {len(items)} items of the history{first}{beside} is known; "
            f"expected item ids such as {str(item_ids.values[0])!r}, or [] for somebody of whom "
            "nothing is known"
        )
    if unknown:
        logger.warning("%d unknown items of a history are skipped: %s", len(unknown), unknown)
    known = Ragged.of([items[items >= 0].tolist()])
    return Queries(np.array([-1], dtype=np.int32), known, blocks)
