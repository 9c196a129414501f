"""recommend: towers and index -> DIR/recommendations, everybody's top k."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recsys.batch.generate import write_parts
from recsys.batch.job import Job
from recsys.batch.journal import Written
from recsys.batch.places import Folder, open_place
from recsys.batch.search import Choice, with_search
from recsys.cluster import spread
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import UserAttributes, load_user_blocks
from recsys.data.stored_log import StoredLog, dataset_without_log
from recsys.device import pick_device
from recsys.files import JOURNAL, digest_json, read_json, write_json
from recsys.index.index import load_index
from recsys.recommenders.recommender import Recommender
from recsys.recommenders.two_tower import TwoTowerRanker
from recsys.stages.embed import embed_stage
from recsys.stages.index import index_stage
from recsys.stages.prepare import load_data, prepare_stage
from recsys.stages.run import Run
from recsys.stages.stage import Stage
from recsys.stages.train import train_stage
from recsys.stages.wishes import read_exclusions, read_ids
from recsys.towers.saved import load_towers
from recsys.tracking import NoTracker

__all__ = ["load_job", "load_recommender", "recommend_stage"]

SENT = "sent"  # a folder for each place elsewhere, with
ELSEWHERE = "parts.json"  # what lies there


def recommend_stage(run: Run) -> Stage:
    """Write the top k of everybody, or of the users that were asked for."""
    config, wishes = run.config.recommend, run.wishes

    def work(folder: Path) -> dict[str, Any]:
        place = Folder(folder) if wishes.to is None else open_place(wishes.to)
        device = pick_device(run.config.training.device)
        elsewhere = _OnRay(run, wishes.to or str(folder), device.type == "cuda")
        report = write_parts(
            load_job(run),
            place,
            folder / JOURNAL,
            search=config.search,
            device=device,
            spread=elsewhere if run.engine == "ray" else None,
            ours=_parts_before(run),
        )
        if wishes.to is not None:
            write_json(folder / ELSEWHERE, {"to": wishes.to, "sizes": place.sizes()})
        # Seconds are in stage.json already; facts must be the same when the work is.
        return {name: value for name, value in vars(report).items() if name != "seconds"}

    return Stage(
        name="recommend",
        folder=_folder(run),
        settings={
            "recommend": config.model_dump(mode="json"),
            "wishes": {name: str(wish) for name, wish in vars(wishes).items() if wish},
        },
        reads=(
            prepare_stage(run),
            embed_stage(run),
            train_stage(run, run.seeds[0]),
            index_stage(run, run.seeds[0]),
        ),
        files=wishes.files,
        work=work,
        resumes=True,
        is_there=lambda: _parts_are_there(run),
    )


@dataclass(frozen=True)
class _OnRay:
    """Has parts written by workers that load the models once."""

    run: Run
    to: str
    gpu: bool

    def __call__(self, parts: Sequence[int], choice: Choice) -> Iterator[Written]:
        run = replace(self.run, tracker=NoTracker())
        load = _LoadWriter(run, self.to, choice.search)
        for written in spread(load, parts, gpus=float(self.gpu)):
            yield Written(**written)


@dataclass(frozen=True)
class _LoadWriter:
    """Is sent to a worker and loads there; the run's folder is where it is here."""

    run: Run
    to: str
    search: Literal["index", "exact"]

    def __call__(self) -> Callable[[int], dict[str, Any]]:
        device = pick_device(self.run.config.training.device)
        job = with_search(load_job(self.run), self.search, device)
        place = open_place(self.to)
        return lambda part: asdict(job.write(part, place))


def load_job(run: Run) -> Job:
    """Load what recommends, and read what is asked; histories stay on the disk where they can."""
    config, wishes = run.config.recommend, run.wishes
    user_names = ("user_id", run.config.data.user)
    item_names = ("item_id", run.config.data.item)
    # Rules ask for users' attributes, re-ranking for the whole log: both are in memory then.
    streamed = not config.rules and not config.rerank.active
    recommender = load_recommender(run, log=not streamed)
    user_ids, item_ids = recommender.user_ids, recommender.item_ids
    nobody, blocked = read_exclusions(
        wishes.exclude, user_ids, item_ids, user_names=user_names, item_names=item_names
    )
    allowed, users = None, np.arange(len(user_ids), dtype=np.int32)
    if wishes.candidates is not None:
        allowed = read_ids(wishes.candidates, item_ids, *item_names)
    if wishes.users is not None:
        users = user_ids.numbers(read_ids(wishes.users, user_ids, *user_names))
    return Job(
        recommender,
        users,
        config.k,
        blocked=blocked,
        candidates=recommender.allowed(exclude=nobody, candidates=allowed, where=wishes.where),
        log=StoredLog.open(run.folder("data"), which=_history(run)) if streamed else None,
        file_format=config.format,
        part_users=config.part_users,
        batch_size=config.batch_size,
    )


def _folder(run: Run) -> Path:
    """The parts; or, beside them, a record of those that were sent to one place elsewhere."""
    if run.wishes.to is None:
        return run.folder("recommendations")
    return run.out / SENT / digest_json(run.wishes.to)[:12]


def _parts_before(run: Run) -> dict[str, int]:
    """The parts and their sizes that an earlier call has written to the same place elsewhere."""
    path = _folder(run) / ELSEWHERE
    told = read_json(path) if run.wishes.to is not None and path.is_file() else {}
    return dict(told.get("sizes", {})) if told.get("to") == run.wishes.to else {}


def _parts_are_there(run: Run) -> bool:
    """Whether parts that were sent elsewhere lie there still, and no others."""
    return run.wishes.to is None or open_place(run.wishes.to).sizes() == _parts_before(run)


def _history(run: Run) -> Literal["all", "train", "refit"]:
    """Which rows count as seen and feed the user tower."""
    if run.config.recommend.history == "all":
        return "all"
    return "refit" if run.config.split.refit else "train"


def load_recommender(run: Run, *, log: bool = True) -> Recommender:
    """Load what is served; histories are the whole log, or what was learnt from.

    Args:
        run: whose folders are read.
        log: whether to read the histories; without them nobody has taken anything.
    """
    content = run.folder("content")
    if log:
        dataset, split = load_data(run)
        known = dataset.log
        if run.config.recommend.history == "train":
            known = split.learnable(refit=run.config.split.refit)
    else:
        dataset = dataset_without_log(run.folder("data"))
        known = dataset.log
    blocks, people = load_blocks(content), load_user_blocks(content)
    towers = load_towers(run.folder("towers"), blocks, people, dim=run.config.index.dim)
    index = load_index(run.folder("index"), ids_digest=dataset.item_ids.digest)
    attributes = UserAttributes.load(content)
    return Recommender.of(
        TwoTowerRanker(towers, index),
        dataset,
        known,
        attributes=attributes,
        config=run.config.recommend,
    )
