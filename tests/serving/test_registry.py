"""MLflow: a bundle goes in and answers out of it; champions come by the gate and go by rollback."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_bundles import bundle_of, copy_of, describe_again
from typer.testing import CliRunner

from recsys.cli import app
from recsys.errors import ArtifactError, DataError
from recsys.serving import gate
from recsys.serving.bundle import RANKING, Bundle
from recsys.serving.gate import judge_bundles
from recsys.serving.registry import CHAMPION, DIGEST, Registry
from recsys.serving.server import source_of
from recsys.stages.evaluate import TRUTH

ROWS = pd.DataFrame(
    {
        "user_id": ["u3", None, "nobody", "u5"],
        "history": [None, ["100", "102"], None, None],
        "k": [3, 2, 4, 1],
    }
)


SPARK = """
import json, os, sys
import mlflow
from pyspark.sql import SparkSession

os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
mlflow.set_tracking_uri(sys.argv[1])
settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1"}
spark = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
answer = mlflow.pyfunc.spark_udf(
    spark, "models:/recsys/" + sys.argv[2], env_manager="local",
    result_type="item_id array<string>, score array<double>",
)
asked = spark.createDataFrame(
    [("u3", None, 3), (None, ["100", "102"], 2), ("nobody", None, 4)],
    "user_id string, history array<string>, k long",
)
rows = asked.select(answer("user_id", "history", "k").alias("found")).collect()
print(json.dumps([list(row.found.item_id) for row in rows]))
"""


def judged(to: Path, hits: float) -> Bundle:
    """A bundle of the same towers that was measured to find what is right for a share of users."""
    folder = copy_of(bundle_of(), to)
    truth = pd.read_parquet(folder / "report" / TRUTH)
    users = np.sort(truth["user_id"].unique())
    lucky = set(users[: round(hits * len(users))])
    right = truth[truth["user_id"].isin(lucky)].copy()
    right["rank"] = (right.groupby("user_id").cumcount() + 1).astype(np.int32)
    right.to_parquet(folder / RANKING.format(0), index=False)
    describe_again(folder)
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    shares = {"poor": 0.2, "middling": 0.5, "a little better": 0.525, "good": 0.9}
    return {name: judged(folder / name.replace(" ", "-"), hits) for name, hits in shares.items()}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take it seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Registry(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path) -> str:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Versions whose files lie where a logged model has them, without the seconds of logging."""

    def log(self: Registry, bundle: Bundle) -> str:
        place = tmp_path / "models" / bundle.card.short
        from mlflow import MlflowClient

        copy_of(bundle.folder, place / "artifacts" / "bundle")
        client = MlflowClient(self.uri, self.uri)
        if not client.search_registered_models():
            client.create_registered_model(self.model)
        tags = {DIGEST: bundle.card.digest}
        return str(client.create_model_version(self.model, place.as_uri(), tags=tags).version)

    monkeypatch.setattr(Registry, "_log", log)


def answers_of(bundle: Path) -> tuple[Any, Any]:
    recommender = Bundle.load(bundle).recommender()
    known = recommender.recommend(["u3"], k=3)["item_id"].astype(str).tolist()
    return known, recommender.recommend(history=[100, 102], k=2)["item_id"].astype(str).tolist()


def test_the_gate_judges_both_ways(bundles: dict[str, Bundle]) -> None:
    better = judge_bundles(bundles["good"], bundles["poor"])
    assert better.better and better.pair.difference.low > 0
    assert (better.users, better.of) == (40, 40)
    worse = judge_bundles(bundles["poor"], bundles["good"])
    assert not worse.better and str(worse).startswith("worse: ndcg@10 -0.7")
    unsure = judge_bundles(bundles["a little better"], bundles["middling"])
    assert not unsure.better and unsure.pair.difference.mean > 0
    assert str(unsure).startswith("cannot tell")
    assert not judge_bundles(bundles["good"], bundles["good"]).better


def test_only_users_that_were_asked_the_same_are_compared(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = copy_of(bundles["poor"].folder, tmp_path / "b")
    path = folder / "report" / TRUTH
    truth = pd.read_parquet(path)
    users = truth["user_id"].unique()
    truth = truth[truth["user_id"] != users[0]]  # one is not there, one has an item less
    truth = truth.drop(truth.index[truth["user_id"] == users[1]][0])
    truth.to_parquet(path, index=False)
    describe_again(folder)
    assert judge_bundles(bundles["good"], Bundle.load(folder)).users == 38
    truth["user_id"] += "x"  # other people altogether
    truth.to_parquet(path, index=False)
    lists = pd.read_parquet(folder / RANKING.format(0))
    lists.assign(user_id=lists["user_id"] + "x").to_parquet(folder / RANKING.format(0), index=False)
    describe_again(folder)
    with pytest.raises(DataError, match="0 of 40 users"):
        judge_bundles(bundles["good"], Bundle.load(folder))


def test_few_users_judge_nothing(
    bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge_bundles(bundles["good"], bundles["good"]).users == 40
    monkeypatch.setattr(gate, "ENOUGH", 41)
    with pytest.raises(DataError, match=r"40 of 40 users .* too few to judge by \(expected 41"):
        judge_bundles(bundles["good"], bundles["good"])


def test_promotion_and_rollback(bundles: dict[str, Bundle], uri: str, quick: None) -> None:
    registry = Registry(uri)
    assert registry.champion() is None
    first = registry.promote(bundles["middling"])
    assert first.promoted and registry.champion() == first.version == "1"
    again = registry.promote(bundles["middling"])
    assert (again.version, again.promoted, again.is_champion) == ("1", False, True)
    for name in ("poor", "a little better"):
        refused = registry.promote(bundles[name])
        assert not refused.promoted and "champion, version 1" in refused.why
        assert registry.champion() == "1"
    promoted = registry.promote(bundles["good"])
    assert promoted.promoted and registry.champion() == promoted.version == "4"
    champion = Bundle.load(registry.bundle_folder("4"))
    assert champion.card.digest == bundles["good"].card.digest
    forced = registry.promote(bundles["poor"], anyway=True)  # registered before, not sent again
    assert forced.promoted and forced.version == registry.champion() == "2"
    assert registry.rollback() == ("4", "2")
    assert registry.rollback() == ("1", "4")
    assert registry.champion() == "1"
    with pytest.raises(ArtifactError, match="has had no champion before"):
        registry.rollback()


def test_serving_follows_the_champion(bundles: dict[str, Bundle], uri: str, quick: None) -> None:
    registry = Registry(uri)
    with pytest.raises(ArtifactError):
        source_of("models:/recsys@champion", uri)()
    registry.register(bundles["poor"], CHAMPION)
    find = source_of("models:/recsys@champion", uri)
    assert Bundle.load(find()).card.digest == bundles["poor"].card.digest
    registry.register(bundles["good"], CHAMPION)
    assert Bundle.load(find()).card.digest == bundles["good"].card.digest


def test_a_store_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="--registry"):
        Registry(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_mlflow_loads_it_from_code_and_answers(uri: str) -> None:
    import mlflow

    version = Registry(uri).register(Bundle.load(bundle_of()))
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/recsys/{version}")
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/recsys/{version}"))
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    assert not list(folder.rglob("*.pkl"))
    answer = model.predict(ROWS)
    known, new = answers_of(bundle_of())
    assert answer["item_id"].tolist()[:3] == [known, new, []]
    assert [len(scores) for scores in answer["score"]] == [3, 2, 0, 1]
    assert len(model.predict(pd.DataFrame({"user_id": ["u1"]}))["item_id"][0]) == 10
    example = model.predict(pd.DataFrame(**json.loads((folder / "input_example.json").read_text())))
    assert len(example) == 2 and all(example["item_id"].map(len) == 5)


def test_the_commands(bundles: dict[str, Bundle], uri: str, quick: None) -> None:
    def call(*words: object) -> tuple[int, str]:
        found = CliRunner().invoke(app, [*map(str, words), "--registry", uri])
        return found.exit_code, found.output

    code, text = call("promote", bundles["middling"].folder)
    assert code == 0 and "version 1" in text and "there was no champion" in text
    code, text = call("promote", bundles["poor"].folder)
    assert code == 1 and "is not promoted" in text and "worse: ndcg@10" in text
    code, text = call("promote", bundles["good"].folder)
    assert code == 0 and "is the champion now" in text and "better: ndcg@10" in text
    code, text = call("rollback")
    assert code == 0 and "version 1 is the champion again, instead of 3" in text
    code, text = call("register", bundles["good"].folder, "--alias", "staging")
    assert code == 0 and "version 3" in text and "staging" in text


def why_no_spark() -> str:
    """Why Spark cannot be asked; it takes minutes and sockets, so it must be asked for."""
    if not os.environ.get("RECSYS_TEST_SPARK"):
        return "set RECSYS_TEST_SPARK=1"
    if importlib.util.find_spec("pyspark") is None:
        return 'pyspark is absent: pip install "recsys[spark]"'
    return "" if shutil.which("java") or os.environ.get("JAVA_HOME") else "Java is absent"


@pytest.mark.skipif(bool(why_no_spark()), reason=f"spark_udf: {why_no_spark()}")
def test_spark_answers_the_same(uri: str, tmp_path: Path) -> None:
    version = Registry(uri).register(Bundle.load(bundle_of()))
    told = subprocess.run(
        [sys.executable, "-c", SPARK, uri, version],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    known, new = answers_of(bundle_of())
    assert json.loads(told.stdout.splitlines()[-1]) == [known, new, []]
