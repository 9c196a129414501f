"""RecTools' and Cornac's own metrics against ours, on the same lists; skipped without them."""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import judge, ndcg, recall

BENCHMARKS = Path(__file__).resolve().parents[2] / "pipelines" / "benchmarks"
KS = (1, 5, 10, 20)

Judge = Callable[[NDArray[np.int32], Ragged, int], dict[str, float]]


def lists_and_truth(seed: int, *, most: int = 40) -> tuple[NDArray[np.int32], Ragged]:
    """Lists of 20 places of 60 users, some shorter or empty, and 1 to ``most`` right items each."""
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(80)[:20] for _ in range(60)]).astype(np.int32)
    lengths = random.integers(1, 25, size=60)
    lengths[0] = 0
    lists[np.arange(20) >= lengths[:, None]] = -1
    sizes = random.integers(1, most + 1, size=60)
    return lists, Ragged.of([random.choice(80, n, replace=False).tolist() for n in sizes])


def theirs(library: str, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """What the benchmark makes of a library's metrics."""
    pytest.importorskip(library, reason=f"{library} is not installed: pip install -e '.[bench]'")
    monkeypatch.syspath_prepend(BENCHMARKS)
    found: Judge = getattr(importlib.import_module("peers_metrics"), f"by_{library}")
    return found


@pytest.mark.parametrize("library", ["rectools", "cornac"])
def test_their_ndcg_and_recall_are_ours(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by = theirs(library, monkeypatch)
    for seed in range(3):
        lists, truth = lists_and_truth(seed)
        judged = judge(lists, truth)
        for k in KS:
            found = judged_by(lists, truth, k)
            assert found["ndcg"] == pytest.approx(ndcg(judged, k).mean(), rel=0, abs=1e-9)
            assert found["recall"] == pytest.approx(recall(judged, k).mean(), rel=0, abs=1e-9)


def test_rectools_ndcg_as_it_comes_divides_by_k_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is the same but for the ideal: of min(k, n) hits, not of k."""
    judged_by = theirs("rectools", monkeypatch)
    lists, truth = lists_and_truth(7, most=15)
    judged = judge(lists, truth)
    gains = np.cumsum(1 / np.log2(np.arange(2, 12)))
    ours = ndcg(judged, 10) * gains[np.minimum(truth.lengths, 10) - 1] / gains[9]
    found = judged_by(lists, truth, 10)["ndcg as it comes"]
    assert found == pytest.approx(ours.mean(), rel=0, abs=1e-9)
    assert found < ndcg(judged, 10).mean() - 0.01
