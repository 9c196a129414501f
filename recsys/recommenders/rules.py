"""Who may get what: conditions over the catalogue, for everybody or for some users.

Users are grouped by the rules that are about them, and a group shares one mask of items: never is
there a table of users and items.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.config import RecommendConfig
from recsys.data.ragged import Ragged
from recsys.errors import ConfigError
from recsys.index.topk import TopK, blank_top_k
from recsys.recommenders.cells import Bools, Cells
from recsys.recommenders.expression import Expression
from recsys.recommenders.ranker import Queries, Ranker

__all__ = ["Group", "Rules"]

logger = logging.getLogger(__name__)

MASKS = 64  # kept at a time, a byte an item each


class Group(NamedTuple):
    """Users to whom the same rules apply."""

    rows: NDArray[np.int64]  # among those asked about
    items: Bools | None  # that they may get, (n_items,); None: all


class _Rule(NamedTuple):
    users: Expression | None  # None: everybody
    items: Expression


@dataclass(frozen=True, eq=False)
class Rules:
    """The conditions of ``[recommend]`` over a catalogue and a table of users.

    Attributes:
        items: the catalogue, in the order of item numbers.
        users: the users' table, in the order of user numbers.
        where: what every item must meet.
        rules: which users must get which items.
    """

    items: Cells
    users: Cells
    where: str | None
    rules: tuple[_Rule, ...]

    @classmethod
    def of(cls, config: RecommendConfig, items: pd.DataFrame, users: pd.DataFrame) -> Self:
        """Read the conditions and try them.

        Raises:
            ConfigError: one of them is none, or not of these tables.
        """
        rules = []
        for number, rule in enumerate(config.rules):
            with _named(f"rules.{number}.users"):
                about = None if rule.users is None else Expression.parse(rule.users)
            with _named(f"rules.{number}.items"):
                rules.append(_Rule(about, Expression.parse(rule.items)))
        made = cls(Cells(items, "catalogue"), Cells(users, "users' table"), config.where, (*rules,))
        made._try()
        return made

    def allowed(self, where: str) -> Bools:
        """Items that meet a condition, bool ``(n_items,)``, read-only; kept for the next time.

        Raises:
            ConfigError: it is none, or not of this catalogue.
        """
        return self._mask(where)

    @cached_property
    def user_columns(self) -> frozenset[str]:
        """What the rules ask of users."""
        return frozenset(c for rule in self.rules if rule.users for c in rule.users.columns)

    @cached_property
    def applying(self) -> Bools:
        """Which rules are about which user, ``(n_users + 1, n_rules)``.

        The last row is that of somebody of whom nothing is known.
        """
        everybody = [self._about(rule, self.users) for rule in self.rules]
        known = np.stack(everybody, axis=1) if everybody else np.zeros((len(self.users), 0), bool)
        return np.concatenate([known, self.applying_to({})])

    def applying_to(self, attributes: Mapping[str, Any]) -> Bools:
        """Which rules are about somebody new, ``(1, n_rules)``.

        Raises:
            ConfigError: an attribute cannot be compared as a rule wants it.
        """
        told = self.users.like(attributes, self.user_columns)
        return np.array([[self._about(rule, told)[0] for rule in self.rules]], dtype=bool)

    def top_k(
        self,
        ranker: Ranker,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: Bools | None = None,
        applying: Bools | None = None,
    ) -> TopK:
        """Ask a ranker for each group of users what its rules allow, shapes ``(b, k)``.

        Args:
            ranker: that is asked.
            queries: who asks, b rows.
            k: how many items.
            exclude: per query, item numbers never to return, b rows.
            candidates: items allowed for everybody, ``(n_items,)``.
            applying: which rules are about whom, ``(b, n_rules)``; None: as the users' table says.
        """
        if not self.rules:
            return ranker.top_k(queries, k, exclude=exclude, candidates=candidates)
        best = blank_top_k(len(queries), k)
        about = self.applying[queries.users] if applying is None else applying  # -1: the last row
        for rows, items in self.groups(about):
            mask = candidates if items is None or candidates is None else items & candidates
            best.items[rows], best.scores[rows] = ranker.top_k(
                queries.take(rows),
                k,
                exclude=None if exclude is None else exclude.take(rows),
                candidates=items if mask is None else mask,
            )
        return best

    def groups(self, applying: Bools) -> Iterator[Group]:
        """Take users ``(b, n_rules)`` apart by the rules that apply; every row is in one group."""
        if not len(applying) or not self.rules:
            yield Group(np.arange(len(applying)), None)
            return
        kinds, of = np.unique(applying, axis=0, return_inverse=True)
        for number, kind in enumerate(kinds):
            yield Group(np.flatnonzero(of.ravel() == number), self._both(kind))

    def _both(self, kind: Bools) -> Bools | None:
        masks = [self.allowed(self.rules[n].items.text) for n in np.flatnonzero(kind)]
        return np.logical_and.reduce(masks) if masks else None

    def _about(self, rule: _Rule, users: Cells) -> Bools:
        if rule.users is None:
            return np.ones(len(users), dtype=bool)
        return rule.users.holds(users)

    @cached_property
    def _mask(self) -> Callable[[str], Bools]:
        own = {rule.items.text for rule in self.rules} | {self.where}  # no client drives these out
        kept: dict[str, Bools] = {}

        def make(text: str) -> Bools:
            found = Expression.parse(text).holds(self.items)
            found.setflags(write=False)
            return found

        recent = lru_cache(maxsize=MASKS)(make)

        def mask(text: str) -> Bools:
            if text not in own:
                return recent(text)
            if text not in kept:
                kept[text] = make(text)
            return kept[text]

        return mask

    def _try(self) -> None:
        """Ask each condition once; one that no item meets is worth a warning."""
        asked = {} if self.where is None else {"where": self.where}
        for number, rule in enumerate(self.rules):
            with _named(f"rules.{number}.users"):
                self._about(rule, self.users)
            asked[f"rules.{number}.items"] = rule.items.text
        for name, text in asked.items():
            with _named(name):
                allowed = self.allowed(text)
            if not allowed.any():
                logger.warning("recommend.%s: no item meets %s", name, text)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Say in which key of the config a condition stands that cannot be."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"recommend.{key}: {error}") from None
