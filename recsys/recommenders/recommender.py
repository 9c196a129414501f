"""The border of recommending: catalogue ids in, a table of catalogue ids out."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError, DataError
from recsys.index.index import load_index
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Queries, Ranker
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.saved import load_towers

__all__ = ["Recommender", "label_items"]

LONGEST_LABEL = 60  # letters; a catalogue without titles may have long texts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recommender:
    """A ranker with the ids and the histories of a data set.

    Attributes:
        ranker: ranks items for users, in numbers.
        user_ids: the users.
        item_ids: the items.
        known: what each user is known to have taken: it feeds the histories and counts as seen.
        items: the catalogue in item-number order, for showing titles.
    """

    ranker: Ranker
    user_ids: UserIds
    item_ids: ItemIds
    known: Interactions
    items: pd.DataFrame

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Load what ``recsys run`` left in a folder: the two towers as served, with all histories.

        Raises:
            ArtifactError: a file is missing, damaged, or belongs to another run.
        """
        run = Path(run)
        dataset = Dataset.load(run / "data")
        towers = load_towers(run / "towers", load_blocks(run / "content"))
        index = load_index(run / "index", ids_digest=dataset.item_ids.digest)
        return cls.of(TwoTowerRanker(towers, index), dataset)

    @classmethod
    def of(cls, ranker: Ranker, dataset: Dataset, known: Interactions | None = None) -> Self:
        """Join a ranker and a data set; ``known`` is the whole log where nothing else is said."""
        known = dataset.log if known is None else known
        return cls(ranker, dataset.user_ids, dataset.item_ids, known, dataset.items)

    @cached_property
    def histories(self) -> Ragged:
        """Every user's items, oldest first, ``n_users`` rows."""
        return self.known.histories()

    @cached_property
    def offered(self) -> NDArray[np.bool_]:
        """Items that are recommended when nobody names candidates, ``(n_items,)``.

        Those that the towers learnt from, as in the evaluation: where new items stand among them
        has not been measured, so they are recommended only when ``candidates`` names them.
        """
        if isinstance(self.ranker, TwoTowerRanker):
            known: NDArray[np.bool_] = self.ranker.towers.items.known.cpu().numpy()
            return known
        return np.ones(len(self.item_ids), dtype=np.bool_)

    def recommend(
        self,
        user_ids: Iterable[Any] | None = None,
        *,
        history: Sequence[Any] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Iterable[Any] = (),
        candidates: Iterable[Any] | None = None,
    ) -> pd.DataFrame:
        """Return the k best items of each user as a table, best first.

        Args:
            user_ids: known users; all of them when neither this nor ``history`` is given.
            history: item ids of one new user, oldest first, instead of ``user_ids``.
            k: how many items a user gets, at least 1.
            exclude_seen: leave out what the user has taken already.
            exclude: item ids nobody may get.
            candidates: item ids allowed; all that were learnt from when not given.

        Returns:
            Columns ``user_id`` (missing for ``history``), ``rank`` (from 1), ``item_id`` and
            ``score`` (cosine, for the two towers). A user has fewer than k rows only when fewer
            than k items are allowed.

        Raises:
            DataError: a user, or every item of ``history``, is unknown.
            ConfigError: both ``user_ids`` and ``history`` are given, or k is below 1.
        """
        if user_ids is not None and history is not None:
            raise ConfigError("recommend: give user_ids or history, not both")
        if k < 1:
            raise ConfigError(f"recommend: k = {k}, expected at least 1")
        queries = self._new_user(history) if history is not None else self._users(user_ids)
        found = self.top_k(
            queries,
            k,
            exclude_seen=exclude_seen,
            candidates=self.allowed(exclude=exclude, candidates=candidates),
        )
        return self.table(queries.users, found)

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude_seen: bool = True,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Rank in numbers, shapes ``(b, k)``: what ``recommend`` and batch generation share."""
        seen = queries.histories if exclude_seen else None
        return self.ranker.top_k(queries, k, exclude=seen, candidates=candidates)

    def allowed(
        self, *, exclude: Iterable[Any] = (), candidates: Iterable[Any] | None = None
    ) -> NDArray[np.bool_] | None:
        """Turn item ids into a mask ``(n_items,)``; None when everything is allowed."""
        removed = list(exclude)
        if candidates is None and not removed and self.offered.all():
            return None
        mask = self.offered.copy()
        if candidates is not None:
            mask[:] = False
            mask[self.item_ids.numbers(candidates)] = True
        mask[self.item_ids.numbers(removed)] = False
        return mask

    def table(self, users: NDArray[np.int32], found: TopK) -> pd.DataFrame:
        """Write user numbers ``(b,)`` and their answers ``(b, k)`` as a table of ids."""
        rows, ranks = np.nonzero(found.items >= 0)
        known = users[rows] >= 0
        user_ids = pd.Series(self.user_ids.ids(np.where(known, users[rows], 0)))
        return pd.DataFrame(
            {
                "user_id": user_ids.where(known, None) if not known.all() else user_ids,
                "rank": (ranks + 1).astype(np.int32),
                "item_id": self.item_ids.ids(found.items[rows, ranks]),
                "score": found.scores[rows, ranks],
            }
        )

    def similar(self, item_id: Any, k: int = 10) -> pd.DataFrame:
        """Return the k items nearest to one item: columns ``rank``, ``item_id``, ``score``.

        Raises:
            DataError: the item is unknown.
            ConfigError: the ranker has no item vectors.
        """
        if not isinstance(self.ranker, TwoTowerRanker):
            raise ConfigError(f"{self.ranker.name} has no item vectors; similar needs two-tower")
        item = self.item_ids.numbers([item_id])
        found = self.ranker.similar(item, k)
        return self.table(np.array([-1], dtype=np.int32), found).drop(columns="user_id")

    def label(self, item_ids: Iterable[Any]) -> list[str]:
        """What to call items before people: the title or name, else the first text, else the id."""
        wanted = list(item_ids)
        return label_items(self.items, self.item_ids.numbers(wanted), wanted)

    def _users(self, user_ids: Iterable[Any] | None) -> Queries:
        everybody = np.arange(len(self.user_ids), dtype=np.int32)
        users = everybody if user_ids is None else self.user_ids.numbers(user_ids)
        return Queries(users, self.histories.take(users))

    def _new_user(self, history: Sequence[Any]) -> Queries:
        items = self.item_ids.find(history)
        unknown = [item for item, number in zip(history, items, strict=True) if number < 0]
        if len(unknown) == len(items):
            raise DataError(
                f"recommend: none of the {len(items)} items of the history is known; "
                f"expected item ids such as {self.item_ids.values[0]!r}"
            )
        if unknown:
            logger.warning("%d unknown items of a history are skipped: %s", len(unknown), unknown)
        return Queries(np.array([-1], dtype=np.int32), Ragged.of([items[items >= 0].tolist()]))


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
