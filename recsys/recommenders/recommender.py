"""The border of recommending: catalogue ids in, a table of catalogue ids out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import RecommendConfig
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import UserAttributes, load_user_blocks
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.times import TimeKind
from recsys.errors import ConfigError, DataError
from recsys.index.index import load_index
from recsys.index.topk import TopK
from recsys.recommenders.newcomer import somebody_new
from recsys.recommenders.ranker import Queries, Ranker
from recsys.recommenders.rerank import RerankedRanker, Reranker
from recsys.recommenders.rules import Rules
from recsys.recommenders.saved_config import read_recommend
from recsys.recommenders.tables import as_table, label_items
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.towers.saved import load_towers

__all__ = ["Recommender"]


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
        users: the users' table in user-number order, for rules.
        config: which items are allowed, for whom, and how lists are re-ranked.
        time_kind: of the times in ``known``, for re-ranking by age.
    """

    ranker: Ranker
    user_ids: UserIds
    item_ids: ItemIds
    known: Interactions
    items: pd.DataFrame
    attributes: UserAttributes = field(default_factory=UserAttributes)
    users: pd.DataFrame = field(default_factory=pd.DataFrame)
    config: RecommendConfig = field(default_factory=RecommendConfig)
    time_kind: TimeKind = "timestamp"

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Load what ``recsys run`` left in a folder: the two towers as served, with all histories.

        Raises:
            ArtifactError: a file is missing, damaged, or belongs to another run.
            ConfigError: a condition in its config cannot be.
        """
        run = Path(run)
        dataset = Dataset.load(run / "data")
        content = run / "content"
        index = load_index(run / "index", ids_digest=dataset.item_ids.digest)
        blocks, people = load_blocks(content), load_user_blocks(content)
        towers = load_towers(run / "towers", blocks, people, dim=index.config.dim)
        attributes = UserAttributes.load(content)
        ranker, config = TwoTowerRanker(towers, index), read_recommend(run)
        return cls.of(ranker, dataset, attributes=attributes, config=config)

    @classmethod
    def of(
        cls,
        ranker: Ranker,
        dataset: Dataset,
        known: Interactions | None = None,
        *,
        attributes: UserAttributes | None = None,
        config: RecommendConfig | None = None,
    ) -> Self:
        """Join a ranker and a data set; ``known`` is the whole log where nothing else is said.

        Raises:
            ConfigError: a condition of the config cannot be, or re-ranking lacks what it weighs.
        """
        made = cls(
            ranker,
            dataset.user_ids,
            dataset.item_ids,
            dataset.log if known is None else known,
            dataset.items,
            attributes or UserAttributes(),
            dataset.users,
            config or RecommendConfig(),
            dataset.time_kind,
        )
        _ = made.rules, made.reranker  # what cannot be is said now
        return made

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
            return self.ranker.learnt
        return np.ones(len(self.item_ids), dtype=np.bool_)

    @cached_property
    def rules(self) -> Rules:
        """Which items are allowed, and for whom."""
        users = self.users if len(self.users) else pd.DataFrame(index=range(len(self.user_ids)))
        return Rules.of(self.config, self.items, users)

    @cached_property
    def reranker(self) -> Reranker | None:
        """What chooses out of longer lists, if anything does."""
        config = self.config.rerank
        if not config.active:
            return None
        return Reranker.of(config, self.ranker, self.known, self.rules.items, self.time_kind)

    @cached_property
    def with_new(self) -> NDArray[np.bool_]:
        """What is recommended to who asks for new items too: all that has content."""
        return self.ranker.scorable if isinstance(self.ranker, TwoTowerRanker) else self.offered

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
        where: str | None = None,
        new_items: bool = False,
    ) -> pd.DataFrame:
        """Return the k best items of each user as a table, best first.

        The conditions of ``config`` hold beside those that are asked for here.

        Args:
            user_ids: known users; all of them when nobody new is described.
            history: item ids of one new user, oldest first, instead of ``user_ids``; ``[]``: of
                whom nothing is known.
            attributes: what is known of the new user, such as ``{"age": 30}``, with a history or
                without: columns that the config's ``[users.NAME]`` tables or its rules read.
            k: how many items a user gets, at least 1.
            exclude_seen: leave out what the user has taken already.
            exclude: item ids nobody may get.
            candidates: item ids allowed; all that were learnt from when not given.
            where: a condition over the catalogue that items must meet, such as ``"in_stock and
                price < 20"``; see `recsys.recommenders.expression`.
            new_items: then also those that were not, but have content.

        Returns:
            Columns ``user_id`` (missing for a new user), ``rank`` (from 1), ``item_id`` and
            ``score`` (cosine, for the two towers; it falls from rank to rank unless lists are
            re-ranked). A user has fewer than k rows only when fewer than k items are allowed.

        Raises:
            DataError: a user, or all that is said of a new one, is unknown.
            ConfigError: both ``user_ids`` and a new user are given, an attribute is none that the
                ranker or a rule reads, the condition cannot be, or k is below 1.
        """
        described = history is not None or attributes is not None
        if user_ids is not None and described:
            raise ConfigError("recommend: give user_ids, or history and attributes, not both")
        if k < 1:
            raise ConfigError(f"recommend: k = {k}, expected at least 1")
        queries = self._somebody(history, attributes) if described else self._users(user_ids)
        found = self.top_k(
            queries,
            k,
            exclude_seen=exclude_seen,
            candidates=self.allowed(
                exclude=exclude, candidates=candidates, where=where, new_items=new_items
            ),
            attributes=attributes,
        )
        return self.table(queries.users, found)

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude_seen: bool = True,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> TopK:
        """Rank in numbers, shapes ``(b, k)``: what ``recommend`` and batch generation share.

        Rules and re-ranking apply; ``config.where`` is part of what `allowed` gives. ``exclude``
        has further item numbers for each query, ``candidates`` is a mask ``(n_items,)``,
        ``attributes`` are those of one new user; None: as the users' table says.
        """
        seen, ranker = queries.histories, self.ranker
        if exclude_seen:
            exclude = seen if exclude is None else seen.beside(exclude)
        if self.reranker is not None:
            ranker = RerankedRanker(ranker, self.reranker)
        about = None if attributes is None else self.rules.applying_to(attributes)
        return self.rules.top_k(
            ranker, queries, k, exclude=exclude, candidates=candidates, applying=about
        )

    def allowed(
        self,
        *,
        exclude: Iterable[Any] = (),
        candidates: Iterable[Any] | None = None,
        where: str | None = None,
        new_items: bool = False,
    ) -> NDArray[np.bool_] | None:
        """Turn item ids and conditions into a mask ``(n_items,)``; None: everything is allowed."""
        removed, conditions = (
            list(exclude),
            [c for c in (self.config.where, where) if c is not None],
        )
        offered = self.with_new if new_items else self.offered
        if candidates is None and not removed and not conditions and offered.all():
            return None
        mask = offered.copy()
        if candidates is not None:
            mask[:] = False
            mask[self.item_ids.numbers(candidates)] = True
        mask[self.item_ids.numbers(removed)] = False
        for condition in conditions:
            mask &= self.rules.allowed(condition)
        return mask

    def table(self, users: NDArray[np.int32], found: TopK) -> pd.DataFrame:
        """Write user numbers ``(b,)`` and their answers ``(b, k)`` as a table of ids."""
        return as_table(users, found, self.user_ids, self.item_ids)

    def similar(self, item_id: Any, k: int = 10) -> pd.DataFrame:
        """Return the k items nearest to one item: columns ``rank``, ``item_id``, ``score``.

        Raises:
            DataError: the item is unknown.
            ConfigError: the ranker has no item vectors.
        """
        if not isinstance(self.ranker, TwoTowerRanker):
            raise ConfigError(f"{self.ranker.name} has no item vectors; similar needs two-tower")
        item = self.item_ids.numbers([item_id])
        if not self.ranker.there[item[0]]:
            raise DataError(f"similar: item {str(item_id)!r} was removed")
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
        if len(items) and items.max() >= self.ranker.towers.n_items:
            added = self.item_ids.values[items.max()]
            raise DataError(f"predict: item {str(added)!r} was added after the towers learnt")
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
        users = np.arange(len(self.user_ids), dtype=np.int32)
        if user_ids is not None:
            users = self.user_ids.numbers(user_ids)
        return Queries(users, self.histories.take(users))

    def _somebody(
        self, history: Sequence[Any] | None, attributes: Mapping[str, Any] | None
    ) -> Queries:
        readable = self.rules.user_columns
        return somebody_new(history or [], attributes, self.item_ids, self.attributes, readable)
