"""The command line as a newcomer uses it: odd names, semicolons, text ids, kills, wrong words."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.cli import main

SMALL = ["training.epochs=6", "training.score_every=3", "towers.dim=8", "evaluation.ks=[5, 10, 20]"]


@dataclass(frozen=True)
class Told:
    """What a call said."""

    stdout: str
    stderr: str


def call(*words: str | Path, cwd: Path, code: int = 0) -> Told:
    """Run ``recsys`` in this process; the exit code must be as expected."""
    stdout, stderr, exit_code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["recsys", *map(str, words)])
        patch.setenv("COLUMNS", "120")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        try:
            main()
        except SystemExit as leaving:
            exit_code = leaving.code if isinstance(leaving.code, int) else 0
    told = Told(stdout.getvalue(), stderr.getvalue())
    assert exit_code == code, told
    return told


def write_newcomers_files(folder: Path) -> None:
    """A tea shop: semicolons, odd names, text ids, two kinds of customers, some rows broken."""
    draw = np.random.default_rng(0)
    rows = ["kunde;artikel;gekauft_am;sterne"]
    for user in range(40):
        taken = draw.choice(25, size=12, replace=False) * 2 + user % 2
        rows += [
            f"K{user:03d};T-{item};2024-{1 + step:02d}-0{1 + user % 9};{draw.integers(3, 6)}"
            for step, item in enumerate(taken)
        ]
    rows += [";T-1;2024-01-01;5", "K001;T-2;not a day;4", "K002;T-3;2024-01-01;many"]
    (folder / "verkauf.csv").write_text("\n".join(rows) + "\n")
    items = ["artikel;bezeichnung;sorte"]
    sorts = ["black", "green"]
    items += [f"T-{n};Tea number {n} from the hills;{sorts[n % 2]}" for n in range(50)]
    (folder / "artikel.csv").write_text("\n".join(items) + "\n")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the newcomer's files, from ``recsys init`` on."""
    folder = tmp_path_factory.mktemp("shop")
    write_newcomers_files(folder)
    told = call("init", "verkauf.csv", "artikel.csv", "--out", "tea.toml", cwd=folder)
    assert "kunde" in told.stdout
    assert "next: recsys check tea.toml" in told.stdout
    config = (folder / "tea.toml").read_text()
    assert 'user = "kunde"' in config
    assert 'item = "artikel"' in config
    assert 'time = "gekauft_am"' in config
    call("run", "tea.toml", *SMALL, cwd=folder)
    return folder


def recommendations(run: Path) -> pd.DataFrame:
    parts = sorted((run / "recommendations").glob("*.parquet"))
    return pd.concat(map(pd.read_parquet, parts), ignore_index=True)


def test_a_newcomers_files_become_recommendations(shop: Path) -> None:
    run = shop / "runs" / "tea"
    table = recommendations(run)
    assert list(table.columns) == ["user_id", "rank", "item_id", "score"]
    assert table["user_id"].nunique() == 40
    assert (table.groupby("user_id").size() == 10).all()
    log = pd.read_csv(shop / "verkauf.csv", sep=";").iloc[:-3]  # the last three are broken
    seen = table.merge(log, left_on=["user_id", "item_id"], right_on=["kunde", "artikel"])
    assert seen.empty
    rejected = pd.read_parquet(run / "data" / "rejected.parquet")
    assert set(rejected["reason"]) == {"empty user id", "unreadable time"}
    assert {"row", "file", "reason"} <= set(rejected.columns)


def test_the_report_has_the_promised_form(shop: Path) -> None:
    report = json.loads((shop / "runs/tea/report/metrics.json").read_text())
    assert report["schema"] == 1
    assert set(report) >= {"schema", "data", "protocol", "seeds", "models"}
    models = report["models"]
    by_users = ["random", "popularity", "decayed-popularity", "logistic"]
    by_users += ["item-knn", "als", "bpr", "ease"]
    names = ["two-tower", "two-tower-exact", *by_users, "content-cosine", "content-ridge"]
    assert list(models) == names
    for values in models.values():
        wanted = {"ndcg@10", "recall@20", "recall_capped@20", "hr@10", "mrr@10", "map@10"}
        assert wanted | {"coverage@10", "fit_seconds", "per_seed"} <= set(values)
        assert {"lauc@10", "novelty@10", "gini@20", "arp_lift@10", "serendipity@10"} <= set(values)
    data = report["data"]
    assert data["read"] == data["kept"] + sum(data["rejected"].values()) == 483
    assert abs(models["two-tower"]["ndcg@10"] - models["two-tower-exact"]["ndcg@10"]) <= 0.001


def test_what_the_index_finds_and_costs(shop: Path) -> None:
    told = call("index", "tea.toml", *SMALL, "--compare", cwd=shop)
    run = shop / "runs" / "tea"
    for kind in ("annoy (stored)", "hnsw", "exact"):
        assert kind in told.stdout
    assert (run / "index_costs.png").stat().st_size > 10_000
    costs = json.loads((run / "index_costs.json").read_text())
    stored = [cost for cost in costs if cost["stored"]]
    card = json.loads((run / "index" / "index.json").read_text())
    assert [cost["effort"] for cost in stored] == [card["calibration"]["chosen"]["effort"]]
    assert len([cost for cost in costs if cost["kind"] == "annoy"]) == len(
        card["calibration"]["curve"]
    )
    assert [(c["recall"], c["inspected"]) for c in costs if c["kind"] == "exact"] == [(1.0, 1.0)]
    assert all(0 < cost["median_ms"] <= cost["p99_ms"] for cost in costs)


def test_the_lists_that_were_measured_give_the_figures(shop: Path) -> None:
    """hr@10 counted anew from report/rankings and report/truth.parquet."""
    report = shop / "runs/tea/report"
    truth = pd.read_parquet(report / "truth.parquet")
    lists = pd.read_parquet(report / "rankings" / "two-tower-seed-0.parquet")
    hits = lists[lists["rank"] <= 10].merge(truth, on=["user_id", "item_id"])
    rate = hits["user_id"].nunique() / truth["user_id"].nunique()
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["models"]["two-tower"]["hr@10"] == pytest.approx(rate, abs=1e-12)


def test_a_second_run_does_nothing_and_a_changed_config_only_what_depends_on_it(shop: Path) -> None:
    again = call("run", "tea.toml", *SMALL, cwd=shop)
    done = [line for line in again.stderr.splitlines() if line.startswith("done")]
    assert len(done) == 7
    # What there is to encode is looked at each time: only its bytes tell whether it changed.
    assert [line for line in done if "unchanged" not in line] == [done[1]] and "embed" in done[1]
    told = call("run", "tea.toml", *SMALL, "index.trees=7", "--dry-run", "--json", cwd=shop)
    stages = {line["stage"]: line["would"] for line in json.loads(told.stdout)}
    assert stages["train"] == "skip"
    assert stages["index"] == stages["recommend"] == stages["evaluate"] == "do"


def test_looking_at_a_run(shop: Path) -> None:
    shown = call("show", "--user", "K007", "-k", "3", cwd=shop).stdout
    assert "K007" in shown
    assert "gets" in shown
    near = call("similar", "--item", "T-4", "--run", "runs/tea", cwd=shop).stdout
    assert "T-4" in near
    why = call("why", "--user", "K007", "--item", "T-4", cwd=shop).stdout
    assert "K007" in why and "id" in why and "knock-out" in why
    told = json.loads(call("why", "--user", "K007", "--item", "T-4", "--json", cwd=shop).stdout)
    assert sum(p["value"] for p in told["item"]["parts"]) == pytest.approx(told["score"], abs=1e-5)
    compared = call("compare", "runs/tea", "runs/tea", cwd=shop).stdout
    assert "two-tower" in compared
    checked = call("check", "tea.toml", cwd=shop).stdout
    assert "483" in checked


def test_recommend_for_some_users_from_some_items(shop: Path) -> None:
    (shop / "users.txt").write_text("kunde\n K003 \nK001\nK003\n", encoding="utf-8-sig")
    (shop / "block.csv").write_text("kunde,artikel\nK003,T-10\n")
    allowed = [f"T-{n}" for n in range(6, 14)]
    (shop / "allowed.csv").write_text("item_id\n" + "\n".join(allowed) + "\n")
    call(
        "recommend", "tea.toml", *SMALL, "--users", "users.txt", "--exclude", "block.csv",
        "--candidates", "allowed.csv", "--format", "csv", cwd=shop,
    )  # fmt: skip
    table = pd.read_csv(shop / "runs/tea/recommendations/part-00000.csv")
    assert table["user_id"].unique().tolist() == ["K003", "K001"]
    assert set(table["item_id"]) <= set(allowed)
    assert "T-10" not in set(table[table["user_id"] == "K003"]["item_id"])
    call("recommend", "tea.toml", *SMALL, cwd=shop)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "none.toml"], 2, "no such file"),
        (["run", "tea.toml", "training.epoch=3"], 2, "did you mean 'epochs'?"),
        (["run", "tea.toml", "--seeds", "a"], 2, "expected numbers such as 0,1,2"),
        (["run"], 2, "Missing argument"),
        (["show", "--user", "nobody"], 1, "unknown user id"),
        (["why", "--user", "nobody", "--item", "T-4"], 1, "unknown user id"),
        (["why", "--user", "K006", "--item", "T-4", "--past", "T-1"], 1, "not in the history of"),
        (["train", "tea.toml", "--out", "runs/none"], 1, "not made yet"),
        (["run", "tea.toml", "data.user=Kunde"], 1, "no user column 'Kunde'"),
        (["run", "tea.toml", *SMALL, 'evaluation.minimum={"ndcg@10" = 2}'], 1, "below the minimum"),
        (["run", "tea.toml", "evaluation.minimum={ndcg = 2}"], 2, "'ndcg' is not measured"),
        (
            ["run", "tea.toml", 'evaluation.baselines=["random"]', "evaluation.reference=als"],
            2,
            "'als' will not be measured",
        ),
        (["evaluate", "tea.toml", *SMALL, "--seeds", "7"], 1, "made with other settings"),
        (["evaluate", "tea.toml", *SMALL, "training.epochs=7"], 1, "made with other settings"),
        (["run", "tea.toml", "seed=-1"], 2, "greater than or equal to 0"),
        (["compare", "nothing"], 1, "holds no report"),
        (["init", "verkauf.csv", "--out", "tea.toml"], 2, "is there already"),
    ],
)
def test_wrong_words_get_one_clear_line(
    shop: Path, words: list[str], code: int, message: str
) -> None:
    told = call(*words, cwd=shop, code=code)
    assert message in " ".join(told.stderr.split())
    assert "Traceback" not in told.stderr


def files_of(run: Path) -> dict[str, bytes]:
    """Every file of a run but those that hold times."""
    folders = ("data", "content", "towers", "index", "recommendations")
    files = [path for name in folders for path in sorted((run / name).rglob("*"))]
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in files
        if path.is_file() and path.name != "stage.json"
    }


def test_killed_at_random_moments_it_ends_with_the_same_files(shop: Path, tmp_path: Path) -> None:
    words = ["run", "tea.toml", *SMALL, "tracking.kind=none", "--out", str(tmp_path / "killed")]
    command = [sys.executable, "-m", "recsys", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    moments = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(
            command, cwd=shop, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(2, 8))
        process.send_signal(signal.SIGKILL)
        process.wait()
    call(*words, cwd=shop)
    assert files_of(tmp_path / "killed") == files_of(shop / "runs" / "tea")


def test_a_dead_mlflow_server_does_not_lose_the_run(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = call(
        "run", "tea.toml", *SMALL, f"tracking.uri=sqlite:///{shop}/tea.toml/x.db", "--out", out,
        cwd=shop,
    )  # fmt: skip
    assert "this run goes on without it" in " ".join(told.stderr.split())
    assert (out / "report" / "metrics.json").is_file()
