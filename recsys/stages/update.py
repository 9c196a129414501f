"""What an update takes from an earlier run: its towers, what they learnt from, what they read."""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys.content.saved import load_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.errors import ArtifactError, ConfigError
from recsys.files import digest_json
from recsys.stages.run import Run
from recsys.stages.stage import read_record
from recsys.towers.grow import Blocks
from recsys.towers.saved import load_tails, load_towers
from recsys.towers.two_tower import TwoTower
from recsys.updating import Learnt, WarmStart

__all__ = ["load_start", "start_files", "update_facts"]

logger = logging.getLogger(__name__)

DRAWN = ("random", "cold-items", "cold-users")  # a grown log draws other rows: old ones would test


def start_files(run: Run, seed: int) -> tuple[Path, ...]:
    """The folders of the earlier run that an update reads; none where nothing is updated.

    Towers are those of the same seed if it has such, else its first.

    Raises:
        ConfigError: the run would start from itself, or its split is drawn anew for a grown log.
    """
    start = run.config.update.start
    if start is None:
        return ()
    if start == run.out:
        raise ConfigError(f"update: {start} cannot start from itself; choose another --out")
    if run.config.split.protocol in DRAWN:
        raise ConfigError(
            f'update: protocol = "{run.config.split.protocol}" draws other rows when the log '
            'grows, so that towers would be tested by what they know; use "user-time", say'
        )
    own = start / "seeds" / str(seed) / "towers"
    return (own if own.is_dir() else start / "towers", start / "data", start / "content")


def load_start(run: Run, seed: int, dataset: Dataset, blocks: Blocks) -> WarmStart | None:
    """Read where an update begins; None where towers are trained afresh.

    Raises:
        ArtifactError: the earlier run is not finished, or its folders do not belong together.
    """
    files = start_files(run, seed)
    if not files:
        return None
    towers, data, content = files
    record = read_record(towers)
    for name, folder in (("0 data", data), ("1 content", content)):
        if record["inputs"][name] != digest_json(read_record(folder)["outputs"]):
            raise ArtifactError(f"{towers}: was not trained with {folder}; run its stages again")
    old_blocks = Blocks(load_blocks(content), load_user_blocks(content))
    before = Dataset.load(data)
    rows = Split.load(data, before).learnable(refit=record["settings"]["refit"])
    learnt = Learnt(
        load_towers(towers, *old_blocks),
        old_blocks,
        rows,
        before.user_ids,
        before.item_ids,
        load_tails(towers),
    )
    replay = run.config.update.replay
    return WarmStart.of(learnt, dataset.user_ids, dataset.item_ids, blocks, replay)


def update_facts(run: Run, start: WarmStart, towers: TwoTower, split: Split) -> dict[str, Any]:
    """Where updated towers come from, what was new, and what changed for the others."""
    rows = split.learnable(refit=run.config.split.refit)
    seen = int((~start.is_new(split.test)).sum())
    if seen:  # a row of an old pair may come again at a later time
        logger.warning(
            "%d of %d rows of the test part were learnt from before: figures are too good by them",
            seen,
            len(split.test),
        )
    drift = asdict(start.drift(towers, rows))
    return {
        "start": str(run.config.update.start),
        "new_rows": int(start.is_new(rows).sum()),
        "new_users": int((start.growth.users < 0).sum()),
        "new_items": int((start.growth.items < 0).sum()),
        "test_rows_learnt_before": seen,
        "drift": {name: None if math.isnan(value) else value for name, value in drift.items()},
    }
