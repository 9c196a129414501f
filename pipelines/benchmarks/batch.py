"""How fast are everybody's recommendations: ours against implicit's, exact against Annoy?

Vectors are clustered and of length 1, drawn with seed 0. Every contestant answers the same users
in the same run, one after the other, several times; the median counts.

    python pipelines/benchmarks/batch.py            # 100,000 items, 500 centres, noise 1.0
    python pipelines/benchmarks/batch.py --items 1000000 --users 2000 --centres 1000 --noise 0.8

Beside them stands the matrix product alone; above 200,000 items also Annoy and
hnswlib at the wanted recall.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.config import IndexConfig
from recsys.data.ragged import Ragged
from recsys.index.exact import exact_top_k
from recsys.index.index import Index, build_index
from recsys.index.vectors import Vectors

K, SEEN, ASKERS = 20, 50, 500
BLOCK = 1_024  # users whose matrix product is taken at once
FEW = 200_000  # items, for which no forest is grown


def main() -> None:
    """Time what suits the number of items."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--centres", type=int, default=500)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--kinds", nargs="*", default=["annoy", "hnsw"])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    centres = random.normal(size=(asked.centres, asked.dim)).astype(np.float32)
    items = drawn(random, centres, asked.noise, asked.items)
    users = drawn(random, centres, asked.noise, asked.users + ASKERS)
    seen = random.integers(asked.items, size=(len(users), SEEN)).astype(np.int32)
    everything = Ragged.of([np.unique(row).tolist() for row in seen])
    exclude = everything.take(np.arange(asked.users))
    who = users[: asked.users]
    contest: dict[str, Callable[[], np.ndarray]] = {
        "exact": lambda: exact_top_k(items, who, K, exclude=exclude).items
    }
    contest |= implicits(items, who, exclude)
    for kind in asked.kinds if asked.items > FEW else ():
        others = np.arange(asked.users, len(users))
        config = IndexConfig(kind=kind, recall=asked.recall, recall_k=K, n_jobs=2)
        index = build_index(items, config, askers=users[others], exclude=everything.take(others))
        print(index, flush=True)
        contest[kind] = partial(answers, index, who, exclude)
    run(contest, asked.users, asked.rounds)


def answers(index: Index, users: Vectors, exclude: Ragged) -> np.ndarray:
    """The items that an index gives."""
    return index.query(users, K, exclude=exclude).items


def drawn(
    random: np.random.Generator, centres: Vectors, noise: float, n: int, block: int = 50_000
) -> Vectors:
    """Unit vectors ``(n, dim)`` about centres ``(c, dim)``."""
    parts = []
    for start in range(0, n, block):
        size = min(block, n - start)
        part = centres[random.integers(len(centres), size=size)]
        part += noise * random.normal(size=part.shape).astype(np.float32)
        parts.append(part / np.linalg.norm(part, axis=1, keepdims=True))
    return np.concatenate(parts)


def implicits(
    items: Vectors, users: Vectors, exclude: Ragged
) -> dict[str, Callable[[], np.ndarray]]:
    """Implicit's ``recommend`` with BLAS's threads and without, and the matrix product alone."""
    model = AlternatingLeastSquares(factors=items.shape[1])
    model.item_factors, model.user_factors = items, users
    values = np.ones(len(exclude.values), dtype=np.float32)
    taken = csr_matrix((values, exclude.values, exclude.indptr), shape=(len(users), len(items)))
    everybody = np.arange(len(users))

    def recommend() -> np.ndarray:
        found: np.ndarray = model.recommend(everybody, taken, N=K)[0]
        return found

    def alone() -> np.ndarray:
        with threadpool_limits(1, "blas"):
            return recommend()

    def product() -> np.ndarray:
        for start in range(0, len(users), BLOCK):
            users[start : start + BLOCK] @ items.T
        return np.empty((0, 0))

    return {
        "implicit": recommend,
        "implicit, BLAS with 1 thread": alone,
        "matrix product alone": product,
    }


def run(contest: dict[str, Callable[[], np.ndarray]], users: int, rounds: int) -> None:
    """Take turns; print the median rate of each and how far its answers are those of "exact"."""
    rates: dict[str, list[float]] = {name: [] for name in contest}
    same: dict[str, str] = {}
    exact = np.empty(0)
    for _ in range(rounds):
        for name, work in contest.items():
            started = time.perf_counter()
            found = work()
            rates[name].append(users / (time.perf_counter() - started))
            exact = found if name == "exact" else exact
            if len(found):
                pairs = zip(found, exact, strict=True)
                shared = sum(len(np.intersect1d(*pair)) for pair in pairs) / exact.size
                same[name] = f", {shared:.4%} of its items are those of exact search"
    first = np.median(rates["exact"])
    for name, each in rates.items():
        print(
            f"{name}: {np.median(each):,.0f} users/s ({min(each):,.0f} to {max(each):,.0f}), "
            f"exact is {first / np.median(each):.2f} times as fast{same.get(name, '')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
