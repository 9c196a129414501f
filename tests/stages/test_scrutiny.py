"""What evaluate and compare say of saved lists: verdicts, slices, alarms. Nothing is trained."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from recsys.config import Config
from recsys.content.saved import save_blocks
from recsys.data.dataset import Dataset
from recsys.data.splits import Split
from recsys.data.tasks import Task
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.evaluation.evaluate import Evaluation
from recsys.evaluation.table import Against, Results, comparison_markdown, comparison_table
from recsys.files import read_json, write_json
from recsys.index.topk import TopK
from recsys.stages.baselines import save_ranking
from recsys.stages.compare import compare_runs, comparison
from recsys.stages.embed import FITTED_ITEMS
from recsys.stages.evaluate import METRICS_FILE
from recsys.stages.prepare import cut_log, prepare_stage
from recsys.stages.run import Run
from recsys.stages.scrutiny import Scrutiny, check_training, scrutinise

N_USERS, N_ITEMS = 80, 40


@dataclass(frozen=True)
class Made:
    """A run whose towers find the given share of what is right, beside blind baselines."""

    run: Run
    dataset: Dataset
    split: Split
    task: Task

    def scrutinise(self, results: Results | None = None) -> Scrutiny:
        warned = check_training(self.run, self.dataset, self.split)
        report = self.run.folder("report")
        return scrutinise(
            self.run,
            self.dataset,
            self.split,
            self.task,
            report,
            warned,
            results=results or {},
        )


def make(folder: Path, name: str, share: float, **evaluation: Any) -> Made:
    log = folder / "log.csv"
    if not log.is_file():
        random = np.random.default_rng(0)
        items = np.concatenate([random.permutation(N_ITEMS)[:10] for _ in range(N_USERS)])
        users = np.repeat(np.arange(N_USERS), 10)
        rows = pd.DataFrame({"user_id": users, "item_id": items, "time": np.arange(len(users))})
        rows.to_csv(log, index=False)
        people = {"user_id": range(N_USERS), "side": ["left", "right"] * (N_USERS // 2)}
        pd.DataFrame(people).to_csv(folder / "people.csv", index=False)
    config = Config.model_validate(
        {
            "data": {"interactions": log, "time": "time", "users": folder / "people.csv"},
            "evaluation": evaluation,
        }
    )
    run = Run(config, folder / name, (0, 1))
    dataset = Dataset.from_config(config.data, config.split)
    split = cut_log(dataset, config.split)
    dataset.save(run.folder("data"))
    split.save(run.folder("data"))
    save_blocks((), run.folder("content"))
    task = split.task("test")
    truth = task.truth.histories().take(task.users)
    for place, model, seed, finds in (
        ("report", "two-tower", 0, share),
        ("report", "two-tower", 1, share),
        ("baselines", "popularity", 0, 0.0),
        ("baselines", "ease", 0, 0.0),
    ):
        random = np.random.default_rng(1 + seed)  # the baselines give the same lists
        lists = np.array([random.permutation(N_ITEMS)[:20] for _ in task.users], dtype=np.int32)
        for row in np.flatnonzero(random.random(len(lists)) < finds).tolist():
            right = truth[row]
            rest = lists[row][~np.isin(lists[row], right)]
            lists[row] = np.concatenate([right, rest])[:20]
        scores = np.tile(np.arange(20, 0, -1, dtype=np.float32), (len(lists), 1))
        found = Evaluation(model, task.users, TopK(lists, scores), {}, {}, {}, 0.0)
        run.folder(place).mkdir(exist_ok=True)
        save_ranking(run.folder(place), found, seed, dataset.user_ids, dataset.item_ids)
    ids = dataset.user_ids.ids(task.truth.users), dataset.item_ids.ids(task.truth.items)
    truth_table = pd.DataFrame(dict(zip(("user_id", "item_id"), ids, strict=True)))
    truth_table.to_parquet(run.folder("report") / "truth.parquet", index=False)
    about = {"data": {"digest": "d"}, "protocol": {"candidates": "train"}, "models": {}}
    write_json(run.folder("report") / METRICS_FILE, about)
    return Made(run, dataset, split, task)


def test_verdicts_intervals_and_slices_of_a_run(tmp_path: Path) -> None:
    made = make(tmp_path, "good", 0.6, slices=["users.side"])
    found = made.scrutinise()
    assert found.verdicts == {"popularity": "worse", "ease": "worse"}
    report = found.report
    assert report["certainty"]["reference"] == "two-tower"
    assert set(report["intervals"]) == {"two-tower", "popularity", "ease"}
    tower = report["intervals"]["two-tower"]["ndcg@10"]
    assert tower["low"] < tower["mean"] < tower["high"]
    worse = report["verdicts"]["ease"]["recall@20"]
    assert worse["verdict"] == "worse" and worse["difference"] < worse["high"] < 0
    assert report["leaks"] == []
    slices = read_json(made.run.folder("report") / "slices.json")
    assert {one["value"] for one in slices["slices"] if one["grouping"] == "users.side"} == {
        "left",
        "right",
    }
    (best,) = set(slices["overall"][0]["metrics"]) - {"two-tower"}
    means = {m: report["intervals"][m]["ndcg@10"]["mean"] for m in ("ease", "popularity")}
    assert best == max(means, key=lambda model: means[model])
    assert "users.side" in (made.run.folder("report") / "slices.md").read_text()


def test_any_measured_model_may_be_the_reference(tmp_path: Path) -> None:
    found = make(tmp_path, "run", 0.6, reference="ease").scrutinise()
    assert found.verdicts == {"two-tower": "better", "popularity": "same"}
    with pytest.raises(ConfigError, match=r"evaluation\.reference: 'als' was not measured"):
        make(tmp_path, "other", 0.6, reference="als").scrutinise()


def test_slices_of_no_column_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    made = make(tmp_path, "run", 0.6, slices=["users.shoe"])
    with pytest.raises(ConfigError, match=r"'users\.shoe' is no column; known: users\.side"):
        prepare_stage(made.run).work(tmp_path)


def test_content_fitted_on_test_items_stops_evaluate(tmp_path: Path) -> None:
    made = make(tmp_path, "run", 0.6)
    fitted = np.ones(N_ITEMS, dtype=np.bool_)
    np.save(made.run.folder("content") / FITTED_ITEMS, fitted)
    assert made.split.trained_items.all()
    check_training(made.run, made.dataset, made.split)  # every item is trained on
    parts = np.where(made.split.log.items == 3, 2, made.split.parts).astype(np.int8)
    cold = Split("random", made.split.log, parts, made.split.item_parts)
    with pytest.raises(DataError, match=r"encoders of items fitted .* 1 .item id 3"):
        check_training(made.run, made.dataset, cold)


def test_compare_says_which_run_is_better(tmp_path: Path) -> None:
    good, bad = make(tmp_path, "good", 0.7), make(tmp_path, "bad", 0.2)
    found = compare_runs([bad.run.out, good.run.out, bad.run.out])
    assert "paired" not in found[0]
    tower = found[1]["paired"]["models"]["two-tower"]
    assert tower["verdict"] == "better" and 0 < tower["low"] < tower["difference"]
    assert found[1]["paired"]["users"] == len(good.task.users)
    assert {one["verdict"] for one in found[2]["paired"]["models"].values()} == {"same"}
    assert found[1]["paired"]["models"]["ease"]["verdict"] == "same"  # alike in both runs
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison(found))
    assert re.search(
        r"two-tower +better +\+0\.\d{4} +\+0\.\d{4} to \+0\.\d{4} +0\.\d{4}", capture.get()
    )
    assert f"good against bad by ndcg@10, {len(good.task.users)} users:" in capture.get()
    assert compare_runs([good.run.out, bad.run.out])[1]["paired"]["models"]["two-tower"][
        "verdict"
    ] == ("worse")


def test_a_report_that_its_lists_do_not_bear_out_is_found(tmp_path: Path) -> None:
    good, other = make(tmp_path, "good", 0.7), make(tmp_path, "other", 0.7)
    means = good.scrutinise().report["intervals"]["ease"]
    right = {"ease": {0: {metric: value["mean"] for metric, value in means.items()}}}
    assert good.scrutinise(right).report["leaks"] == []
    right["ease"][0]["recall@20"] += 0.01
    with pytest.raises(DataError, match=r"ease: figures .*seed 0: recall@20 .*its lists give"):
        good.scrutinise(right)
    about = good.run.folder("report") / METRICS_FILE
    wrong = {"ease": {"per_seed": {"0": {"ndcg@10": 0.9}}}}
    write_json(about, read_json(about) | {"models": wrong})
    with pytest.raises(ArtifactError, match=r"good: ease: .*ndcg@10 0\.9000, its lists give"):
        compare_runs([other.run.out, good.run.out])


def test_comparison_is_never_cut(tmp_path: Path) -> None:
    """Long names, many metrics, 80 columns: everything is to be read."""
    names = ("ndcg@10", "recall_capped@20", "hr@10", "mrr@10", "coverage@10")
    values = dict.fromkeys(names, 0.1234)
    runs: list[dict[str, Any]] = [
        {
            "run": f"/far/{name}/a-run-of-a-rather-long-name",
            "digest": name,
            "protocol": {},
            "models": dict.fromkeys(("two-tower-exact", "decayed-popularity"), values),
        }
        for name in ("one", "other")
    ]
    runs[1]["paired"] = {"with": runs[0]["run"], "why_not": "they are " + "of other users " * 9}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison(runs))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert "other/a-run-of" in text and "one/a-run-of" in text and "/far" not in text
    assert text.count(".1234") == 4 * 4 and "capped@20" in text and "not comparable" in text


def test_compare_says_why_runs_cannot_be_paired(tmp_path: Path) -> None:
    one, other = make(tmp_path, "one", 0.7), make(tmp_path, "other", 0.7)
    path = other.run.folder("report") / "truth.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    found = compare_runs([one.run.out, other.run.out])
    n = len(one.task.truth)
    assert f"{n - 1:,} held-out rows, there {n:,}" in found[1]["paired"]["why_not"]
    console = Console(width=300)
    with console.capture() as capture:
        console.print(comparison(found))
    assert "cannot be paired with" in capture.get()
    about = other.run.folder("report") / METRICS_FILE
    write_json(about, read_json(about) | {"protocol": {"candidates": "catalogue"}})
    found = compare_runs([one.run.out, other.run.out])
    assert "catalogue candidates" in found[1]["paired"]["why_not"]


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_table_with_verdicts_fits_80_characters(n_seeds: int) -> None:
    metrics = dict.fromkeys(("ndcg@10", "recall_capped@20", "hr@10", "coverage@10"), 0.123456)
    results = {
        model: {s: metrics | {"fit_seconds": 1200.0 + s} for s in range(n_seeds)}
        for model in ("two-tower", "two-tower-exact", "decayed-popularity")
    }
    verdicts = {"two-tower-exact": "cannot tell", "decayed-popularity": "worse"}
    against = Against("two-tower", verdicts)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(results, title="943 users", against=against))
    lines = capture.get().splitlines()
    assert max(map(len, map(str.rstrip, lines))) <= 80
    text = " ".join(capture.get().split())
    assert "cannot" in text and "worse" in text and "vs" in text and "two-tower-exact" in text
    assert f"{1200 + (n_seeds - 1) / 2:.1f}" in text and ".1235" in text
    if n_seeds > 1:
        assert ".1235-.1235" in text
    last = comparison_markdown(results, against=against).splitlines()[-1]
    assert last.startswith("| decayed-popularity |") and last.endswith("| worse |")
