"""How good is an index, and how much does it look at?"""

import numpy as np

from recsys.data.ragged import Ragged
from recsys.index.exact import exact_top_k
from recsys.index.index import Index
from recsys.index.vectors import Vectors

__all__ = ["recall_against_exact"]


def recall_against_exact(
    index: Index, queries: Vectors, *, k: int = 20, exclude: Ragged | None = None
) -> dict[str, float]:
    """Compare an index with exact search over the same vectors.

    Args:
        index: what is judged.
        queries: unit vectors ``(q, dim)`` of those who will ask, q at least 1: the users', not
            the items', since users lie elsewhere.
        k: how many neighbours count.
        exclude: per query, items that are not to be returned (what a user has seen already): it
            pushes the k wanted items further away.

    Returns:
        ``k``; ``queries``, how many; ``recall``, the share of exact search's top k that is found;
        ``inspected``, the share of the items that is looked at; both averaged over queries.
    """
    exact = exact_top_k(index.vectors, queries, k, exclude=exclude)
    found = index.query(queries, k, exclude=exclude)
    wanted = exact.items >= 0
    rows = np.arange(len(queries))[:, None] * len(index)  # one number for query and item
    hits = np.isin((rows + exact.items)[wanted], (rows + found.items)[found.items >= 0])
    return {
        "k": k,
        "queries": len(queries),
        "recall": float(hits.mean()),
        "inspected": float(index.inspected(queries).mean() / len(index)),
    }
