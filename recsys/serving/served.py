"""A loaded bundle and what it answers; and the one that is being served, which may change."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from recsys.data.ids import ItemIds, UserIds
from recsys.errors import ArtifactError, ConfigError, DataError, RecsysError
from recsys.recommenders.changed import live_index_of, two_towers_of
from recsys.recommenders.explain import explain
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import Bundle, read_bundle_card
from recsys.serving.changes import Changes, newest, read_newest_card
from recsys.serving.messages import Id, Recommend, Why
from recsys.serving.search import TextSearch
from recsys.stages.why import why_json

__all__ = ["Cannot", "NotKnown", "Served", "Service"]

logger = logging.getLogger(__name__)

Answer = dict[str, Any]  # json-able
_State = tuple[Path, tuple[tuple[Path, int, int], ...]]  # what lies where


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
        base: the recommender and the search without what changed in the bundle since it was made.
    """

    bundle: Bundle
    recommender: Recommender
    search: TextSearch | None
    no_search: str
    base: "tuple[Recommender, TextSearch | None]"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Check and load a bundle, and ask it once, so that nothing is left to be made.

        Raises:
            RecsysError: it is broken, or cannot be used here.
        """
        bundle = Bundle.load(folder)
        recommender = Recommender.load(bundle.folder)
        for item_id in recommender.recommend(recommender.user_ids.values[:1], k=1)["item_id"]:
            recommender.similar(item_id, k=1)
        try:
            search, why = TextSearch.load(bundle.folder, bundle.card.encoders), ""
        except RecsysError as error:
            search, why = None, str(error)
        bare = cls(bundle, recommender, search, why, (recommender, search))
        if read_bundle_card(bundle.folder).digest != bundle.card.digest:
            raise ArtifactError(f"{bundle.folder}: was replaced while it was read; read it again")
        return bare if bundle.changes is None else bare.with_changes(bundle.changes)

    def with_changes(self, changes: Changes) -> Self:
        """The same bundle with its items as they are now; nothing else is loaded.

        Raises:
            ArtifactError: they are not of this bundle.
        """
        base, search = self.base
        now = changes.on(base)
        now.recommend(now.user_ids.values[:1], k=1)
        if search is not None:
            search = search.with_changes(changes.rows, live_index_of(now).removed)
        bundle = replace(self.bundle, changes=changes)
        return replace(self, bundle=bundle, recommender=now, search=search)

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
            new_items=asked.new_items,
        )
        return self._answer(table) | {"user_id": asked.user_id}

    def similar(self, item_id: Id, k: int) -> Answer:
        """The items nearest to an item."""
        _check_known(self.recommender.item_ids, [item_id], "item")
        (number,) = self.recommender.item_ids.numbers([item_id])
        if not two_towers_of(self.recommender).there[number]:
            raise NotKnown(f"item: {item_id!r} was removed")
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
        return why_json(who, found) | {"bundle": self.bundle.digest}

    def health(self) -> Answer:
        """What is served."""
        card = self.bundle.card
        facts = card.model_dump(mode="json", include={"name", "made", "versions", "counts"})
        changes = None if self.bundle.changes is None else self.bundle.changes.card
        changed = {
            name: 0 if changes is None else int(getattr(changes, name))
            for name in ("generation", "added", "replaced", "removed")
        }
        found = {"status": "ok", "bundle": self.bundle.digest, "search": self.search is not None}
        return {**found, **facts, "changes": changed}

    def _answer(self, table: pd.DataFrame) -> Answer:
        columns = (table[name].tolist() for name in ("rank", "item_id", "score"))
        titles = self.recommender.label(table["item_id"])
        items = [
            {"rank": rank, "item_id": item_id, "title": title, "score": score}
            for rank, item_id, score, title in zip(*columns, titles, strict=True)
        ]
        return {"bundle": self.bundle.digest, "items": items}


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

    def __init__(
        self, find: Callable[[], Path], taken: Callable[[Path], None] | None = None
    ) -> None:
        """Load the first bundle.

        Args:
            find: says where the bundle lies that should be served now.
            taken: is told the folder of each bundle that is served from then on.

        Raises:
            RecsysError: there is none, or it is broken.
        """
        self._find = find
        self._taken = taken
        self._refused: _State | None = None
        self._wake = threading.Event()
        self._ended = False
        self._complaint = ""
        self.current = Served.load(find())
        self.swaps = 0
        self.failures = 0

    def refresh(self) -> bool:
        """Look whether another bundle is wanted and take it; whether it was taken.

        A broken one is told of once, and read again when a file of it has changed (it may still be
        on its way) or when woken.
        """
        state = None
        try:
            folder = self._find().resolve()
            state = _state_of(folder)
            if state == self._refused:
                return False
            self._refused = None
            new = self._other(folder)
        except (RecsysError, OSError) as error:
            self._complain(str(error))
            self._refused = None if isinstance(error, OSError) else state
            return False
        except Exception as error:  # whatever is wrong with it, the old one goes on serving
            self._complain(f"{type(error).__name__}: {error}")
            return False
        if new is None:
            return False
        self.current, old = new, self.current
        if self._taken is not None:
            self._taken(new.bundle.folder)
        self.swaps += 1
        self._complaint = ""
        logger.info("serving %s instead of %s", new.bundle.digest[:12], old.bundle.digest[:12])
        return True

    def _other(self, folder: Path) -> Served | None:
        """What lies in a folder, if it is not what is served: another bundle, or other items."""
        now = self.current.bundle
        if read_bundle_card(folder).digest != now.card.digest:
            return Served.load(folder)
        changed, card = newest(folder), read_newest_card(folder)
        if (now.card.digest if card is None else card.digest) == now.digest:
            return None
        if changed is None:  # somebody took the changes away
            return Served.load(folder)
        return self.current.with_changes(Changes.load(changed, now.card.digest))

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
            if self._wake.wait(every):
                self._refused = None
            self._wake.clear()
            if not self._ended:
                self.refresh()

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self.failures += 1
            kept = self.current.bundle.card.short
            logger.error("another bundle cannot be used (%s): %s goes on serving", why, kept)
        self._complaint = why


def _state_of(folder: Path) -> _State:
    """Names, sizes and times of all files below a folder; nothing is read."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [(path, path.stat()) for path in files]
    return folder, tuple((path, about.st_size, about.st_mtime_ns) for path, about in facts)
