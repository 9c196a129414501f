"""embed: the catalogue's content -> DIR/content, one block of vectors a ``[content.NAME]``."""

from pathlib import Path
from typing import Any

from recsys.content.assemble import content_blocks, save_blocks
from recsys.content.store import VectorStore
from recsys.data.dataset import Dataset
from recsys.device import pick_device
from recsys.stages.prepare import prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage

__all__ = ["embed_stage"]


def embed_stage(run: Run) -> Stage:
    """Encode what no earlier run encoded: the store of vectors is shared by neighbouring runs."""
    content = run.config.content
    device = run.config.training.device

    def work(folder: Path) -> dict[str, Any]:
        dataset = Dataset.load(run.folder("data"))
        store = VectorStore(run.out.parent / "vectors")
        blocks, reports = content_blocks(
            dataset.items,
            dataset.item_ids,
            dataset.catalogue_rows,
            content,
            store,
            device=str(pick_device(device)),
        )
        save_blocks(blocks, folder)
        return {"blocks": [vars(report) for report in reports]}

    files = [
        Path(path)
        for block in content.values()
        for path in (block.vectors, block.ids)
        if path is not None and path not in ("items", "row")
    ]
    return Stage(
        name="embed",
        folder=run.folder("content"),
        settings={name: block.model_dump(mode="json") for name, block in content.items()},
        reads=(prepare_stage(run),),
        files=tuple(files),
        work=work,
    )
