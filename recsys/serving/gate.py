"""Is one bundle better than another? The lists that both were measured on, user by user.

Bundles of different logs have no such lists; they can be asked anew, see `judge_bundles_on`.
"""

from dataclasses import dataclass
from pathlib import Path
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
from recsys.serving.common import ask_both
from recsys.stages.evaluate import METRICS_FILE, TRUTH

__all__ = ["Judgement", "judge_bundles", "judge_bundles_on"]

ENOUGH = 30  # users


@dataclass(frozen=True)
class Judgement:
    """A candidate held against the champion.

    Attributes:
        metric: such as ``"ndcg@10"``.
        users: who were asked the same of both.
        of: users that the candidate was measured on.
        pair: difference, interval and p; ``ours`` is the candidate.
        how: they were asked, if anew.
    """

    metric: str
    users: int
    of: int
    pair: Pair
    how: str = ""

    @property
    def better(self) -> bool:
        """Whether the whole interval speaks for the candidate."""
        return self.pair.verdict() == "better"

    def __str__(self) -> str:
        mean, low, high = self.pair.difference
        return (
            f"{self.pair.verdict()}: {self.metric} {mean:+.4f} ({low:+.4f} to {high:+.4f}, "
            f"{LEVEL:.0%} interval), p {self.pair.p:.4f}; {self.users:,} of {self.of:,} users were "
            f"asked the same{self.how}"
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
            "train and evaluate the champion's config on the same log, or ask both anew (--on RUN)"
        )
    k = int(metric.split("@")[1])
    lists = {
        name: {0: _list(bundle, user_ids, item_ids, k)[same]}
        for name, bundle in zip(("candidate", "champion"), both, strict=True)
    }
    found = certainty(measure_lists(lists, truth.take(same), [metric]), [metric])
    return Judgement(metric, len(same), n_measured, found[metric].against("champion")["candidate"])


def judge_bundles_on(candidate: Bundle, champion: Bundle, run: Path) -> Judgement:
    """Compare two bundles by what they answer now; see `recsys.serving.common.ask_both`.

    Args:
        candidate: whose config says by which metric.
        champion: it is held against; its log may be older.
        run: a finished run that held something out for its test.

    Raises:
        DataError: too few users are left whom both know.
        ArtifactError: a file is missing or damaged.
    """
    metric = candidate.config.evaluation.headline
    common = ask_both(candidate, champion, run, int(metric.split("@")[1]))
    n_users = len(common.truth)
    if n_users < ENOUGH:
        raise DataError(
            f"{n_users:,} of {common.of:,} users of {run} are known to both and have held-out "
            "items that both can recommend and neither learnt from, too few to judge by (expected "
            f"{ENOUGH} at least)"
        )
    lists = dict(zip(("candidate", "champion"), ({0: one} for one in common.lists), strict=True))
    found = certainty(measure_lists(lists, common.truth, [metric]), [metric])
    how = f" anew on {run}, among {common.n_items:,} items that both can recommend"
    pair = found[metric].against("champion")["candidate"]
    return Judgement(metric, n_users, common.of, pair, how)


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
