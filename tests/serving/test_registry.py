"""MLflow: a bundle goes in and answers out of it; champions come by the gate and go by rollback."""

import gc
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_bundles import bundle_of, copy_of, describe_again, finished_run
from typer.testing import CliRunner

from recsys.cli import app
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.serving import gate, server
from recsys.serving.answers import answer_rows
from recsys.serving.bundle import RANKING, Bundle
from recsys.serving.gate import judge_bundles, judge_bundles_on
from recsys.serving.messages import Recommend
from recsys.serving.registry import CHAMPION, DIGEST, Registry, mlflow_store
from recsys.serving.served import Service
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
    champion = Bundle.load(registry.bundle_folder("4", Path()))
    assert champion.card.digest == bundles["good"].card.digest
    forced = registry.promote(bundles["poor"], anyway=True)  # registered before, not sent again
    assert forced.promoted and forced.version == registry.champion() == "2"
    assert registry.rollback() == ("4", "2")
    assert registry.rollback() == ("1", "4")
    assert registry.champion() == "1"
    with pytest.raises(ArtifactError, match="has had no champion before"):
        registry.rollback()


class Died(Exception):
    """The process is gone."""


class Store:
    """As much of MLflow's client as champions need, in memory; it dies after so many writes."""

    def __init__(self, writes: int = 1_000) -> None:
        self.tags: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.writes = writes

    def search_registered_models(self, asked: str) -> list[str]:
        return [asked]

    def get_registered_model(self, name: str) -> "Store":
        del name
        return self

    def set_registered_model_tag(self, name: str, tag: str, value: str) -> None:
        self._die_or(self.tags, tag, value, name)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self._die_or(self.aliases, alias, version, name)

    def _die_or(self, into: dict[str, str], key: str, value: str, name: str) -> None:
        assert name == "recsys"
        if not self.writes:
            raise Died
        self.writes -= 1
        into[key] = value


@pytest.mark.parametrize("writes", range(5))  # that are done before it dies
@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_a_death_between_two_writes_loses_no_champion(
    what: str, writes: int, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(uri)
    registry._client = store = Store()
    monkeypatch.setattr(Registry, "register", lambda _, version: version)
    monkeypatch.setattr(Registry, "_judge", lambda *_: (True, ""))
    past = ["1", "2", "1", "3"]
    promote: Callable[..., Any] = registry.promote  # no bundle is looked into
    for version in past:
        promote(version)
    store.writes = writes
    with suppress(Died):
        promote("2") if what == "promote" else registry.rollback()
    store.writes = 1_000
    if what == "promote" and writes >= 2:
        past.append("2")
    if what == "rollback" and writes >= 2:
        past.pop()
    assert registry.champion() == past[-1]
    if writes % 2:  # another one comes and goes
        assert promote("7").promoted and registry.rollback() == (past[-1], "7")
    for before in reversed(past[:-1]):  # all the way back, as if nothing had happened
        assert registry.rollback()[0] == before == registry.champion()
    with pytest.raises(ArtifactError, match="has had no champion before"):
        registry.rollback()


def test_a_champion_made_by_hand_can_be_undone(
    bundles: dict[str, Bundle], uri: str, quick: None
) -> None:
    registry = Registry(uri)
    registry.promote(bundles["good"])
    version = registry.register(bundles["poor"])
    registry._client.set_registered_model_alias("recsys", CHAMPION, version)
    assert registry.rollback() == ("1", version)


def test_only_promotion_makes_a_champion(bundles: dict[str, Bundle], uri: str, quick: None) -> None:
    registry = Registry(uri)
    with pytest.raises(ConfigError, match="recsys promote"):
        registry.register(bundles["poor"], CHAMPION)
    assert registry.champion() is None
    assert registry.register(bundles["poor"], "staging") == registry.version_of("staging")


def test_what_was_fetched_goes_when_another_is_served(
    bundles: dict[str, Bundle],
    uri: str,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("mlflow.utils.uri.is_local_uri", lambda _: False)  # as of a server
    registry = Registry(uri)
    registry.promote(bundles["poor"])
    source = source_of("models:/recsys@champion", uri)
    service = Service(source, source.taken)
    first = service.current.bundle.folder
    assert first.is_relative_to(scratch) and not service.refresh()
    registry.promote(bundles["good"])
    assert first.exists() and len(list(scratch.iterdir())) == 1
    assert service.refresh()
    second = service.current.bundle.folder
    assert not first.exists() and second.exists() and len(list(scratch.iterdir())) == 1
    assert service.current.recommend(Recommend.model_validate({"user_id": "u3"}))["items"]
    registry.rollback()
    assert service.refresh() and not second.exists()
    del service, source
    gc.collect()
    assert not list(scratch.iterdir())  # tied to who serves, and to the process


def test_serving_follows_the_champion(bundles: dict[str, Bundle], uri: str, quick: None) -> None:
    registry = Registry(uri)
    with pytest.raises(ArtifactError):
        source_of("models:/recsys@champion", uri)()
    registry.promote(bundles["poor"])
    find = source_of("models:/recsys@champion", uri)
    assert Bundle.load(find()).card.digest == bundles["poor"].card.digest
    registry.promote(bundles["good"])
    assert Bundle.load(find()).card.digest == bundles["good"].card.digest


def test_a_store_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="--registry"):
        Registry(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def mlflow_words() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if re.match("MLFLOW_.*_URI", name)}


def test_mlflow_loads_it_from_code_and_answers(uri: str) -> None:
    import mlflow

    before = mlflow_words()
    version = Registry(uri).register(Bundle.load(bundle_of()))
    assert mlflow_words() == before  # which processes that are started later would believe
    with mlflow_store(uri):
        assert set(mlflow_words().values()) == {uri}
        model = mlflow.pyfunc.load_model(f"models:/recsys/{version}")
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/recsys/{version}"))
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


def test_the_commands_look_into_one_store(
    bundles: dict[str, Bundle],
    uri: str,
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in README, without --registry; the bundles lie elsewhere."""
    (tmp_path / "runs").mkdir()
    shutil.copyfile(uri.removeprefix("sqlite:///"), tmp_path / "runs" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    served: list[str] = []
    monkeypatch.setattr(server, "serve", lambda source, **_: served.append(source().parts[-3]))
    good, poor = bundles["good"].folder, bundles["poor"].folder
    for words, expected in (
        (["register", poor, "--alias", "staging"], "version 1"),
        (["promote", poor], "version 1 "),
        (["promote", good], "version 2 "),
        (["serve", "models:/recsys@champion"], ""),
        (["rollback"], "version 1 is the champion again"),
        (["serve", "models:/recsys@champion"], ""),
    ):
        found = CliRunner().invoke(app, list(map(str, words)))
        assert found.exit_code == 0 and expected in found.output, found.output
    assert served == [bundles["good"].card.short, bundles["poor"].card.short]
    found = CliRunner().invoke(app, ["register", str(good), "--alias", "champion"])
    assert isinstance(found.exception, ConfigError)


@pytest.mark.parametrize("k", [2.5, 0, 1_001, float("inf"), "x"])
def test_a_k_that_is_none_is_refused(k: Any) -> None:
    recommender = Bundle.load(bundle_of()).recommender()
    with pytest.raises(DataError, match=rf"k: {k} in row 1, expected a whole number"):
        answer_rows(recommender, pd.DataFrame({"user_id": ["u3", "u4"], "k": [2, k]}))
    rows = pd.DataFrame({"user_id": ["u3", "u4"], "k": [2.0, None]})
    assert answer_rows(recommender, rows)["item_id"].map(len).tolist() == [2, 10]


def test_a_champion_of_an_older_log_is_judged_on_a_run(uri: str, quick: None) -> None:
    new, old = Bundle.load(bundle_of()), Bundle.load(bundle_of(early=True))
    words = ["promote", "--registry", uri]
    assert CliRunner().invoke(app, [*words, str(old.folder)]).exit_code == 0
    found = CliRunner().invoke(app, [*words, str(new.folder)])
    assert found.exit_code == 1 and "of 40 users" in found.output and "--on RUN" in found.output
    found = CliRunner().invoke(app, [*words, str(new.folder), "--on", str(finished_run())])
    judged = judge_bundles_on(new, old, finished_run())
    assert f"{judged.users} of 40 users were asked the same anew on" in found.output
    assert found.exit_code == (0 if judged.better else 1)


def why_no_spark() -> str:
    """Why Spark cannot be asked; it takes minutes and sockets, so it must be asked for."""
    if not os.environ.get("RECSYS_TEST_SPARK"):
        return "set RECSYS_TEST_SPARK=1"
    if importlib.util.find_spec("pyspark") is None:
        return 'pyspark is absent: pip install "recsys[spark]"'
    return "" if shutil.which("java") or os.environ.get("JAVA_HOME") else "Java is absent"


@pytest.mark.timeout(900)  # Spark starts a JVM and a Python that loads all anew
@pytest.mark.skipif(bool(why_no_spark()), reason=f"spark_udf: {why_no_spark()}")
def test_spark_answers_the_same(uri: str, tmp_path: Path) -> None:
    version = Registry(uri).register(Bundle.load(bundle_of()))
    told = subprocess.run(
        [sys.executable, "-c", SPARK, uri, version],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-4_000:]
    known, new = answers_of(bundle_of())
    assert json.loads(told.stdout.splitlines()[-1]) == [known, new, []]
