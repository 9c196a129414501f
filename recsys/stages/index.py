"""index: DIR/towers -> DIR/index, the item vectors in the index that recommendations come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.config import IndexConfig
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.ragged import Ragged
from recsys.index.approximate import ApproximateIndex
from recsys.index.index import Index, build_index, check_recall
from recsys.index.packed import farthest
from recsys.index.recall import recall_against_exact
from recsys.index.vectors import Vectors
from recsys.stages.embed import embed_stage
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage
from recsys.stages.train import train_stage
from recsys.towers.saved import load_towers

__all__ = ["Asking", "index_stage"]

ASKED = 1_000  # users whose answers are compared with exact search: half of them when it is built,
ENOUGH = 100  # the others then; all of them twice where they are fewer than this


@dataclass(frozen=True, eq=False)
class Asking:
    """Users that an index is calibrated and measured with.

    Attributes:
        vectors: of the items, ``(n_items, dim)``.
        ids_digest: of the items.
        askers: unit vectors ``(q, dim)`` of users.
        histories: what they have, q rows.
        choosing: numbers of those who choose how far to look.
        measuring: numbers of the others, or of all where they are few.
    """

    vectors: Vectors
    ids_digest: str
    askers: Vectors
    histories: Ragged
    choosing: NDArray[np.int64]
    measuring: NDArray[np.int64]

    @classmethod
    def of(cls, run: Run, seed: int) -> Self:
        """Draw them from those whom the towers learnt from."""
        dataset, split = load_data(run)
        content = run.folder("content")
        blocks, user_blocks = load_blocks(content), load_user_blocks(content)
        towers = load_towers(
            run.folder("towers", seed), blocks, user_blocks, dim=run.config.index.dim
        )
        learnt = split.learnable(refit=run.config.split.refit)
        asked = np.random.default_rng(0).permutation(np.unique(learnt.users))[:ASKED]
        histories = learnt.histories().take(asked)
        half = len(asked) // 2 if len(asked) >= ENOUGH else len(asked)
        return cls(
            vectors=towers.item_vectors(),
            ids_digest=dataset.item_ids.digest,
            askers=towers.user_vectors(asked, histories),
            histories=histories,
            choosing=np.arange(half),
            measuring=np.arange(half if half < len(asked) else 0, len(asked)),
        )

    def build(self, config: IndexConfig) -> Index:
        """Build an index, calibrated with those who choose."""
        return build_index(
            self.vectors,
            config,
            ids_digest=self.ids_digest,
            askers=self.askers[self.choosing],
            exclude=self.histories.take(self.choosing),
        )


def index_stage(run: Run, seed: int) -> Stage:
    """Build the index and measure it against exact search with the users' own vectors."""

    def work(folder: Path) -> dict[str, Any]:
        asking, config = Asking.of(run, seed), run.config.index
        index = asking.build(config)
        check_recall(index, config)
        index.save(folder)
        rest = asking.measuring
        measured = recall_against_exact(
            index, asking.askers[rest], k=config.recall_k, exclude=asking.histories.take(rest)
        )
        return {"seed": seed, **measured, **_stored(index, asking.vectors), **_chosen(index)}

    return Stage(
        name=run.label("index", seed),
        folder=run.folder("index", seed),
        settings={"index": run.config.index.model_dump(mode="json")},
        reads=(prepare_stage(run), embed_stage(run), train_stage(run, seed)),
        files=(),
        work=work,
    )


def _stored(index: Index, vectors: Vectors) -> dict[str, Any]:
    """How vectors ``(n_items, dim)`` are stored, and how far any of them is from what is read."""
    if index.config.vectors == "float32":
        return {}
    return {"vectors": index.config.vectors, "farthest": farthest(index.vectors, vectors)}


def _chosen(index: Index) -> dict[str, Any]:
    if not isinstance(index, ApproximateIndex):
        return {}
    found = index.calibration
    if index.config.kind == "hnsw":
        return {"effort": found.chosen.effort}
    space = "angles" if not found.distance else f"principal axes, asked from {found.distance:g}"
    return {"effort": found.chosen.effort, "trees": found.trees, "space": space}
