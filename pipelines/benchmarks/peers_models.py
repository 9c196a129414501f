"""The peers of `peers.py`: other libraries' models behind our `Baseline`, so that ours tunes them.

Each is told of the rows that it learns from and a seed, and becomes a `Ranker`. Users and items go
in and out by our numbers. Libraries are imported when they are asked for.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import ContentBlock
from recsys.data.interactions import Interactions
from recsys.recommenders.baselines import BASELINES, Baseline
from recsys.recommenders.dense import DenseRanker
from recsys.recommenders.ranker import Abilities, Queries, Ranker

__all__ = ["PEERS", "SLOW", "peers_for"]

SLOW = ("rectools-sasrec",)  # minutes a fit: its defaults, no search, fewer seeds
SEEN = ("poster", "text")  # the content that VBPR sees: the first of these that a run has
PEERS = ("rectools-sasrec", "cornac-bpr", "cornac-vbpr", "implicit-als", "implicit-bpr")


def peers_for(blocks: Sequence[ContentBlock]) -> dict[str, Baseline]:
    """All peers by name, with the settings that are tried on validation, the defaults first.

    Args:
        blocks: content of the items; VBPR takes its item features from it.
    """
    by_name = {block.name: block for block in blocks}
    seen = next((by_name[name] for name in SEEN if name in by_name), None)

    def vbpr(rows: Interactions, seed: int, **settings: Any) -> Ranker:
        if seen is None:
            raise ValueError(f"VBPR needs one of the contents {SEEN}, the run has {list(by_name)}")
        return fit_vbpr(rows, seed, seen, **settings)

    bpr_grid = (
        {"dim": 10, "epochs": 100, "learning_rate": 0.001},
        {"dim": 32, "epochs": 50, "learning_rate": 0.02},
        {"dim": 32, "epochs": 100, "learning_rate": 0.02},
        {"dim": 64, "epochs": 50, "learning_rate": 0.05},
    )
    vbpr_grid = (
        {"dim": 10, "content_dim": 10, "epochs": 50, "learning_rate": 0.005},
        {"dim": 10, "content_dim": 10, "epochs": 20, "learning_rate": 0.005},
        {"dim": 32, "content_dim": 32, "epochs": 20, "learning_rate": 0.005},
    )
    found = (
        Baseline("rectools-sasrec", fit_sasrec, seeded=True),
        Baseline("cornac-bpr", fit_cornac_bpr, bpr_grid, seeded=True),
        Baseline("cornac-vbpr", vbpr, vbpr_grid, seeded=True),
        Baseline("implicit-als", BASELINES["als"].make, BASELINES["als"].grid, seeded=True),
        Baseline("implicit-bpr", BASELINES["bpr"].make, BASELINES["bpr"].grid, seeded=True),
    )
    return {peer.name: peer for peer in found}


def fit_sasrec(rows: Interactions, seed: int, *, epochs: int = 30) -> Ranker:
    """RecTools' SASRec as in ``peer.py``: 64 wide, 2 blocks, softmax over all items."""
    from peer import Shape, peer

    return peer(rows, Shape(), seed=seed).fit(epochs)


def fit_cornac_bpr(
    rows: Interactions, seed: int, *, dim: int, epochs: int, learning_rate: float
) -> Ranker:
    """Cornac's BPR: stochastic steps in Cython, one thread, as a seed asks for."""
    from cornac.models import BPR

    model = BPR(k=dim, max_iter=epochs, learning_rate=learning_rate, seed=seed)
    model.fit(_cornac_data(rows, seed))
    return _by_vectors("cornac-bpr", model, rows)


def fit_vbpr(
    rows: Interactions,
    seed: int,
    seen: ContentBlock,
    *,
    dim: int,
    content_dim: int,
    epochs: int,
    learning_rate: float,
) -> Ranker:
    """Cornac's VBPR (He & McAuley, 2016) with our vectors of the items, 0 where there is none."""
    from cornac.data import ImageModality
    from cornac.models import VBPR

    data = _cornac_data(rows, seed)
    features = np.where(seen.present[:, None], seen.vectors, 0).astype(np.float32)
    data.add_modalities(item_image=ImageModality(features=features))
    model = VBPR(
        k=dim,
        k2=content_dim,
        n_epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        verbose=False,
    )
    model.fit(data)
    return _by_vectors("cornac-vbpr", model, rows)


def _cornac_data(rows: Interactions, seed: int) -> Any:
    """The rows as Cornac's data set, whose numbers of users and items are ours."""
    from cornac.data import Dataset

    ratings = np.ones(len(rows))
    return Dataset(
        rows.n_users,
        rows.n_items,
        OrderedDict((n, n) for n in range(rows.n_users)),
        OrderedDict((n, n) for n in range(rows.n_items)),
        (rows.users.astype(np.int64), rows.items.astype(np.int64), ratings),
        seed=seed,
    )


def _by_vectors(name: str, model: Any, rows: Interactions) -> Ranker:
    """Rank by the inner products of a Cornac model's vectors, which are its scores."""
    scorer = _Products(model.get_user_vectors(), model.get_item_vectors())
    return DenseRanker(name, Abilities(False, False), scorer, rows.item_counts())


@dataclass(frozen=True, eq=False)
class _Products:
    users: NDArray[np.float64]  # (n_users, d)
    items: NDArray[np.float64]  # (n_items, d)

    def scores(self, queries: Queries) -> NDArray[np.float32]:
        """Return the inner products, shape ``(b, n_items)``."""
        products: NDArray[np.float64] = self.users[queries.users] @ self.items.T
        return products.astype(np.float32)
