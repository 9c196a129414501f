"""A batch in numbered parts: each is made by itself, and always of the same bytes."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys import __version__
from recsys.batch.journal import Written
from recsys.batch.places import Place
from recsys.data.ragged import Ragged
from recsys.data.stored_log import StoredLog
from recsys.files import digest_json
from recsys.index.topk import TopK
from recsys.recommenders.ranker import Queries
from recsys.recommenders.recommender import Recommender

__all__ = ["Format", "Job"]

REPEATED = ["user_id", "rank", "item_id"]

Format = Literal["parquet", "csv", "jsonl"]


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked, and of whom: all that the bytes of the parts depend on.

    Attributes:
        recommender: who gets what.
        users: user numbers, int32 ``(u,)``, in the order in which they are written.
        k: items per user; what a user has taken already is left out.
        blocked: further items per user never to return, ``n_users`` rows.
        candidates: items allowed for everybody, bool ``(n_items,)``.
        log: where the histories are read from, a part at a time; None: the recommender knows them.
        file_format: of the part files.
        part_users: users in one part file.
        batch_size: users ranked at a time.
    """

    recommender: Recommender
    users: NDArray[np.int32]
    k: int
    blocked: Ragged | None = None
    candidates: NDArray[np.bool_] | None = None
    log: StoredLog | None = None
    file_format: Format = "parquet"
    part_users: int = 100_000
    batch_size: int = 1_024

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-len(self.users) // self.part_users)

    @cached_property
    def digest(self) -> str:
        """Of everything but the models and the log: parts of another job are of no use."""
        arrays: list[NDArray[Any] | None] = [self.users, self.candidates]
        if self.blocked is not None:
            arrays += [self.blocked.indptr, self.blocked.values]
        sums = [None if a is None else hashlib.sha256(a.tobytes()).hexdigest() for a in arrays]
        about = [self.k, self.file_format, self.part_users, self.batch_size, __version__]
        config = self.recommender.config.model_dump(mode="json")
        return digest_json([about, sums, config, self.recommender.item_ids.digest])

    def users_of(self, part: int) -> NDArray[np.int32]:
        """The users of a part."""
        return self.users[part * self.part_users : (part + 1) * self.part_users]

    def write(
        self, part: int, place: Place, tell: Callable[[int], None] = lambda _: None
    ) -> Written:
        """Make a part and write it; ``tell`` hears of the users of every block.

        Memory is bounded by the part: its rows of the log, its answers and its file.
        """
        users, with_log = self.users_of(part), self.with_histories(part)
        found = []
        for block in with_log.blocks(users):
            found.append(with_log.top_k(block))
            tell(len(block))
        items = np.concatenate([one.items for one in found])
        scores = np.concatenate([one.scores for one in found])
        user_ids = pa.array(self.recommender.user_ids.ids(users))
        table = _table(user_ids, self._item_ids, TopK(items, scores))
        name = f"part-{part:05d}.{self.file_format}"
        content = _encode(table, self.file_format)
        place.write(name, content)
        short = int((items[:, -1] < 0).sum())
        return Written(part, name, len(content), len(users), len(table), short)

    @cached_property
    def _item_ids(self) -> pa.Array:
        """All of them as a column."""
        return pa.array(self.recommender.item_ids.values)

    def with_histories(self, part: int) -> "Job":
        """The same with a recommender that knows the histories of a part, if none knew them."""
        if self.log is None:
            return self
        known = self.log.of(self.users_of(part))
        return replace(self, recommender=replace(self.recommender, known=known), log=None)

    def blocks(self, users: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
        """Users a block at a time."""
        for start in range(0, len(users), self.batch_size):
            yield users[start : start + self.batch_size]

    def top_k(self, users: NDArray[np.int32]) -> TopK:
        """Rank for users ``(b,)`` whose histories are known, shapes ``(b, k)``."""
        queries = Queries(users, self.recommender.histories.take(users))
        barred = None if self.blocked is None else self.blocked.take(users)
        return self.recommender.top_k(queries, self.k, exclude=barred, candidates=self.candidates)


def _table(user_ids: pa.Array, item_ids: pa.Array, found: TopK) -> pa.Table:
    """The columns ``user_id, rank, item_id, score`` of answers ``(u, k)``; no Python objects."""
    there = found.items >= 0
    rows, places = np.divmod(np.flatnonzero(there), found.items.shape[1])
    return pa.table(
        {
            "user_id": user_ids.take(pa.array(rows)),
            "rank": pa.array((places + 1).astype(np.int32)),
            "item_id": item_ids.take(pa.array(found.items[there])),
            "score": pa.array(found.scores[there]),
        }
    )


def _encode(table: pa.Table, file_format: Format) -> bytes:
    buffer = io.BytesIO()
    if file_format == "parquet":
        # Scores hardly repeat: a dictionary of them would be made in vain.
        pq.write_table(table, buffer, compression="zstd", use_dictionary=REPEATED)
    elif file_format == "csv":
        table.to_pandas().to_csv(buffer, index=False)
    else:
        lines = table.to_pandas().to_json(orient="records", lines=True, double_precision=15)
        buffer.write(lines.encode() if len(table) else b"")  # of no rows pandas makes a blank line
    return buffer.getvalue()
