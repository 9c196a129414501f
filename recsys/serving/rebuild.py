"""A bundle with its changes -> the same bundle built afresh: what was beside it is within it.

It is a process of its own beside whoever serves, who takes the new bundle over when it has taken
the old one's place. Numbers of items stay what they were, so that what is changed meanwhile can be
kept: it goes into the new bundle's changes at the end.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recsys.config import Config
from recsys.content.encoder import ContentBlock
from recsys.content.saved import load_blocks, save_blocks, vectors_file
from recsys.data.dataset import Dataset
from recsys.errors import ArtifactError
from recsys.files import atomic_folder, locked, write_json
from recsys.index.index import Index, build_index, check_recall
from recsys.index.live import LiveIndex
from recsys.recommenders.changed import live_index_of, two_towers_of
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import CARD, ENCODERS, Bundle
from recsys.serving.changes import Changes, ItemRows, write_changes
from recsys.serving.described import describe_files, digest_of
from recsys.serving.search import LEARNT
from recsys.stages.command import CONFIG_FILE
from recsys.stages.embed import FITTED_ITEMS
from recsys.stages.index import ASKED
from recsys.towers.others import towers_for
from recsys.towers.saved import save_towers
from recsys.towers.two_tower import TwoTower

__all__ = ["rebuild"]


def rebuild(folder: Path) -> Bundle:
    """Build a bundle afresh with all changes of its items, and put it in the old one's place.

    Removed items stay in the histories and are never answered. A kill at any moment leaves the old
    bundle or the new one. A bundle without added or changed items is returned as it is.

    Raises:
        ArtifactError: the bundle is broken, its towers cannot be told of new items, or another
            process replaced it meanwhile.
        ConfigError: the new index finds less than the config asks for.
    """
    folder = Path(folder).resolve()
    bundle = Bundle.load(folder)
    changes = bundle.changes
    if changes is None or not len(changes.rows.numbers):
        return bundle
    with ExitStack() as until_swapped, atomic_folder(folder) as partial:
        base = Recommender.load(folder)
        now = changes.on(base)
        for name in (ENCODERS, "report", "content"):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, partial / name)
        shutil.copyfile(folder / CONFIG_FILE, partial / CONFIG_FILE)
        _write_data(folder, partial, now)
        blocks = _write_content(folder, partial, changes.rows, len(now.item_ids))
        towers = _write_towers(partial, base, blocks)
        index = _build_index(bundle.config, now, towers)
        index.save(partial / "index")
        _write_card(bundle, partial, len(now.item_ids))
        until_swapped.enter_context(locked(folder))
        _keep_later_changes(bundle, changes, partial)
        made = Bundle.load(partial).recommender()
        made.recommend(made.user_ids.values[:1], k=1)  # a bundle that does not answer is none
    return Bundle.load(folder)


def _write_data(folder: Path, partial: Path, now: Recommender) -> None:
    dataset = Dataset.load(folder / "data")
    n = len(now.item_ids)
    rows = np.full(n, -1, dtype=np.int64)  # what was added is in no row of the run's catalogue
    rows[: len(dataset.item_ids)] = dataset.catalogue_rows
    replace(
        dataset, item_ids=now.item_ids, log=now.known, items=now.items, catalogue_rows=rows
    ).save(partial / "data")


def _write_content(folder: Path, partial: Path, rows: ItemRows, n: int) -> tuple[ContentBlock, ...]:
    """Content blocks of all n items, mapped from where they are written."""
    content = partial / "content"
    grown = []
    for block, changed in zip(load_blocks(folder / "content"), rows.blocks, strict=True):
        path = vectors_file(content, block.name)
        path.unlink()
        vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, block.dim))
        vectors[: len(block.present)] = block.vectors
        vectors[rows.numbers] = changed.vectors
        present = np.zeros(n, dtype=np.bool_)
        present[: len(block.present)] = block.present
        present[rows.numbers] = changed.present
        grown.append(ContentBlock(block.name, vectors, present))
    save_blocks(grown, content)
    fitted = np.load(content / FITTED_ITEMS, allow_pickle=False)
    padded = np.append(fitted, np.zeros(n - len(fitted), dtype=np.bool_))
    np.save(content / FITTED_ITEMS, padded, allow_pickle=False)
    _keep_what_was_learnt_from(folder, partial)
    return load_blocks(content)


def _keep_what_was_learnt_from(folder: Path, partial: Path) -> None:
    """Encoders that learn must learn the same again, whatever has become of the items since."""
    kept = partial / LEARNT
    if kept.is_dir():  # of an earlier rebuild
        return
    kept.mkdir(parents=True)
    for name in ("data/dataset.json", "data/items.parquet", f"content/{FITTED_ITEMS}"):
        shutil.copyfile(folder / name, kept / Path(name).name)


def _write_towers(partial: Path, base: Recommender, blocks: Sequence[ContentBlock]) -> TwoTower:
    (partial / "towers").mkdir()
    before = np.arange(len(base.item_ids))
    added = np.full(len(blocks[0].present) - len(before), -1)
    towers = towers_for(two_towers_of(base).towers, np.concatenate([before, added]), blocks)
    save_towers(towers, partial / "towers")
    return towers


def _build_index(config: Config, now: Recommender, towers: TwoTower) -> Index:
    """An index of the vectors as they are now, which looks as far as users ask."""
    users = np.unique(now.known.users)
    asked = np.random.default_rng(0).permutation(users)[:ASKED]
    histories = now.histories.take(asked)
    index = build_index(
        live_index_of(now).vectors,
        config.index,
        ids_digest=now.item_ids.digest,
        askers=towers.user_vectors(asked, histories),
        exclude=histories,
    )
    check_recall(index, config.index)
    return index


def _write_card(bundle: Bundle, partial: Path, n_items: int) -> None:
    """The figures are those of the towers, which are the same."""
    files = describe_files(partial)
    card = bundle.card.model_copy(
        update={
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": files,
            "digest": digest_of(files),
            "counts": bundle.card.counts | {"items": n_items},
        }
    )
    write_json(partial / CARD, card.model_dump(mode="json"))


def _keep_later_changes(bundle: Bundle, built: Changes, partial: Path) -> None:
    """Write what the new bundle lacks: what was removed, and what was changed meanwhile.

    Raises:
        ArtifactError: the old bundle is not there any more.
    """
    latest = Bundle.load(bundle.folder)
    if latest.card.digest != bundle.card.digest or latest.changes is None:
        raise ArtifactError(f"{bundle.folder}: was replaced meanwhile; nothing was changed")
    rows = latest.changes.rows
    old = Recommender.load(bundle.folder)
    now = live_index_of(latest.changes.on(old))
    later = rows.take(rows.generations > built.card.generation)
    if not len(later.numbers) and not len(now.removed):
        return
    base = Recommender.load(partial)
    ids = base.item_ids.with_more(later.item_ids[later.numbers >= len(base.item_ids)].tolist())
    live = LiveIndex.over(two_towers_of(base).index)
    live = live.put(later.numbers, now.take(later.numbers), ids_digest=ids.digest)
    live = live.without(now.removed)
    digest = Bundle.load(partial).card.digest
    write_changes(partial, digest, latest.changes.card.generation + 1, live, later)
