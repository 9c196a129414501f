"""The whole way with users' attributes and ratings, and what strangers are recommended."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.config import Config
from recsys.config_file import to_toml
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.files import read_json
from recsys.recommenders.recommender import Recommender
from recsys.stages.command import CONFIG_FILE
from recsys.stages.pipeline import perform_stages
from recsys.stages.run import Run
from recsys.towers.saved import load_towers

N_USERS, EACH = 24, 8
STAGES = ("prepare", "embed", "train", "index", "baselines", "evaluate", "recommend")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Even users are writers and take even items, odd ones are nurses and take odd items."""
    folder = tmp_path_factory.mktemp("people")
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), EACH)
    items = np.concatenate([random.permutation(12)[:EACH] for _ in range(N_USERS)]) * 2 + users % 2
    stars = random.integers(1, 6, len(users))
    log = {"user_id": users + 100, "item_id": items + 500, "stars": stars}
    pd.DataFrame(log | {"time": np.arange(len(users))}).to_csv(folder / "log.csv", index=False)
    job = np.where(np.arange(N_USERS) % 2, "nurse", "writer")
    people = {"user_id": np.arange(N_USERS) + 100, "job": job, "age": 20 + np.arange(N_USERS)}
    pd.DataFrame(people).to_csv(folder / "people.csv", index=False)
    config = Config.model_validate(
        {
            "data": {
                "interactions": folder / "log.csv",
                "time": "time",
                "weight": "stars",
                "users": folder / "people.csv",
            },
            "users": {
                "job": {"columns": ["job"], "encoder": "categories"},
                "age": {"columns": ["age"], "encoder": "numbers"},
            },
            "towers": {"dim": 8},
            "training": {
                "epochs": 15,
                "score_every": 15,
                "batch_size": 8,
                "learning_rate": 0.03,
                "prefixes": "all",
                "rating_weight": 0.5,
                "device": "cpu",
            },
            "index": {"kind": "exact"},
            "evaluation": {"baselines": ["popularity"], "tune_baselines": False},
            "tracking": {"kind": "none"},
        }
    )
    out = folder / "runs" / "people"
    out.mkdir(parents=True)
    (out / CONFIG_FILE).write_text(to_toml(config), encoding="utf-8")
    made = Run(config, out, (0,))
    perform_stages(made, STAGES, tell=lambda _: None)
    return made


def test_a_stranger_is_recommended_what_their_kind_takes(run: Run) -> None:
    recommender = Recommender.load(run.out)
    for job, kind in (("writer", 0), ("nurse", 1)):
        found = recommender.recommend(attributes={"job": job}, k=5)
        assert (found["item_id"] % 2 == kind).mean() >= 0.8
        assert found["user_id"].isna().all()
        both = recommender.recommend(attributes={"job": job}, history=[500 + kind], k=5)
        assert 500 + kind not in both["item_id"].tolist()


def test_what_is_said_of_a_stranger_must_mean_something(run: Run) -> None:
    recommender = Recommender.load(run.out)
    with pytest.raises(ConfigError, match="jobb, but the towers read: job, age"):
        recommender.recommend(attributes={"jobb": "writer"})
    with pytest.raises(DataError, match=r"none of the 0 items .*astronaut.* is known"):
        recommender.recommend(attributes={"job": "astronaut"})
    with pytest.raises(ConfigError, match="not both"):
        recommender.recommend([100], attributes={"job": "writer"})


def test_the_report_says_how_far_ratings_are_off(run: Run) -> None:
    ratings = read_json(run.folder("report") / "metrics.json")["ratings"]
    assert set(ratings["rmse"]) == {"two-tower", "mean", "biases"}
    assert ratings["rmse"]["two-tower"] == ratings["per_seed"]["0"]
    assert all(0.5 < error < 3 for error in ratings["rmse"].values())  # stars are drawn at random
    stars = Recommender.load(run.out).predict([100, 101], [500, 501])["rating"]
    assert ((stars > 0) & (stars < 6)).all()


def test_towers_are_not_served_without_the_attributes_they_know(run: Run) -> None:
    with pytest.raises(ArtifactError, match="attributes of widths"):
        load_towers(run.folder("towers"), ())


def test_another_column_makes_the_stages_do_their_work_again(run: Run, tmp_path: Path) -> None:
    tables = dict(run.config.users)
    del tables["age"]
    changed = Run(run.config.model_copy(update={"users": tables}), run.out, run.seeds)
    told: list[str] = []
    with pytest.raises(ArtifactError, match="content"):
        perform_stages(changed, ("index",), tell=lambda record: told.append(record.name))
