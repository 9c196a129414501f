"""Is one bundle better than another? The lists that both were measured on, user by user."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.arrow import read_parquet
from recsys.data.dataset import Dataset
from recsys.data.ids import ItemIds, UserIds
from recsys.data.ragged import Ragged
from recsys.errors import DataError
from recsys.evaluation.certainty import LEVEL, Pair, certainty
from recsys.evaluation.saved_lists import measure_lists, read_list, truth_rows
from recsys.files import read_json
from recsys.serving.bundle import RANKING, Bundle
from recsys.stages.evaluate import METRICS_FILE, TRUTH

__all__ = ["Judgement", "judge_bundles"]

ENOUGH = 30  # users


@dataclass(frozen=True)
class Judgement:
    """A candidate held against the champion.

    Attributes:
        metric: such as ``"ndcg@10"``.
        users: who were asked the same of both.
        of: users that the candidate was measured on.
        pair: difference, interval and p; ``ours`` is the candidate.
    """

    metric: str
    users: int
    of: int
    pair: Pair

    @property
    def better(self) -> bool:
        """Whether the whole interval speaks for the candidate."""
        return self.pair.verdict() == "better"

    def __str__(self) -> str:
        mean, low, high = self.pair.difference
        return (
            f"{self.pair.verdict()}: {self.metric} {mean:+.4f} ({low:+.4f} to {high:+.4f}, "
            f"{LEVEL:.0%} interval), p {self.pair.p:.4f}; {self.users:,} of {self.of:,} users were "
            "asked the same"
        )


def judge_bundles(candidate: Bundle, champion: Bundle) -> Judgement:
    """Compare two bundles on the users that both were measured on with the same truth.

    Only the towers that serve are compared, those of the first seed: they are given, not drawn, so
    the interval speaks of the users alone.

    Raises:
        DataError: they were asked different things, so that no user can be compared.
        ArtifactError: a file cannot be read.
    """
    (metric, protocol), other = _asked(candidate), _asked(champion)
    if (metric, protocol) != other:
        raise DataError(f"measured by {metric} {protocol}, the champion by {other[0]} {other[1]}")
    both = (candidate, champion)
    tables = [read_parquet(bundle.folder / "report" / TRUTH) for bundle in both]
    user_ids = UserIds.of(*(table["user_id"].to_numpy() for table in tables))
    item_ids = ItemIds.of(*(_item_ids(bundle) for bundle in both))
    truth, other_truth = (truth_rows(table, user_ids, item_ids) for table in tables)
    same = _same_rows(truth, other_truth)
    n_measured = int((truth.lengths > 0).sum())
    if len(same) < ENOUGH:
        raise DataError(
            f"{len(same):,} of {n_measured:,} users have the same held-out items in both, too few "
            f"to judge by (expected {ENOUGH} at least): the log or the split is another, or small; "
            "train and evaluate the champion's config on the same log"
        )
    k = int(metric.split("@")[1])
    lists = {
        name: {0: _list(bundle, user_ids, item_ids, k)[same]}
        for name, bundle in zip(("candidate", "champion"), both, strict=True)
    }
    found = certainty(measure_lists(lists, truth.take(same), [metric]), [metric])
    return Judgement(metric, len(same), n_measured, found[metric].against("champion")["candidate"])


def _asked(bundle: Bundle) -> tuple[str, dict[str, Any]]:
    """The metric of a bundle's verdict, and what was asked."""
    report = read_json(bundle.folder / "report" / METRICS_FILE)
    protocol = report["protocol"]
    return bundle.config.evaluation.headline, {
        name: protocol.get(name) for name in ("protocol", "candidates")
    }


def _item_ids(bundle: Bundle) -> NDArray[Any]:
    return Dataset.load(bundle.folder / "data").item_ids.values


def _list(bundle: Bundle, user_ids: UserIds, item_ids: ItemIds, k: int) -> NDArray[np.int32]:
    path = bundle.folder / RANKING.format(bundle.card.seed)
    return read_list(path, user_ids, item_ids, k)


def _same_rows(ours: Ragged, theirs: Ragged) -> NDArray[np.int64]:
    """The rows ``(r,)`` that are not empty and the same in both."""
    rows = np.flatnonzero((ours.lengths == theirs.lengths) & (ours.lengths > 0))
    a, b = ours.take(rows), theirs.take(rows)
    differing = np.bincount(a.row_numbers, weights=a.values != b.values, minlength=len(rows))
    found: NDArray[np.int64] = rows[differing == 0]
    return found
