"""A loaded bundle and what it answers; and the one that is being served, which may change."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from recsys.data.ids import ItemIds, UserIds
from recsys.errors import ConfigError, DataError, RecsysError
from recsys.recommenders.explain import explain
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import Bundle, read_bundle_card
from recsys.serving.messages import Id, Recommend, Why
from recsys.serving.search import TextSearch
from recsys.stages.why import why_json

__all__ = ["Cannot", "NotKnown", "Served", "Service"]

logger = logging.getLogger(__name__)

Answer = dict[str, Any]  # json-able


class NotKnown(DataError):
    """A user, item or ability that this bundle does not have."""


class Cannot(ConfigError):
    """A field of a request that this bundle's tables cannot answer."""

    def __init__(self, field: str, why: ConfigError) -> None:
        """Say which field."""
        super().__init__(f"{field}: {why}")
        self.fields = {field: str(why)}


@dataclass(frozen=True, eq=False)
class Served:
    """A bundle in memory, ready to answer from many threads.

    Attributes:
        bundle: that was loaded.
        recommender: of it.
        search: by texts; None where it cannot be.
        no_search: why not.
    """

    bundle: Bundle
    recommender: Recommender
    search: TextSearch | None
    no_search: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Check and load a bundle, and ask it once, so that nothing is left to be made.

        Raises:
            RecsysError: it is broken, or cannot be used here.
        """
        bundle = Bundle.load(folder)
        recommender = bundle.recommender()
        recommender.recommend(recommender.user_ids.values[:1], k=1)
        try:
            search, why = TextSearch.load(bundle.folder, bundle.card.encoders), ""
        except RecsysError as error:
            search, why = None, str(error)
        return cls(bundle, recommender, search, why)

    def recommend(self, asked: Recommend) -> Answer:
        """The best items of a user; see `Recommender.recommend`."""
        who = self.recommender
        _check_known(who.user_ids, [] if asked.user_id is None else [asked.user_id], "user_id")
        _check_known(who.item_ids, asked.exclude, "exclude")
        _check_known(who.item_ids, asked.candidates or [], "candidates")
        if asked.user_id is None and asked.history is None and asked.attributes is None:
            raise DataError("give user_id, or history or attributes of somebody new")
        if asked.where is not None:
            _can("where", partial(who.rules.allowed, asked.where))
        if asked.attributes is not None:
            _can("attributes", partial(who.rules.applying_to, asked.attributes))
        table = who.recommend(
            None if asked.user_id is None else [asked.user_id],
            history=asked.history,
            attributes=asked.attributes,
            k=asked.k,
            exclude_seen=asked.exclude_seen,
            exclude=asked.exclude,
            candidates=asked.candidates,
            where=asked.where,
        )
        return self._answer(table) | {"user_id": asked.user_id}

    def similar(self, item_id: Id, k: int) -> Answer:
        """The items nearest to an item."""
        _check_known(self.recommender.item_ids, [item_id], "item")
        return self._answer(self.recommender.similar(item_id, k))

    def find(self, text: str, k: int) -> Answer:
        """The items nearest to a text."""
        if self.search is None:
            raise NotKnown("this bundle has no text search")
        items, cosines = self.search.ask(text, k)
        ranks = np.arange(1, len(items) + 1)
        item_ids = self.recommender.item_ids.ids(items)
        return self._answer(pd.DataFrame({"rank": ranks, "item_id": item_ids, "score": cosines}))

    def why(self, asked: Why) -> Answer:
        """What a score is made of."""
        who = self.recommender
        _check_known(who.user_ids, [asked.user_id], "user_id")
        _check_known(who.item_ids, [asked.item_id], "item_id")
        found = explain(who, asked.user_id, asked.item_id, past=asked.past, k=asked.k)
        return why_json(who, found) | {"bundle": self.bundle.card.digest}

    def health(self) -> Answer:
        """What is served."""
        card = self.bundle.card
        facts = card.model_dump(mode="json", include={"name", "made", "versions", "counts"})
        return {"status": "ok", "bundle": card.digest, "search": self.search is not None, **facts}

    def _answer(self, table: pd.DataFrame) -> Answer:
        columns = (table[name].tolist() for name in ("rank", "item_id", "score"))
        titles = self.recommender.label(table["item_id"])
        items = [
            {"rank": rank, "item_id": item_id, "title": title, "score": score}
            for rank, item_id, score, title in zip(*columns, titles, strict=True)
        ]
        return {"bundle": self.bundle.card.digest, "items": items}


def _can(field: str, ask: Callable[[], object]) -> None:
    try:
        ask()
    except ConfigError as error:
        raise Cannot(field, error) from None


def _check_known(ids: UserIds | ItemIds, asked: Iterable[Id], field: str) -> None:
    """Refuse unknown ids without telling known ones, as users' ids are nobody else's business."""
    wanted = list(asked)
    unknown = np.flatnonzero(ids.find(wanted) < 0)
    if len(unknown):
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise NotKnown(f"{field}: {wanted[unknown[0]]!r}{more} is not known")


class Service:
    """The bundle that answers now; another takes its place at once when it is loaded and whole.

    Who has taken ``current`` keeps it until the answer is sent.
    """

    def __init__(self, find: Callable[[], Path]) -> None:
        """Load the first bundle.

        Args:
            find: says where the bundle lies that should be served now.

        Raises:
            RecsysError: there is none, or it is broken.
        """
        self._find = find
        self._wake = threading.Event()
        self._ended = False
        self._complaint = ""
        self.current = Served.load(find())
        self.swaps = 0
        self.failures = 0

    def refresh(self) -> bool:
        """Look whether another bundle is wanted and take it; whether it was taken.

        A broken one is told of once, and looked at again the next time: it may still be on its way.
        """
        try:
            folder = self._find()
            if read_bundle_card(folder).digest == self.current.bundle.card.digest:
                return False
            new = Served.load(folder)
        except (RecsysError, OSError) as error:
            self._complain(str(error))
            return False
        except Exception as error:  # whatever is wrong with it, the old one goes on serving
            self._complain(f"{type(error).__name__}: {error}")
            return False
        self.current, old = new, self.current
        self.swaps += 1
        self._complaint = ""
        logger.info("serving %s instead of %s", new.bundle.card.short, old.bundle.card.short)
        return True

    def watch(self, every: float) -> threading.Thread:
        """Refresh every so many seconds, and when woken, in a thread of its own."""
        thread = threading.Thread(target=self._watch, args=(every,), daemon=True, name="watch")
        thread.start()
        return thread

    def wake(self) -> None:
        """Refresh now; safe in a signal's handler."""
        self._wake.set()

    def stop(self) -> None:
        """End the watching."""
        self._ended = True
        self._wake.set()

    def _watch(self, every: float) -> None:
        while not self._ended:
            self._wake.wait(every)
            self._wake.clear()
            if not self._ended:
                self.refresh()

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self.failures += 1
            kept = self.current.bundle.card.short
            logger.error("another bundle cannot be used (%s): %s goes on serving", why, kept)
        self._complaint = why
