"""Questions to an index, and the right answers by plain loops."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.ragged import Ragged
from recsys.index.packed import Kind, rounded
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors

N_ITEMS, DIM, N_QUERIES = 240, 12, 40
EXCLUSIONS = ("none", "few", "most")
CANDIDATES = ("all", "half", "few", "one", "nobody")


def clustered(n: int, dim: int, *, seed: int, clusters: int = 12, noise: float = 0.5) -> Vectors:
    """Unit vectors around centres that depend on ``clusters`` and ``dim`` only."""
    centres = np.random.default_rng(7).normal(size=(clusters, dim))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(clusters, size=n)] + noise * random.normal(size=(n, dim))
    return as_unit(vectors)


def as_unit(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Each row divided by its length, as float32."""
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


VECTORS = clustered(N_ITEMS, DIM, seed=1)
QUERIES = clustered(N_QUERIES, DIM, seed=2)


def exclusions(kind: str) -> Ragged | None:
    random = np.random.default_rng(3)
    if kind == "none":
        return None
    sizes = random.integers(0, 30, N_QUERIES) if kind == "few" else [N_ITEMS - 3] * N_QUERIES
    return Ragged.of([random.permutation(N_ITEMS)[:size].tolist() for size in sizes])


def candidate_mask(kind: str) -> NDArray[np.bool_] | None:
    if kind == "all":
        return None
    size = {"half": N_ITEMS // 2, "few": 9, "one": 1, "nobody": 0}[kind]
    mask = np.zeros(N_ITEMS, dtype=np.bool_)
    mask[np.random.default_rng(5).permutation(N_ITEMS)[:size]] = True
    return mask


@cache
def all_answers(kind: Kind) -> list[list[tuple[int, float]]]:
    """By plain loops: per query every (item, score), best first, smaller number among equals."""
    vectors = rounded(VECTORS, kind).tolist()
    answers = []
    for query in QUERIES.tolist():
        scored = []
        for item, vector in enumerate(vectors):
            cosine = np.float32(sum(a * b for a, b in zip(query, vector, strict=True)))
            scored.append((-float(cosine), item))
        answers.append([(item, -score) for score, item in sorted(scored)])
    return answers


def right_answers(
    exclude: Ragged | None, candidates: NDArray[np.bool_] | None, kind: Kind = "float32"
) -> list[list[tuple[int, float]]]:
    """Per query every allowed (item, score), best first."""
    answers = []
    for row, ranked in enumerate(all_answers(kind)):
        barred = set() if exclude is None else set(exclude[row].tolist())
        if candidates is not None:
            barred |= set(np.flatnonzero(~candidates).tolist())
        answers.append([pair for pair in ranked if pair[0] not in barred])
    return answers


def as_lists(found: TopK) -> list[list[tuple[int, float]]]:
    """The answers without padding, after checking that the padding is at the end and marked."""
    for items, scores in zip(found.items, found.scores, strict=True):
        assert np.all(np.diff((items < 0).astype(int)) >= 0)
        assert np.array_equal(items < 0, np.isneginf(scores))
    return [
        [(int(i), float(s)) for i, s in zip(items, scores, strict=True) if i >= 0]
        for items, scores in zip(found.items, found.scores, strict=True)
    ]
