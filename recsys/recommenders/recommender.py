"""The border of recommending: catalogue ids in, a table of catalogue ids out."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import UserAttributes, load_user_blocks
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
        attributes: how attributes of somebody new are read, if the ranker knows any.
    """

    ranker: Ranker
    user_ids: UserIds
    item_ids: ItemIds
    known: Interactions
    items: pd.DataFrame
    attributes: UserAttributes = field(default_factory=UserAttributes)

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Load what ``recsys run`` left in a folder: the two towers as served, with all histories.

        Raises:
            ArtifactError: a file is missing, damaged, or belongs to another run.
        """
        run = Path(run)
        dataset = Dataset.load(run / "data")
        content = run / "content"
        towers = load_towers(run / "towers", load_blocks(content), load_user_blocks(content))
        index = load_index(run / "index", ids_digest=dataset.item_ids.digest)
        attributes = UserAttributes.load(content)
        return cls.of(TwoTowerRanker(towers, index), dataset, attributes=attributes)

    @classmethod
    def of(
        cls,
        ranker: Ranker,
        dataset: Dataset,
        known: Interactions | None = None,
        *,
        attributes: UserAttributes | None = None,
    ) -> Self:
        """Join a ranker and a data set; ``known`` is the whole log where nothing else is said."""
        known = dataset.log if known is None else known
        attributes = attributes or UserAttributes()
        return cls(ranker, dataset.user_ids, dataset.item_ids, known, dataset.items, attributes)

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
        attributes: Mapping[str, Any] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Iterable[Any] = (),
        candidates: Iterable[Any] | None = None,
    ) -> pd.DataFrame:
        """Return the k best items of each user as a table, best first.

        Args:
            user_ids: known users; all of them when nobody new is described.
            history: item ids of one new user, oldest first, instead of ``user_ids``; ``[]``: of
                whom nothing is known.
            attributes: what is known of the new user, such as ``{"age": 30}``, with a history or
                without: columns that the config's ``[users.NAME]`` tables read.
            k: how many items a user gets, at least 1.
            exclude_seen: leave out what the user has taken already.
            exclude: item ids nobody may get.
            candidates: item ids allowed; all that were learnt from when not given.

        Returns:
            Columns ``user_id`` (missing for a new user), ``rank`` (from 1), ``item_id`` and
            ``score`` (cosine, for the two towers). A user has fewer than k rows only when fewer
            than k items are allowed.

        Raises:
            DataError: a user, or all that is said of a new one, is unknown.
            ConfigError: both ``user_ids`` and a new user are given, an attribute is none that the
                ranker reads, or k is below 1.
        """
        described = history is not None or attributes is not None
        if user_ids is not None and described:
            raise ConfigError("recommend: give user_ids, or history and attributes, not both")
        if k < 1:
            raise ConfigError(f"recommend: k = {k}, expected at least 1")
        queries = self._new_user(history, attributes) if described else self._users(user_ids)
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

    def predict(self, user_ids: Iterable[Any], item_ids: Iterable[Any]) -> pd.DataFrame:
        """Predict what users would rate items: columns ``user_id``, ``item_id``, ``rating``.

        Args:
            user_ids: ``n`` of them, each asked with the history that is known.
            item_ids: the item of each.

        Returns:
            ``n`` rows in the order of the question; ratings in the unit of the log's weights, not
            cut to the span of those given.

        Raises:
            DataError: a user or item is unknown.
            ConfigError: there are not as many items as users, or no ratings were learnt.
        """
        asked, items = self.user_ids.numbers(user_ids), self.item_ids.numbers(item_ids)
        if len(asked) != len(items):
            raise ConfigError(f"predict: {len(asked)} users but {len(items)} items")
        if not isinstance(self.ranker, TwoTowerRanker):
            raise ConfigError(f"{self.ranker.name} predicts no ratings; predict needs two-tower")
        users, rows = np.unique(asked, return_inverse=True)
        histories = self.histories.take(users)
        ratings = self.ranker.towers.predict_ratings(users, histories, rows, items)
        pairs = {"user_id": self.user_ids.ids(asked), "item_id": self.item_ids.ids(items)}
        return pd.DataFrame(pairs | {"rating": ratings})

    def label(self, item_ids: Iterable[Any]) -> list[str]:
        """What to call items before people: the title or name, else the first text, else the id."""
        wanted = list(item_ids)
        return label_items(self.items, self.item_ids.numbers(wanted), wanted)

    def _users(self, user_ids: Iterable[Any] | None) -> Queries:
        everybody = np.arange(len(self.user_ids), dtype=np.int32)
        users = everybody if user_ids is None else self.user_ids.numbers(user_ids)
        return Queries(users, self.histories.take(users))

    def _new_user(
        self, history: Sequence[Any] | None, attributes: Mapping[str, Any] | None
    ) -> Queries:
        history = [] if history is None else history
        items = self.item_ids.find(history)
        blocks = None if attributes is None else self.attributes.of_one(attributes)
        unknown = [item for item, number in zip(history, items, strict=True) if number < 0]
        told = len(items) > 0 or attributes is not None
        none_known = len(unknown) == len(items) and not any(b.present.any() for b in blocks or ())
        if told and none_known:  # whereas somebody of whom nothing is told is anybody
            first = f" (the first: {unknown[0]!r})" if unknown else ""
            beside = f" and none of the attributes {dict(attributes)}" if attributes else ""
            raise DataError(
                f"recommend: none of the {len(items)} items of the history{first}{beside} is "
                f"known; expected item ids such as {self.item_ids.values[0]!r}, or [] for somebody "
                "of whom nothing is known"
            )
        if unknown:
            logger.warning("%d unknown items of a history are skipped: %s", len(unknown), unknown)
        known = Ragged.of([items[items >= 0].tolist()])
        return Queries(np.array([-1], dtype=np.int32), known, blocks)


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
