"""What re-ranking costs and gains: each component alone, all together, or several weights of each.

Lists are cut anew out of pools that are asked once: what differs is the choice alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from recsys.config import RerankConfig
from recsys.data.tasks import Task
from recsys.evaluation.aspects import Aspects, measure_beyond
from recsys.evaluation.certainty import certainty
from recsys.evaluation.metrics import METRICS, PerUser, coverage, judge
from recsys.index.topk import TopK
from recsys.recommenders.rerank import Reranker

__all__ = [
    "PLAIN",
    "Nature",
    "components",
    "measure_reranking",
    "reranking_markdown",
    "reranking_table",
]

PLAIN = "by score alone"
WEIGHTS = ("diversity", "dampening", "freshness", "per_category")
VERDICT = 3  # its column
HEADINGS = {  # what a row says beside its accuracy
    "diversity": "diversity",
    "coverage": "coverage",
    "arp_lift": "arp lift",
    "age": "age, days",
    "of_a_category": "of a category",
}
NARROW = {  # the same, where the terminal's 80 columns are few
    "diversity": "diver-\nsity",
    "coverage": "cover-\nage",
    "arp lift": "arp\nlift",
    "age, days": "age,\ndays",
    "of a category": "of a\nkind",
    "difference, 95 %": "difference,\n95 %",
}

Row = dict[str, Any]


class Nature(NamedTuple):
    """What items are, to say what lists are made of.

    Attributes:
        aspects: for diversity and popularity.
        ages: in days, NaN where unknown, ``(n_items,)``; None: not known of any.
        categories: numbers, ``(n_items, most)``, filled up with -1; None: there are none.
    """

    aspects: Aspects
    ages: NDArray[np.float64] | None = None
    categories: NDArray[np.int32] | None = None


def components(config: RerankConfig) -> dict[str, RerankConfig]:
    """Each weight that is set alone, and if there are several, all together; by label."""
    off = dict.fromkeys(WEIGHTS[:-1], 0.0) | {"per_category": None}
    set_ = {name: getattr(config, name) for name in WEIGHTS if getattr(config, name)}
    found = {
        f"{name} {value:g}": config.model_copy(update=off | {name: value})
        for name, value in set_.items()
    }
    return found if len(found) < 2 else {**found, "all together": config}


def measure_reranking(
    pools: Mapping[int, TopK],
    rerankers: Mapping[str, Mapping[int, Reranker]],
    task: Task,
    nature: Nature,
    metric: str,
) -> list[Row]:
    """Choose out of every pool in every way, and measure.

    Args:
        pools: seed -> lists of the task's users, ``(u, p)``, best first.
        rerankers: label -> seed -> what chooses.
        task: that the lists answer.
        nature: of the items.
        metric: such as ``"ndcg@10"``, whose k is the length of the lists.

    Returns:
        A row each, `PLAIN` first: ``reranking``, ``metric``, ``mean``, ``low`` and ``high`` over
        seeds, but for the first ``difference`` to it with the ends of its paired interval ``from``
        and ``to`` and a ``verdict``; and means over seeds of ``diversity`` (mean 1 - cosine of two
        items' content), ``coverage`` (share of the candidates shown to anybody), ``arp_lift`` (0:
        as popular as what users took), ``age`` (days) and ``of_a_category`` (mean over users of
        the greatest number of places that one category has), as far as they are known.
    """
    name, _, at = metric.partition("@")
    truth = task.truth.histories().take(task.users)
    per_user: dict[str, dict[int, dict[str, PerUser]]] = {}
    said: dict[str, list[dict[str, float]]] = {}
    for label in (PLAIN, *rerankers):
        for seed, pool in pools.items():
            items = pool.items[:, : int(at)]
            if label != PLAIN:
                items = rerankers[label][seed].choose(pool, int(at)).items
            value = METRICS[name](judge(items, truth), int(at))
            per_user.setdefault(label, {})[seed] = {metric: value}
            said.setdefault(label, []).append(_describe(items, task, nature, int(at)))
    against = certainty(per_user, [metric])[metric].against(PLAIN)
    rows = []
    for label, seeds in per_user.items():
        means = [float(values[metric].mean()) for values in seeds.values()]
        row: Row = {"reranking": label, "metric": metric, "mean": float(np.mean(means))}
        row |= {"low": min(means), "high": max(means)}
        if label != PLAIN:
            found = against[label]
            ends = zip(("difference", "from", "to"), map(float, found.difference), strict=True)
            row |= dict(ends) | {"verdict": found.verdict()}
        rows.append(
            row | {k: float(np.mean([one[k] for one in said[label]])) for k in said[label][0]}
        )
    return rows


def reranking_table(rows: Sequence[Row]) -> Table:
    """The table for the terminal, of 80 columns: without verdicts."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(_headings(rows)):
        if place != VERDICT:
            justify: Literal["left", "right"] = "right" if place else "left"
            table.add_column(NARROW.get(heading, heading), justify=justify, no_wrap=True)
    for cells in _cells(rows, digits=3):
        table.add_row(*(cell for place, cell in enumerate(cells) if place != VERDICT))
    return table


def reranking_markdown(rows: Sequence[Row]) -> str:
    """The table in markdown."""
    headings = _headings(rows)
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *_cells(rows))]
    lines.insert(1, "|---" + "|---:" * (len(headings) - 1) + "|")
    return "\n".join(lines) + "\n"


def _headings(rows: Sequence[Row]) -> tuple[str, ...]:
    told = (heading for key, heading in HEADINGS.items() if key in rows[0])
    return ("re-ranking", rows[0]["metric"], "difference, 95 %", "verdict", *told)


def _cells(rows: Sequence[Row], digits: int = 4) -> Iterator[tuple[str, ...]]:
    form = {"age": ",.0f", "arp_lift": "+.2f", "of_a_category": ".2f"}
    for row in rows:
        mean = f"{row['mean']:.4f}".removeprefix("0")
        apart = ("", "")
        if "verdict" in row:
            ends = (f"{row[end]:+.{digits}f}".replace("0.", ".") for end in ("from", "to"))
            apart = (" to ".join(ends), row["verdict"])
        told = (
            format(row[key], form.get(key, ".3f")).removeprefix("0")
            for key in HEADINGS
            if key in row
        )
        yield (row["reranking"], mean, *apart, *told)


def _describe(items: NDArray[np.int32], task: Task, nature: Nature, k: int) -> dict[str, float]:
    """What lists ``(u, k)`` are made of, by the names of `HEADINGS`."""
    beyond = measure_beyond(items, task, nature.aspects, [k]).means
    found = {"coverage": coverage(items, int(task.candidates.sum()), k)}
    found |= {n: beyond[f"{n}@{k}"] for n in ("diversity", "arp_lift") if f"{n}@{k}" in beyond}
    shown = items[items >= 0]
    if nature.ages is not None:
        ages = nature.ages[shown]
        known = ages[~np.isnan(ages)]
        found["age"] = float(known.mean()) if len(known) else 0.0
    if nature.categories is not None:
        found["of_a_category"] = float(_most_of_one(items, nature.categories).mean())
    return found


def _most_of_one(items: NDArray[np.int32], categories: NDArray[np.int32]) -> PerUser:
    """The places that the commonest category of each list has, ``(u,)``."""
    codes = np.where(items[:, :, None] >= 0, categories[np.maximum(items, 0)], -1)
    rows = np.repeat(np.arange(len(items)), codes[0].size)
    codes = codes.ravel()
    width = int(codes.max(initial=0)) + 1
    pairs, counts = np.unique((rows * width + codes)[codes >= 0], return_counts=True)
    most = np.zeros(len(items))
    np.maximum.at(most, pairs // width, counts)
    return most
