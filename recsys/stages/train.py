"""train: DIR/data and DIR/content -> DIR/towers, the trained towers and the record of training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.config import TrainingConfig
from recsys.content.encoder import ContentBlock
from recsys.content.saved import load_blocks
from recsys.content.tune import tunable_blocks
from recsys.content.user_attributes import load_user_blocks
from recsys.data.splits import Split
from recsys.device import pick_device
from recsys.epochs import Phase
from recsys.files import digest_json, remove_folder
from recsys.fitting import Fitted, fit_towers
from recsys.stages.embed import catalogue_of, embed_stage, vector_store
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage, inputs_of
from recsys.stages.teacher import load_teachers, teacher_files
from recsys.stages.update import load_start, start_files, update_facts
from recsys.towers.grow import Blocks
from recsys.towers.saved import save_towers
from recsys.training.loop import EpochReport
from recsys.updating import WarmStart, schedule

__all__ = ["HISTORY", "item_blocks", "train_stage"]

CHANGE_NOTHING = {"checkpoint_seconds", "prefetch"}  # of what is learnt
HISTORY = "history.jsonl"  # one line an epoch


def train_stage(run: Run, seed: int) -> Stage:
    """Train or update the towers with one seed; a checkpoint beside the folder survives a kill."""
    config = run.config
    updates = config.update.start is not None
    training = schedule(config.training, config.update) if updates else config.training

    def fitted() -> tuple[Fitted, WarmStart | None, Split]:
        dataset, split = load_data(run)
        content = run.folder("content")
        blocks = Blocks(item_blocks(run, content), load_user_blocks(content))
        start = load_start(run, seed, dataset, blocks)
        found = fit_towers(
            split,
            blocks.items,
            config.towers,
            training,
            seed=seed,
            refit=config.split.refit,
            checkpoint=_checkpoint_folder(run, seed, stage),
            checkpoint_seconds=training.checkpoint_seconds,
            on_epoch=_Told(run, seed),
            user_blocks=blocks.users,
            start=start,
            newcomers=config.newcomers,
            workers=run.workers,
            teachers=load_teachers(run, seed),
        )
        return found, start, split

    def join() -> None:
        fitted()

    def work(folder: Path) -> dict[str, Any]:
        found, start, split = fitted()
        save_towers(found.towers, folder)
        lines = [json.dumps(record) for record in found.history]
        (folder / HISTORY).write_text("\n".join(lines) + "\n", encoding="utf-8")
        checkpoint = _checkpoint_folder(run, seed, stage)
        names = (f".*{checkpoint.name.lstrip('.')}*", "diverged", "diverged-[0-9]*")
        for leftover in (folder for name in names for folder in checkpoint.parent.glob(name)):
            remove_folder(leftover)  # a step that was not finite is of an earlier training
        best = found.scores.get(found.epochs)
        facts: dict[str, Any] = {"seed": seed, "epochs": found.epochs}
        facts["validation_ndcg@10"] = best
        if config.training.teacher is not None:
            facts["teacher"] = str(config.training.teacher)
        if start is None:
            return facts
        return facts | {"update": update_facts(run, start, found.towers, split)}

    stage = Stage(
        name=run.label("train", seed),
        folder=run.folder("towers", seed),
        settings=_settings(run, training, seed),
        reads=(prepare_stage(run), embed_stage(run)),
        files=(*start_files(run, seed), *teacher_files(run, seed)),
        work=work,
        join=join,
    )
    return stage


def _settings(run: Run, training: TrainingConfig, seed: int) -> dict[str, Any]:
    """What the towers depend on beside the files that are read, those of teachers among them."""
    config, left_out = run.config, {"teacher", "teacher_refit", *CHANGE_NOTHING}
    settings: dict[str, Any] = {
        "towers": config.towers.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=left_out),
        "newcomers": config.newcomers.model_dump(mode="json"),
        "refit": config.split.refit,
        "seed": seed,
    }
    if config.update.start is not None:
        settings["replay"] = config.update.replay
    if tuned := _finetune(run):
        settings["finetune"] = tuned
    return settings


def _finetune(run: Run) -> dict[str, Any]:
    """How the encoders learn that do."""
    tables = {name: table.finetune for name, table in run.config.content.items()}
    return {name: table.model_dump(mode="json") for name, table in tables.items() if table.layers}


def item_blocks(run: Run, content: Path) -> Sequence[ContentBlock]:
    """The content of the items, ready for the encoders that learn."""
    blocks = load_blocks(content)
    if not _finetune(run):
        return blocks
    device = str(pick_device(run.config.training.device))
    return tunable_blocks(blocks, run.config.content, catalogue_of(run), vector_store(run), device)


class _Told:
    """Tells the tracker of every epoch."""

    def __init__(self, run: Run, seed: int) -> None:
        self.tracker, self.workers = run.tracker, run.workers
        self.seed = seed

    def __call__(self, phase: Phase, report: EpochReport, score: float | None) -> None:
        metrics = {"loss": report.loss, "temperature": report.temperature}
        if score is not None:
            metrics["validation_ndcg@10"] = score
        if not self.workers.is_first:
            return
        named = {f"{phase}/{name}/seed-{self.seed}": value for name, value in metrics.items()}
        self.tracker.log(named, step=report.epoch)


def _checkpoint_folder(run: Run, seed: int, stage: Stage) -> Path:
    """A name that belongs to these settings and inputs: no other training resumes from it."""
    key = digest_json([dict(stage.settings), inputs_of(stage)])[:16]
    parent = run.folder("towers", seed).parent
    mine = parent / f".checkpoint-{key}"
    if not run.workers.is_first:
        return mine
    for folder in parent.glob(".*checkpoint-*"):  # and what atomic_folder set aside
        if mine.name not in folder.name:
            remove_folder(folder)  # left behind by a training with other settings
    return mine
