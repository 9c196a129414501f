"""index: DIR/towers -> DIR/index, the item vectors in the index that recommendations come from."""

from pathlib import Path
from typing import Any

import numpy as np

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.index.approximate import ApproximateIndex
from recsys.index.index import Index, build_index, check_recall
from recsys.index.recall import recall_against_exact
from recsys.stages.embed import embed_stage
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage
from recsys.stages.train import train_stage
from recsys.towers.saved import load_towers

__all__ = ["index_stage"]

ASKED = 1_000  # users whose answers are compared with exact search: half of them when it is built,
ENOUGH = 100  # the others then; all of them twice where they are fewer than this


def index_stage(run: Run, seed: int) -> Stage:
    """Build the index and measure it against exact search with the users' own vectors."""

    def work(folder: Path) -> dict[str, Any]:
        dataset, split = load_data(run)
        content = run.folder("content")
        blocks, user_blocks = load_blocks(content), load_user_blocks(content)
        towers = load_towers(run.folder("towers", seed), blocks, user_blocks)
        learnt = split.learnable(refit=run.config.split.refit)
        everybody = np.unique(learnt.users)
        asked = np.random.default_rng(0).permutation(everybody)[:ASKED]
        histories = learnt.histories().take(asked)
        askers = towers.user_vectors(asked, histories)
        half = len(asked) // 2 if len(asked) >= ENOUGH else len(asked)
        config = run.config.index
        index = build_index(
            towers.item_vectors(),
            config,
            ids_digest=dataset.item_ids.digest,
            askers=askers[:half],
            exclude=histories.take(np.arange(half)),
        )
        check_recall(index, config)
        index.save(folder)
        rest = np.arange(half if half < len(asked) else 0, len(asked))
        measured = recall_against_exact(
            index, askers[rest], k=config.recall_k, exclude=histories.take(rest)
        )
        return {"seed": seed, **measured, **_chosen(index)}

    return Stage(
        name=run.label("index", seed),
        folder=run.folder("index", seed),
        settings={"index": run.config.index.model_dump(mode="json")},
        reads=(prepare_stage(run), embed_stage(run), train_stage(run, seed)),
        files=(),
        work=work,
    )


def _chosen(index: Index) -> dict[str, Any]:
    if not isinstance(index, ApproximateIndex):
        return {}
    found = index.calibration
    space = "angles" if not found.distance else f"principal axes, asked from {found.distance:g}"
    return {"effort": found.chosen.effort, "trees": found.trees, "space": space}
