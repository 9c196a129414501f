"""probe: the contents' vectors -> DIR/probe, how much they know; beside the way, not on it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recsys.content.columns import labels as read_labels
from recsys.content.encoder import ContentBlock
from recsys.content.saved import load_blocks
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError
from recsys.files import read_json, write_json
from recsys.probing.encoder import Questions
from recsys.probing.labels import Labels
from recsys.probing.map import draw_map, plane
from recsys.probing.pairs import read_pairs
from recsys.probing.probe import probe_content
from recsys.probing.table import probe_markdown
from recsys.probing.words import WordTests, word_test_files
from recsys.progress import track
from recsys.stages.embed import embed_stage
from recsys.stages.pipeline import perform_stages
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.probe_encoders import ask_encoders, nobody_to_ask, pools_words
from recsys.stages.run import Run
from recsys.stages.stage import Record, Stage, perform

__all__ = ["Asked", "Rows", "probe", "probe_stage"]

Rows = Literal["train", "all"]

REPORT, TABLE = "probe.json", "probe.md"


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        label: the catalogue's column that the vectors are asked for; if not given, the first of
            those that ``encoder = "categories"`` reads and that has frequent labels.
        rows: whether the lift is of the training rows, or of all.
        maps: whether to draw ``map-NAME.png``.
        copies: altered copies of each content of text, image or sound to recognise; 0 for none.
        pairs: a file of two texts and a score a line, for the encoders of text.
    """

    label: str | None = None
    rows: Rows = "train"
    maps: bool = False
    copies: int = 0
    pairs: Path | None = None


def probe_stage(run: Run, asked: Asked) -> Stage:
    """Measure every ``[content.NAME]``, and draw a map of each if wanted.

    Args:
        run: the run, of which ``prepare`` and ``embed`` are done.
        asked: what is to be measured.

    Raises:
        ConfigError: the configuration has no content.
        DataError: the file of pairs is none.
    """
    content, seed = run.config.content, run.config.seed
    if not content:
        raise ConfigError("probe: the config has no [content.NAME], so there is nothing to measure")
    of_words = any(map(pools_words, content.values()))
    word_files = word_test_files() if of_words else ()
    questions = Questions(
        copies=asked.copies,
        pairs=read_pairs(asked.pairs) if asked.pairs else (),
        words=WordTests.read(word_files),
    )

    def work(folder: Path) -> dict[str, Any]:
        report = _measure(run, asked, questions, folder)
        if of_words and not word_files:
            report["notes"].append("word tests: they come with gensim, which is not installed.")
        write_json(folder / REPORT, report)
        (folder / TABLE).write_text(probe_markdown(report), encoding="utf-8")
        return {"label": report["label"], "contents": sorted(report["contents"])}

    return Stage(
        name="probe",
        folder=run.folder("probe"),
        settings=asdict(asked) | {"pairs": asked.pairs is not None, "seed": seed},
        reads=(prepare_stage(run), embed_stage(run)),
        files=(*word_files, *([asked.pairs] if asked.pairs else ())),
        work=work,
    )


def probe(
    run: Run, asked: Asked, *, force: bool = False, tell: Callable[[Record], None]
) -> dict[str, Any]:
    """Do the stage, and before it ``prepare`` and ``embed`` where they are not fresh.

    Args:
        run: the run.
        asked: what is to be measured.
        force: measure again even where nothing has changed.
        tell: is given each stage's record.

    Returns:
        What ``probe.json`` holds.

    Raises:
        RecsysError: a stage cannot be done.
    """
    stage = probe_stage(run, asked)
    perform_stages(run, ("prepare", "embed"), tell=tell)
    tell(perform(stage, force=force))
    return dict(read_json(stage.folder / REPORT))


def _measure(run: Run, asked: Asked, questions: Questions, folder: Path) -> dict[str, Any]:
    """The report; maps are drawn into the folder."""
    content, seed = run.config.content, run.config.seed
    dataset, split = load_data(run)
    column, labels = _labels(dataset, (asked.label,) if asked.label else _label_columns(run))
    log = split.train if asked.rows == "train" else dataset.log
    blocks = load_blocks(run.folder("content"))
    answers = ask_encoders(run, blocks, questions)
    contents = {}
    for block in track(blocks, "probe", len(blocks)):
        figures = probe_content(block, log, labels, seed=seed)
        if block.name in answers:
            figures |= answers[block.name].figures
        contents[block.name] = {
            "items": int(block.present.sum()),
            "reads_label": column in content[block.name].columns,
            "figures": {name: figure.as_dict() for name, figure in figures.items()},
        }
        if asked.maps:
            _draw(block, labels, column, folder / f"map-{block.name}.png", seed)
    n_pairs = len(questions.pairs)
    return {
        "label": column,
        "rows": asked.rows,
        "pairs": n_pairs,
        "contents": contents,
        "words": {name: of.words.as_dict() for name, of in answers.items() if of.words},
        "notes": [
            *_notes(column, labels),
            *nobody_to_ask(list(content.values()), copies=asked.copies, pairs=n_pairs),
            *(note for of in answers.values() for note in of.notes),
        ],
    }


def _label_columns(run: Run) -> tuple[str, ...]:
    """The columns that are read as categories."""
    read = [of.columns for of in run.config.content.values() if of.encoder == "categories"]
    return tuple(column for columns in read for column in columns)


def _labels(dataset: Dataset, columns: tuple[str, ...]) -> tuple[str | None, Labels | None]:
    """The first of the columns that has labels which can be asked for, else the first."""
    found = []
    for column in columns:
        if column not in dataset.items.columns:
            has = ", ".join(map(str, dataset.items.columns)) or "none (is there an items = FILE?)"
            raise ConfigError(
                f"--label {column}: the catalogue has no such column; its columns: {has}"
            )
        found.append((column, Labels.of(read_labels(dataset.items[[column]]))))
    return next((of for of in found if _askable(of[1])), found[0] if found else (None, None))


def _askable(labels: Labels) -> bool:
    """Whether any label is frequent enough."""
    return bool(labels.take(np.arange(len(labels.known))).names)


def _notes(column: str | None, labels: Labels | None) -> list[str]:
    if labels is None:
        return ["no label column: --label COLUMN names one for the probes and clusters."]
    if not _askable(labels):
        return [f"{column}: no label has 20 items with it and 20 without, so none was asked for."]
    return []


def _draw(
    block: ContentBlock, labels: Labels | None, column: str | None, path: Path, seed: int
) -> None:
    """The map of a content's items, coloured by their rarest frequent label."""
    items = np.flatnonzero(block.present)
    asked = None if labels is None else labels.take(items)
    laid = plane(np.asarray(block.vectors[items]), seed=seed)
    draw_map(
        laid,
        np.full(len(items), -1) if asked is None else asked.rarest(),
        () if asked is None else asked.names,
        path,
        title=f"{block.name}: {len(items):,} items by {laid.method}",
        legend="" if asked is None or not asked.names else f"rarest of an item's {column}",
        seed=seed,
    )
