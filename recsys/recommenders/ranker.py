"""The contract of everything that ranks items for users, in numbers.

A ``Ranker`` is handed the whole question (who asks, with what history) and takes what it needs:
popularity nothing, EASE the history, BPR the user number, the two towers both. That is why a new
user, who has a history but no number, is not a special case.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.index.topk import TopK

__all__ = ["Abilities", "Queries", "Ranker"]


class Abilities(NamedTuple):
    """What a ranker can score beyond what it was fitted on; both answers are tested."""

    new_users: bool  # a user without a number, by the history alone
    new_items: bool  # an item without a training row, by its content


@dataclass(frozen=True, eq=False)
class Queries:
    """Who asks: a block of users with what is known of each.

    Attributes:
        users: user numbers, int32 ``(b,)``; -1 is somebody the ranker was not fitted on.
        histories: each user's items, oldest first, ``b`` rows.
        attributes: what is known of them beside, ``b`` rows a block; None: what is on record.
    """

    users: NDArray[np.int32]
    histories: Ragged
    attributes: tuple[ContentBlock, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.users) != len(self.histories):
            raise ValueError(f"{len(self.users)} users but {len(self.histories)} histories")

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Queries":
        """Those of the given rows, in the given order."""
        told = self.attributes
        if told is not None:
            told = tuple(
                ContentBlock(one.name, one.vectors[rows], one.present[rows]) for one in told
            )
        return Queries(self.users[rows], self.histories.take(rows), told)

    @classmethod
    def known(cls, history: Interactions, users: NDArray[np.integer[Any]]) -> "Queries":
        """Ask for users of the data set, with their rows in ``history``."""
        return cls(users.astype(np.int32), history.histories().take(users))


class Ranker(Protocol):
    """Ranks items for a block of queries; best first, padded with -1 / -inf."""

    @property
    def name(self) -> str:
        """Its name in tables and files, such as ``"item-knn"``."""
        ...

    @property
    def abilities(self) -> Abilities:
        """Whether new users and new items are scored."""
        ...

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items per query, shapes ``(b, k)``.

        Only ``exclude`` removes items: a caller that wants the history left out says so.

        Args:
            exclude: per query, item numbers never to return.
            candidates: item numbers allowed for every query, boolean ``(n_items,)``.
        """
        ...
