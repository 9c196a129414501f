"""embed: the catalogue's content -> DIR/content, one block of vectors a ``[content.NAME]``.

Users' attributes go beside it, into DIR/content/users, one block a ``[users.NAME]``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.cluster import spread
from recsys.content.assemble import BlockReport, Catalogue, content_blocks, encoder_of
from recsys.content.encoder import MISSING
from recsys.content.saved import save_blocks
from recsys.content.store import Spread, VectorStore
from recsys.content.user_attributes import UserAttributes, save_users
from recsys.data.arrow import read_parquet, write_parquet
from recsys.device import pick_device
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage, read_record
from recsys.tracking import NoTracker

__all__ = [
    "ABSENT",
    "FITTED_ITEMS",
    "FITTED_USERS",
    "catalogue_of",
    "embed_stage",
    "print_stats",
    "vector_store",
]

ABSENT = "absent.parquet"  # items without vectors: content, item_id, reason, and what was read
FITTED_ITEMS, FITTED_USERS = "fitted_items.npy", "fitted_users.npy"  # whom encoders may know
SHOWN = 20  # of them on the terminal


def embed_stage(run: Run) -> Stage:
    """Encode what no earlier run encoded: the store of vectors is shared by neighbouring runs."""
    content, users = run.config.content, run.config.users
    device = run.config.training.device

    def work(folder: Path) -> dict[str, Any]:
        catalogue = catalogue_of(run)
        store = vector_store(run)
        blocks, reports = content_blocks(
            catalogue,
            content,
            store,
            device=str(pick_device(device)),
            out=folder,
            spread=partial(_on_ray, run) if run.engine == "ray" else None,
        )
        save_blocks(blocks, folder)
        np.save(folder / FITTED_ITEMS, catalogue.training, allow_pickle=False)
        _embed_users(run, folder)
        write_parquet(folder / ABSENT, _absent(run, catalogue, reports))
        return {"blocks": [report.summary for report in reports]}

    files = [
        Path(path)
        for block in content.values()
        for path in (block.vectors, block.ids)
        if path is not None and path not in ("items", "row")
    ]
    return Stage(
        name="embed",
        folder=run.folder("content"),
        settings={
            name: block.model_dump(mode="json", exclude={"workers", "finetune"})
            for name, block in content.items()
        }
        | {f"users.{name}": table.model_dump(mode="json") for name, table in users.items()},
        reads=(prepare_stage(run),),
        files=tuple(files),
        work=work,
        # Only encoders know whether weights or files changed; with the store it is a moment's work.
        always=any(block.encoder is not None for block in content.values()),
    )


def _on_ray(run: Run, name: str) -> Spread:
    """Have the chunks of a ``[content.NAME]`` encoded by workers that load its encoder once."""
    gpus = 1.0 if pick_device(run.config.training.device).type == "cuda" else 0.0

    def encode(chunks: Sequence[NDArray[np.intp]]) -> Iterator[dict[str, str]]:
        load = _LoadEncoder(replace(run, tracker=NoTracker()), name, chunks)
        # With as many threads as here the last bits are the same: some models need that.
        return spread(load, range(len(chunks)), threads=torch.get_num_threads(), gpus=gpus)

    return encode


@dataclass(frozen=True)
class _LoadEncoder:
    """Is sent to a worker and loads there; the store and the files are where they are here."""

    run: Run
    name: str
    chunks: Sequence[NDArray[np.intp]]

    def __call__(self) -> Callable[[int], dict[str, str]]:
        run, store = self.run, vector_store(self.run)
        config = run.config.content[self.name]
        device = str(pick_device(run.config.training.device))
        encoder, contents = encoder_of(self.name, config, catalogue_of(run), store, device)

        def encode(task: int) -> dict[str, str]:
            chunk = [contents[row] for row in self.chunks[task]]
            return store.encode_chunk(encoder, chunk, config.precision)

        return encode


def _embed_users(run: Run, folder: Path) -> None:
    """Fit the encoders of users' attributes on the training users, and encode everybody."""
    if run.config.users:
        dataset, split = load_data(run)
        attributes = UserAttributes.fit(run.config.users, dataset.users, split.trained_users)
        save_users(attributes, attributes.blocks(dataset.users), folder)
        np.save(folder / FITTED_USERS, split.trained_users, allow_pickle=False)


def vector_store(run: Run) -> VectorStore:
    """The store that neighbouring runs share."""
    return VectorStore(run.vectors or run.out.parent / "vectors")


def catalogue_of(run: Run) -> Catalogue:
    """The items of a prepared run, and where their files lie."""
    dataset, split = load_data(run)
    data = run.config.data
    folder = run.folder("data") if data.path is None else data.path
    return Catalogue(
        dataset.items,
        dataset.item_ids,
        dataset.catalogue_rows,
        training=split.trained_items,
        folder=folder if data.items is None else data.items.parent,
    )


def print_stats(run: Run, console: Console, shown: int = SHOWN) -> None:
    """Say what became of each content, and list the first of what could not be read."""
    folder = run.folder("content")
    console.print(_stats_table(read_record(folder)["facts"]["blocks"]))
    absent = read_parquet(folder / ABSENT)
    broken = absent.filter(pc.not_equal(absent["reason"], MISSING))
    for row in broken.slice(0, shown).to_pylist():
        line = f"{row['content']}: item {row['item_id']}: {row['reason']} ({row['read']})"
        console.print(escape(line), soft_wrap=True)
    if len(broken) > shown:
        console.print(f"and {len(broken) - shown:,} more: {folder / ABSENT}", soft_wrap=True)


def _stats_table(blocks: Sequence[dict[str, Any]]) -> Table:
    """One row a content: how many items were encoded now, and how many came out of the store."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("content", "encoder"):
        table.add_column(heading, overflow="fold")
    for heading in ("width", "encoded", "stored", "missing", "broken", "items/s"):
        table.add_column(heading, justify="right")
    for block in blocks:
        speed = (block["encoded"] + block["cached"]) / max(block["seconds"], 1e-9)
        counts = [block[key] for key in ("dim", "encoded", "cached", "missing", "unreadable")]
        numbers = [f"{count:,}" for count in (*counts, round(speed))]
        table.add_row(block["name"], block["encoder"].partition("@")[0], *numbers)
    return table


def _absent(run: Run, catalogue: Catalogue, reports: Sequence[BlockReport]) -> pa.Table:
    """The items without vectors, with the reason."""
    rows = []
    for report in reports:
        columns = list(run.config.content[report.name].columns)
        item_ids = catalogue.item_ids.ids(np.array(list(report.reasons), dtype=np.int64))
        cells_of = catalogue.items[columns].iloc[list(report.reasons)].itertuples(index=False)
        for item_id, why, cells in zip(item_ids, report.reasons.values(), cells_of, strict=True):
            read = "; ".join(str(cell)[:80] for cell in cells)
            rows.append((report.name, str(item_id), why, read))
    names = ("content", "item_id", "reason", "read")
    listed = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: pa.array(c, pa.string()) for name, c in zip(names, listed, strict=True)})
