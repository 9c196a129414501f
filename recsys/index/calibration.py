"""How good is an approximate index, and how far must it look to be good enough?"""

from typing import NamedTuple

import numpy as np

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.index.effort import Calibration, Effort
from recsys.index.exact import exact_top_k
from recsys.index.forest import AnnoyForest
from recsys.index.graph import HnswGraph
from recsys.index.proposer import Proposer
from recsys.index.space import Space
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors

__all__ = ["Asked", "calibrate", "least_effort", "look"]

ASKERS = 128  # at most
FIRST = 32  # effort that is tried; then twice as much, until it is too much
CURVE = (0.125, 0.25, 0.5, 1.0)  # of the chosen effort: what less would find
STEP = 1.15  # between efforts that are told apart
BLOCK = 32  # questions at a time
MARGIN = 0.25  # of what may be missed: others find a little less than those who choose
FEW = 10_000  # items; below it a query may well look at a larger share of them
USUAL = (0.3, 0.05)  # shares below and above FEW: where more is needed, a `Space` is tried as well
SAMPLE = 48  # askers who choose among
KEPT = (0.65, 0.9)  # of the variance: few axes split better, of too few items look alike
DISTANCES = (0.7, 1.0, 1.6, 3.0)
FORESTS = (10, 100)  # trees, at least and at most
BYTES = 16  # of one item in one tree, about; measured at widths of 32 to 128


class Asked(NamedTuple):
    """Questions with their exact answers."""

    queries: Vectors  # (q, dim)
    exact: TopK  # (q, k)
    excluded: float  # items that each of them was not to get, on average

    @classmethod
    def of(cls, vectors: Vectors, queries: Vectors, k: int, exclude: Ragged | None) -> "Asked":
        """Answer them by exact search."""
        barred = 0 if exclude is None or not len(exclude) else exclude.lengths.mean()
        return cls(queries, exact_top_k(vectors, queries, k, exclude=exclude), float(barred))

    def first(self, n: int) -> "Asked":
        """The first n of them."""
        items, scores = self.exact
        return self._replace(queries=self.queries[:n], exact=TopK(items[:n], scores[:n]))


def calibrate(
    vectors: Vectors, config: IndexConfig, askers: Vectors, exclude: Ragged | None
) -> tuple[Proposer, Calibration]:
    """Build what proposes items, and find the least effort that reaches ``config.recall``.

    An Annoy forest that must look at more than is usual is grown again in a `Space` of few axes
    and in one of many, and the one that looks at least is taken.

    Args:
        vectors: checked item vectors, ``(n, dim)``.
        config: what is wanted, and what was set by hand.
        askers: checked vectors of those who ask, ``(q, dim)``.
        exclude: what each of them is not to get, q rows.
    """
    some = np.random.default_rng(config.seed).permutation(len(askers))[:ASKERS]
    barred = None if exclude is None else exclude.take(some)
    asked = Asked.of(vectors, askers[some], config.recall_k, barred)
    if config.kind == "hnsw":
        graph = HnswGraph.grow(vectors, seed=config.seed, n_jobs=config.n_jobs)
        return graph, _calibration(graph, config, asked)
    forest = _grow(vectors, config, None)
    best = _calibration(forest, config, asked)
    usual = USUAL[len(vectors) >= FEW]
    if config.search_k is None and _price(best, config) > usual:
        for kept in KEPT:
            placed = _grow(vectors, config, Space.of(vectors, kept))
            placed = _farther_or_nearer(placed, asked.first(SAMPLE), usual)
            again = _calibration(placed, config, asked)
            if _price(again, config) < _price(best, config):
                forest, best = placed, again
    return forest, best


def _price(found: Calibration, config: IndexConfig) -> float:
    """The share looked at; 1 and more where the target was missed."""
    missed = max(0.0, config.recall - found.chosen.recall)
    return found.chosen.inspected if not missed else 1 + missed


def _grow(vectors: Vectors, config: IndexConfig, space: Space | None) -> AnnoyForest:
    trees = config.trees or _trees(vectors, config.megabytes)
    return AnnoyForest.grow(vectors, trees, seed=config.seed, n_jobs=config.n_jobs, space=space)


def _trees(vectors: Vectors, megabytes: int) -> int:
    """As many as fit beside the vectors, which the file holds too; 10 at least, 100 at most."""
    room = megabytes * 2**20 - vectors.nbytes
    least, most = FORESTS
    return int(np.clip(room // (BYTES * len(vectors)), least, most))


def _farther_or_nearer(forest: AnnoyForest, asked: Asked, share: float) -> AnnoyForest:
    """The same trees, asked from the distance that finds most while looking at ``share``."""
    best, found = forest, -1.0
    for distance in DISTANCES:
        space = forest.space
        if space is None:
            break
        moved = AnnoyForest(forest.forest, Space(space.axes, distance, space.spread))
        recall = least_effort(moved, asked, goal=2.0, limit=share).recall
        if recall > found:
            best, found = moved, recall
    return best


def _calibration(proposer: Proposer, config: IndexConfig, asked: Asked) -> Calibration:
    if config.search_k is not None:
        chosen = look(proposer, asked, min(config.search_k, proposer.most))
    else:
        goal = config.recall + MARGIN * (1 - config.recall)
        chosen = least_effort(proposer, asked, goal=goal, limit=config.inspect or 1.0)
    forest = proposer if isinstance(proposer, AnnoyForest) else None
    space = forest.space if forest else None
    return Calibration(
        chosen=chosen,
        curve=_curve(proposer, asked, chosen),
        k=config.recall_k,
        excluded=asked.excluded,
        trees=forest.trees if forest else 0,
        distance=space.distance if space else 0.0,
        spread=space.spread if space else 0.0,
    )


def _curve(proposer: Proposer, asked: Asked, chosen: Effort) -> tuple[Effort, ...]:
    """What less effort would find, and the chosen one at last."""
    less = {max(1, round(times * chosen.effort)) for times in CURVE} - {chosen.effort}
    return (*(look(proposer, asked, effort) for effort in sorted(less)), chosen)


def least_effort(proposer: Proposer, asked: Asked, *, goal: float, limit: float) -> Effort:
    """The least effort, to a seventh, that finds ``goal``; else the most within the limit.

    How much of Annoy's ``search_k`` goes to items met in several trees depends on the vectors, so
    it is measured.

    Args:
        proposer: what is asked.
        asked: questions with their answers.
        goal: recall; above 1: as far as the limit allows.
        limit: share of the items that a query may look at on average, in (0, 1].
    """
    most = proposer.most
    low, found = 1, look(proposer, asked, 1)
    within = found
    while found.inspected <= limit and found.recall < goal and found.effort < most:
        within, low = found, found.effort
        found = look(proposer, asked, min(most, 2 * low + FIRST))
    if found.inspected <= limit and found.recall < goal:
        return found  # all that there is
    high, best = found.effort, found if found.inspected <= limit else None
    while high > max(STEP * low, low + 1):
        found = look(proposer, asked, max(low + 1, int((low * high) ** 0.5)))
        if found.inspected > limit:
            high = found.effort
        elif found.recall >= goal:
            high, best = found.effort, found
        else:
            low, within = found.effort, found
    return best or within


def look(proposer: Proposer, asked: Asked, effort: int) -> Effort:
    """Measure one effort: what share of the items is met, what share of the exact answers."""
    queries, exact = asked.queries, asked.exact.items
    n = len(queries)
    if not n:
        return Effort(effort=effort, inspected=0.0, recall=1.0)
    count = proposer.count
    met = wanted = hits = 0
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        everything = np.full(rows.stop - start, count)
        efforts = np.full(rows.stop - start, effort)
        found = proposer.propose(queries[rows], everything, efforts)
        items = exact[rows]
        sought = items >= 0
        proposed = np.zeros((len(items), count), dtype=np.bool_)
        proposed[found.row_numbers, found.values] = True
        hits += int((np.take_along_axis(proposed, np.maximum(items, 0), axis=1) & sought).sum())
        wanted += int(sought.sum())
        met += len(found.values)
    return Effort(effort=effort, inspected=met / n / count, recall=hits / wanted if wanted else 1.0)
