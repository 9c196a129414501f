"""recommend: towers and index -> DIR/recommendations, everybody's top k."""

from pathlib import Path
from typing import Any

from recsys.batch.generate import generate
from recsys.content.saved import load_blocks
from recsys.content.user_attributes import UserAttributes, load_user_blocks
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

__all__ = ["load_recommender", "recommend_stage"]


def recommend_stage(run: Run) -> Stage:
    """Write the top k of everybody, or of the users that were asked for."""
    config, wishes = run.config.recommend, run.wishes
    user_names = ("user_id", run.config.data.user)
    item_names = ("item_id", run.config.data.item)

    def work(folder: Path) -> dict[str, Any]:
        recommender = load_recommender(run)
        nobody, blocked = read_exclusions(
            wishes.exclude,
            recommender.user_ids,
            recommender.item_ids,
            user_names=user_names,
            item_names=item_names,
        )
        allowed, users = None, None
        if wishes.candidates is not None:
            allowed = read_ids(wishes.candidates, recommender.item_ids, *item_names)
        if wishes.users is not None:
            users = read_ids(wishes.users, recommender.user_ids, *user_names)
        report = generate(
            recommender,
            folder,
            k=config.k,
            users=None if users is None else recommender.user_ids.numbers(users),
            blocked=blocked,
            candidates=recommender.allowed(exclude=nobody, candidates=allowed, where=wishes.where),
            file_format=config.format,
            part_users=config.part_users,
            batch_size=config.batch_size,
        )
        # Seconds are in stage.json already; facts must be the same when the work is.
        return {name: value for name, value in vars(report).items() if name != "seconds"}

    return Stage(
        name="recommend",
        folder=run.folder("recommendations"),
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
    )


def load_recommender(run: Run) -> Recommender:
    """Load what is served; histories are the whole log, or what was learnt from."""
    dataset, split = load_data(run)
    content = run.folder("content")
    towers = load_towers(run.folder("towers"), load_blocks(content), load_user_blocks(content))
    index = load_index(run.folder("index"), ids_digest=dataset.item_ids.digest)
    known = dataset.log
    if run.config.recommend.history == "train":
        known = split.learnable(refit=run.config.split.refit)
    attributes = UserAttributes.load(content)
    return Recommender.of(
        TwoTowerRanker(towers, index),
        dataset,
        known,
        attributes=attributes,
        config=run.config.recommend,
    )
