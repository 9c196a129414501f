"""How sure is a figure, and is one model better than another? Intervals, tests and verdicts.

    found = certainty({"two-tower": {0: evaluation.per_user}, "ease": {0: ...}}, ["ndcg@10"])
    found["ndcg@10"].verdicts("two-tower")          {"ease": "worse"}

Two things are random: which users were asked, and with which seed a model was trained. Every draw
of the bootstrap draws both anew, independently, since they are crossed (each seed is measured on
the same users): the "pigeonhole bootstrap" of Owen (2007). Users are drawn with replacement and
keep the values of all models, so what makes a user hard for everybody cancels out of a difference
(Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993). That seeds belong into the interval
is shown by Bouthillier et al. (2021), "Accounting for Variance in Machine Learning Benchmarks".

With seed means m_1..m_S of a draw's users and c_s of S draws of seeds falling on s, its value is

    sum_s w_s m_s,      w_s = 1/S + sqrt(S / (S - 1)) (c_s / S - 1/S)

The root is the rescaling of Rao & Wu (1988): without it, the spread of so few seeds would come out
too small by the factor (S - 1) / S. With one seed there is no such spread to see, and the interval
speaks of the users alone.

Where users are many, fewer draws are made, lest the work grow with draws x users: 10,000 up to
20,000 users, then as many as make 200 million drawn users, but at least 1,000 (from 200,000 users
on). An end of an interval of 1,000 draws is off by some 8 % of its distance from the mean, which is
small itself by then; the least p is 0.002, so that even of 20 models held against one each can be
told from it after Holm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from recsys.evaluation.metrics import PerUser

__all__ = [
    "DRAWS",
    "LEVEL",
    "Certainty",
    "Interval",
    "Measured",
    "Pair",
    "Verdict",
    "certainty",
    "corrected",
    "draws_for",
    "holm",
    "interval",
    "user_weights",
]

Measured = Mapping[str, Mapping[int, Mapping[str, PerUser]]]  # model -> seed -> metric -> (u,)
Verdict = Literal["better", "worse", "same", "cannot tell"]

DRAWS = 10_000
FEWEST_DRAWS = 1_000
MOST_DRAWN = 200_000_000  # users, over all draws
LEVEL = 0.95
BLOCK = 2_000_000  # weights of users in memory at a time


class Interval(NamedTuple):
    """A mean and where it may as well lie."""

    mean: float
    low: float
    high: float


class Pair(NamedTuple):
    """Two models on the same users: how much better ``ours`` is than ``theirs``.

    Attributes:
        ours: a model.
        theirs: another.
        difference: the mean of ours less that of theirs, with its interval.
        p: of no difference, two-sided, from the bootstrap: at most ``1 - level`` just where the
            interval leaves out 0.
        holm: ``p`` corrected for all pairs that it stands among: those of all models, or those with
            one reference (`Certainty.against`).
        wilcoxon: p of the signed-rank test on each user's mean over seeds; users without a
            difference are left out (Wilcoxon, 1945). It asks about ranks, not about the mean.
        wilcoxon_holm: the same, corrected.
        same: no user has another value with one than with the other, as of the same lists.
    """

    ours: str
    theirs: str
    difference: Interval
    p: float
    holm: float
    wilcoxon: float
    wilcoxon_holm: float
    same: bool

    def swapped(self) -> "Pair":
        """The same seen from the other model."""
        mean, low, high = self.difference
        turned = Interval(-mean, -high, -low)
        return self._replace(ours=self.theirs, theirs=self.ours, difference=turned)

    def verdict(self, level: float = LEVEL) -> Verdict:
        """Whether ours is better than theirs, by the corrected p of the bootstrap."""
        if self.same:
            return "same"
        if self.holm > 1 - level:
            return "cannot tell"
        return "better" if self.difference.mean > 0 else "worse"

    def as_dict(self, level: float = LEVEL) -> dict[str, Any]:
        """All of it, json-able."""
        mean, low, high = self.difference
        return {
            "verdict": self.verdict(level),
            "difference": mean,
            "low": low,
            "high": high,
            "p": self.p,
            "p_holm": self.holm,
            "p_wilcoxon": self.wilcoxon,
            "p_wilcoxon_holm": self.wilcoxon_holm,
        }


@dataclass(frozen=True)
class Certainty:
    """What can be said of the models of a table by one metric.

    Attributes:
        intervals: model -> mean over users and seeds, with its interval.
        pairs: every two models, corrected for all of these.
        level: of the intervals and verdicts.
        draws: of the bootstrap.
    """

    intervals: dict[str, Interval]
    pairs: tuple[Pair, ...]
    level: float
    draws: int

    def against(self, reference: str) -> dict[str, Pair]:
        """Every other model held against one: model -> pair with that model as ``ours``.

        Corrected for these pairs only: nothing is asked of the others.
        """
        found = [
            pair.swapped() if pair.ours == reference else pair
            for pair in self.pairs
            if reference in {pair.ours, pair.theirs}
        ]
        return {pair.ours: pair for pair in corrected(found)}

    def verdicts(self, reference: str) -> dict[str, Verdict]:
        """Every other model held against one: whether it is better than that one."""
        return {model: pair.verdict(self.level) for model, pair in self.against(reference).items()}


def certainty(
    measured: Measured,
    metrics: Sequence[str],
    *,
    level: float = LEVEL,
    draws: int | None = None,
    seed: int = 0,
) -> dict[str, Certainty]:
    """Say of each metric what the users and seeds at hand can and cannot tell.

    Models with the same seeds share the draws of seeds, so that what they have in common (the
    towers, served from two indices) cancels out as well. Memory: a block of draws x users, and
    draws x (models x seeds x metrics).

    Args:
        measured: model -> seed -> metric -> value of each user, ``(u,)``, the users in one order.
        metrics: such as ``"ndcg@10"``.
        level: of the intervals and verdicts, in (0, 1).
        draws: of the bootstrap; None: as many as `draws_for` the users.
        seed: of the draws.

    Raises:
        ValueError: nobody was measured, the numbers of users differ, or the level is out of range.
    """
    columns = [
        per_user[metric]
        for per_seed in measured.values()
        for per_user in per_seed.values()
        for metric in metrics
    ]
    sizes = {column.shape for column in columns}
    if len(sizes) != 1 or sizes == {(0,)} or not 0 < level < 1:
        raise ValueError(f"users {sorted(sizes)}, level {level}: expected the same users, not none")
    values = np.column_stack(columns)
    draws = draws or draws_for(len(values))
    drawn = np.concatenate(
        [weights @ values for weights in user_weights(len(values), draws, seed)]
    ) / len(values)
    shape = (-1, len(metrics))
    by_model, start = {}, 0
    for model, per_seed in measured.items():
        stop = start + len(per_seed) * len(metrics)
        weights = _seed_weights(tuple(per_seed), draws, seed)
        seeds_drawn = drawn[:, start:stop].reshape(draws, *(len(per_seed), len(metrics)))
        means = np.einsum("ds,dsm->dm", weights, seeds_drawn)
        of_users = values[:, start:stop].reshape(len(values), *(len(per_seed), len(metrics)))
        by_model[model] = (of_users.mean(axis=1).reshape(shape), means)
        start = stop
    return {
        metric: _judge({m: (u[:, c], d[:, c]) for m, (u, d) in by_model.items()}, level)
        for c, metric in enumerate(metrics)
    }


def draws_for(n_users: int) -> int:
    """How many draws to make: 10,000, or fewer where the users are many (see above)."""
    return min(DRAWS, max(FEWEST_DRAWS, MOST_DRAWN // n_users))


def user_weights(n_users: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw users with replacement: how often each came, ``(b, n_users)``, in blocks of draws."""
    random = np.random.default_rng(seed)
    block = max(1, BLOCK // n_users)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = random.integers(n_users, size=(rows, n_users))
        drawn += n_users * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n_users)
        yield counts.reshape(rows, n_users).astype(np.float64)


def interval(mean: float, drawn: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The percentile interval of draws ``(d,)`` around a mean."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(mean), float(low), float(high))


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for there being several, in their order (Holm, 1979).

    The i-th smallest of n is multiplied by ``n - i + 1``, and none may be below one before it.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in corrected]


def _seed_weights(seeds: tuple[int, ...], draws: int, seed: int) -> NDArray[np.float64]:
    """The weight of each seed in each draw, ``(draws, s)``; the same for the same seeds."""
    n = len(seeds)
    if n == 1:
        return np.ones((draws, 1))
    random = np.random.default_rng([seed, 1, *(abs(value) for value in seeds)])
    counts = random.multinomial(n, np.full(n, 1 / n), size=draws)
    weights: NDArray[np.float64] = 1 / n + np.sqrt(n / (n - 1)) * (counts - 1) / n
    return weights


def _judge(models: Mapping[str, tuple[PerUser, NDArray[np.float64]]], level: float) -> Certainty:
    """Intervals and pairs of models, each with its users' values ``(u,)`` and draws ``(d,)``."""
    intervals = {
        model: interval(float(values.mean()), drawn, level)
        for model, (values, drawn) in models.items()
    }
    pairs = []
    for (ours, (a, drawn_a)), (theirs, (b, drawn_b)) in combinations(models.items(), 2):
        drawn, apart = drawn_a - drawn_b, np.round(a - b, 12)
        difference = interval(float((a - b).mean()), drawn, level)
        p, ranks, same = _two_sided(drawn), _signed_rank(apart), not apart.any()
        pairs.append(Pair(ours, theirs, difference, p, p, ranks, ranks, same))
    draws = len(next(iter(models.values()))[1])
    return Certainty(intervals, corrected(pairs), level, draws)


def corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs with their p values corrected for as many as ask anything: equal lists do not."""
    asked = [pair for pair in pairs if not pair.same]
    bootstrap, ranks = holm([pair.p for pair in asked]), holm([pair.wilcoxon for pair in asked])
    judged = iter(
        pair._replace(holm=p, wilcoxon_holm=w)
        for pair, p, w in zip(asked, bootstrap, ranks, strict=True)
    )
    return tuple(pair if pair.same else next(judged) for pair in pairs)


def _two_sided(drawn: NDArray[np.float64]) -> float:
    """Twice the smaller share of draws on one side of 0; never 0, as draws are finite."""
    around = np.round(drawn, 12)  # sums of the same numbers in another order are no difference
    fewer = min((around <= 0).sum(), (around >= 0).sum())
    return float(min(1.0, 2 * (1 + fewer) / (1 + len(drawn))))


def _signed_rank(differences: PerUser) -> float:
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
