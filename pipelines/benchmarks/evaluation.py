"""How much memory and time does evaluation take with many users and a large catalogue?

Synthetic unit vectors, exact search over the whole catalogue, 20 items of history and 5 of truth a
user, accuracy and what lies beyond. Nothing of users x items is ever held; what grows with the
users are the log, the lists and the values per user. All users have histories and vectors; so many
are asked (``--asked 100000`` for all), and what the lists of the others would add is printed.

    python pipelines/benchmarks/evaluation.py [--users 100000] [--items 1000000] [--asked 2000]
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.data.tasks import Task
from recsys.evaluation.aspects import Aspects
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.index.exact import ExactIndex
from recsys.index.topk import TopK
from recsys.index.vectors import Vectors
from recsys.recommenders.ranker import Abilities, Queries

HISTORY, TRUTH = 20, 5  # items a user
ABILITIES = Abilities(new_users=False, new_items=True)
BLOCK = 50_000  # vectors drawn at a time


@dataclass(frozen=True, eq=False)
class VectorRanker:
    """Asks an exact index for the items nearest to each user's vector ``(n_users, dim)``."""

    users: Vectors
    index: ExactIndex
    name: str = "vectors"
    abilities: Abilities = ABILITIES

    def top_k(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: Ragged | None = None,
        candidates: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k nearest items per query."""
        vectors = self.users[queries.users]
        return self.index.query(vectors, k, exclude=exclude, candidates=candidates)


def main() -> None:
    """Print the peak of memory at every step and the users evaluated in a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    report("imports")
    index = ExactIndex.build(unit(random, asked.items, asked.dim))
    ranker = VectorRanker(unit(random, asked.users, asked.dim), index)
    report("vectors")
    rows = np.sort(random.integers(asked.items, size=(asked.users, HISTORY + TRUTH)), axis=1)
    parts = random.permuted(rows, axis=1)
    history = log(parts[:, :HISTORY], asked.items)
    truth = log(parts[:, HISTORY:], asked.items)
    truth = truth.take(truth.users < asked.asked)
    task = Task.of(history, truth, np.ones(asked.items, np.bool_))
    report("log and task")
    started = time.process_time()
    found = evaluate_ranker(ranker, task, aspects=Aspects.of(history))
    cpu = time.process_time() - started
    report("evaluation")
    kept = found.ranked.items.nbytes + found.ranked.scores.nbytes + found.users.nbytes
    kept += sum(one.nbytes for one in (*found.per_user.values(), *found.beyond.values()))
    a_user = kept / found.n_users
    print(
        f"{found.n_users:,} of {asked.users:,} users x {asked.items:,} items, {asked.dim} wide: "
        f"ranked in {found.seconds:.1f} s, {found.n_users / found.seconds:.1f} users/s "
        f"({found.n_users / cpu:.1f} a second of CPU, with the metrics); {a_user:.0f} bytes kept "
        f"a user, {a_user * (asked.users - found.n_users) / 2**20:,.0f} MiB more for the others"
    )


def unit(random: np.random.Generator, n: int, dim: int) -> Vectors:
    """Random unit vectors ``(n, dim)``, drawn in blocks."""
    vectors = np.empty((n, dim), dtype=np.float32)
    for start in range(0, n, BLOCK):
        block = vectors[start : start + BLOCK]
        random.standard_normal(out=block, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def log(items: NDArray[np.int64], n_items: int) -> Interactions:
    """Rows of users 0, 1, ... with the items of each, ``(n_users, n)``."""
    n_users, n = items.shape
    numbers = np.arange(items.size, dtype=np.int64)
    return Interactions(
        np.repeat(np.arange(n_users, dtype=np.int32), n),
        items.ravel().astype(np.int32),
        numbers,
        np.ones(items.size, dtype=np.float32),
        numbers,
        n_users,
        n_items,
    )


def report(step: str) -> None:
    """Print the process's largest resident memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    print(f"peak of memory after {step}: {peak / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
