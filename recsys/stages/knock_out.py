"""Does a content help because of what it says? Real, shuffled, constant and absent, one by one.

The towers are trained anew with one content, or attribute of the users, at a time made useless and
all others as they are. A gain that stays when the vectors are shuffled among the items is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from rich import box
from rich.table import Table

from recsys.content.encoder import ContentBlock
from recsys.content.user_attributes import load_user_blocks
from recsys.errors import ConfigError, DataError
from recsys.evaluation.certainty import certainty
from recsys.evaluation.evaluate import evaluate_ranker
from recsys.files import write_json
from recsys.fitting import fit_towers
from recsys.index.exact import ExactIndex
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.embed import embed_stage
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Record, Stage, perform
from recsys.stages.teacher import load_teachers, teacher_files
from recsys.stages.train import item_blocks, train_stage

__all__ = ["FOLDER", "Way", "knock_out", "knock_out_markdown", "knock_out_table", "knocked_out"]

FOLDER, PER_USER = "knock-out", "per_user.npy"
REAL, NONE = "all real", "no content"
USERS = "users."  # before the name of a [users.NAME] table

Way = Literal["shuffled", "constant", "absent"]
Row = dict[str, Any]


class Variant(NamedTuple):
    """What the towers are trained with.

    Attributes:
        label: in the table.
        content: the content that is made useless; empty: none, or all of them if ``absent``.
        way: how; None: it is not.
    """

    label: str
    content: str
    way: Way | None


def knock_out(
    run: Run,
    *,
    only: Sequence[str] = (),
    force: bool = False,
    tell: Callable[[Record], None],
) -> list[Row]:
    """Train and judge every variant with every seed, as far as that is not done.

    Args:
        run: whose config is trained; its variants are kept in DIR/knock-out.
        only: contents (NAME) and attributes (``users.NAME``) to knock out; empty: all.
        force: do what is done, too.
        tell: told of every stage.

    Returns:
        A row a variant, ``"all real"`` first: ``variant``, ``metric``, ``mean``, ``low`` and
        ``high`` over seeds, and but for the first ``difference`` to all real with the ends of its
        paired interval ``from`` and ``to`` and a ``verdict``: "better", "worse", "same",
        "cannot tell".

    Raises:
        ConfigError: there is no content, or not one of that name.
        DataError: nobody can be asked.
    """
    start = run.config.update.model_copy(update={"start": None})
    run = replace(run, config=run.config.model_copy(update={"update": start}))
    perform_stages(run, ("prepare", "embed"), tell=tell)
    measured: dict[str, dict[int, dict[str, Any]]] = {}
    metric = run.config.evaluation.headline
    for variant in _variants(run, only):
        for seed in run.seeds:
            stage = _stage(run, variant, seed)
            tell(perform(stage, force=force))
            values = np.load(stage.folder / PER_USER, allow_pickle=False)
            measured.setdefault(variant.label, {})[seed] = {metric: values}
    against = certainty(measured, [metric])[metric].against(REAL)
    rows = []
    for label, per_seed in measured.items():
        means = [float(values[metric].mean()) for values in per_seed.values()]
        row: Row = {"variant": label, "metric": metric, "mean": float(np.mean(means))}
        row |= {"low": min(means), "high": max(means)}
        if label != REAL:
            found = against[label]
            names = ("difference", "from", "to")
            row |= dict(zip(names, map(float, found.difference), strict=True))
            row["verdict"] = found.verdict()
        rows.append(row)
    write_json(run.out / FOLDER / "table.json", rows)
    (run.out / FOLDER / "table.md").write_text(knock_out_markdown(rows), encoding="utf-8")
    return rows


def knocked_out(block: ContentBlock, way: Way, seed: int) -> ContentBlock:
    """The block with nothing left of what it says; who has it, stays as it was unless ``absent``.

    Args:
        block: of all items, or users.
        way: ``"shuffled"`` among those who have it, ``"constant"``: the same for all of them, or
            ``"absent"``.
        seed: of the shuffling.
    """
    if way == "absent":
        return ContentBlock(block.name, np.zeros_like(block.vectors), np.zeros_like(block.present))
    have = np.flatnonzero(block.present)
    vectors = np.array(block.vectors)
    vectors[have] = vectors[np.random.default_rng(seed).permutation(have)]
    if way == "constant":
        vectors[have] = vectors[have[:1]]
    return ContentBlock(block.name, vectors, block.present)


def knock_out_table(rows: Sequence[Row]) -> Table:
    """The table for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(_headings(rows)):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for cells in _cells(rows):
        table.add_row(*cells)
    return table


def knock_out_markdown(rows: Sequence[Row]) -> str:
    """The table in markdown."""
    headings = _headings(rows)
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *_cells(rows))]
    lines.insert(1, "|---" + "|---:" * (len(headings) - 1) + "|")
    return "\n".join(lines) + "\n"


def _headings(rows: Sequence[Row]) -> tuple[str, ...]:
    return ("content", rows[0]["metric"], "seeds", "change", "difference, 95 %", "verdict")


def _cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        mean, low, high = (f"{row[key]:.4f}".removeprefix("0") for key in ("mean", "low", "high"))
        cells = (row["variant"], mean, f"{low}-{high}" if low < high else "")
        if "verdict" not in row:
            yield (*cells, "", "", "")
            continue
        share = row["difference"] / max(rows[0]["mean"], 1e-12)
        ends = f"{row['from']:+.4f} to {row['to']:+.4f}"
        yield (*cells, f"{share:+.1%}", ends, row["verdict"])


def _variants(run: Run, only: Sequence[str]) -> Iterator[Variant]:
    """All real, every content in every way, and none of the items' content."""
    contents = [*run.config.content, *(USERS + name for name in run.config.users)]
    if not contents:
        raise ConfigError("knock-out: there is no [content.NAME] or [users.NAME] to knock out")
    if unknown := [name for name in only if name not in contents]:
        raise ConfigError(f"knock-out: no content {unknown[0]!r}; known: {', '.join(contents)}")
    yield Variant(REAL, "", None)
    for name in only or contents:
        for way in get_args(Way):
            yield Variant(f"{name} {way}", name, way)
    if len(run.config.content) > 1 and not only:
        yield Variant(NONE, "", "absent")


def _stage(run: Run, variant: Variant, seed: int) -> Stage:
    config = run.config

    def work(folder: Path) -> dict[str, Any]:
        _, split = load_data(run)
        task = split.task("test", candidates=config.evaluation.candidates)
        if not len(task.users):
            raise DataError(f"knock-out: nobody can be asked, dropped: {task.dropped}")
        fitted = fit_towers(
            split,
            _blocks(item_blocks(run, run.folder("content")), "", variant, seed),
            config.towers,
            config.training,
            seed=seed,
            refit=config.split.refit,
            user_blocks=_blocks(load_user_blocks(run.folder("content")), USERS, variant, seed),
            newcomers=config.newcomers,
            teachers=load_teachers(run, seed),
        )
        ranker = TwoTowerRanker(fitted.towers, ExactIndex.build(fitted.towers.item_vectors()))
        metric = run.config.evaluation.headline
        found = evaluate_ranker(ranker, task, ks=config.evaluation.ks)
        np.save(folder / PER_USER, found.per_user[metric], allow_pickle=False)
        return {"seed": seed, "epochs": fitted.epochs, metric: found.means[metric]}

    return Stage(
        name=f"knock-out {variant.label} (seed {seed})",
        folder=run.out / FOLDER / variant.label.replace(" ", "-") / f"seed-{seed}",
        settings={
            **train_stage(run, seed).settings,
            "variant": list(variant),
            "candidates": config.evaluation.candidates,
            "ks": list(config.evaluation.ks),
        },
        reads=(prepare_stage(run), embed_stage(run)),
        files=teacher_files(run, seed),
        work=work,
    )


def _blocks(
    blocks: Sequence[ContentBlock], prefix: str, variant: Variant, seed: int
) -> list[ContentBlock]:
    """The blocks as the variant has them, without those that nobody has any more."""
    if variant.way is None:
        return list(blocks)
    if variant.label == NONE:
        return list(blocks) if prefix else []
    made = [
        knocked_out(block, variant.way, seed) if prefix + block.name == variant.content else block
        for block in blocks
    ]
    return [block for block in made if block.present.any()]
