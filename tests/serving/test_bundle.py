"""A bundle is whole or refused, answers as its run does, and needs nothing outside its folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_bundles import N_USERS, bundle_of, copy_of, finished_run

from recsys.errors import ArtifactError, ConfigError
from recsys.files import digest_files
from recsys.recommenders.recommender import Recommender
from recsys.serving.bundle import CARD, Bundle
from recsys.serving.make import as_bundle, make_bundle
from recsys.serving.search import TextSearch


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copy_of(bundle_of(), tmp_path / "copy")


def test_it_answers_as_its_run_does_and_says_what_it_is() -> None:
    bundle = Bundle.load(bundle_of())
    ours, runs = bundle.recommender(), Recommender.load(finished_run())
    pd.testing.assert_frame_equal(ours.recommend(), runs.recommend())
    new = {"history": [100, 102], "attributes": {"age": 30}}
    pd.testing.assert_frame_equal(ours.recommend(**new), runs.recommend(**new))  # type: ignore[arg-type]
    card = bundle.card
    assert (card.name, card.counts["users"]) == ("run", N_USERS)
    assert card.encoders["text"].startswith("tf-idf")
    report = json.loads((finished_run() / "report" / "metrics.json").read_text())
    assert card.evaluation == report["models"]["two-tower"]["per_seed"]["0"]


def test_it_holds_no_pickle_and_nothing_that_serving_does_not_read() -> None:
    names = set(digest_files(bundle_of()))
    assert {Path(name).suffix for name in names} == {
        ".annoy", ".json", ".npy", ".parquet", ".safetensors", ".toml",
    }  # fmt: skip
    assert not {name for name in names if "stage.json" in name or "baseline" in name}
    for path in bundle_of().rglob("*.npy"):
        np.load(path, allow_pickle=False)


def test_the_run_may_be_gone_and_the_bundle_elsewhere(bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run(), run)
    made = make_bundle(run, tmp_path / "made").folder
    shutil.rmtree(run)
    moved = made.rename(tmp_path / "moved")
    assert Bundle.load(moved).card.digest == Bundle.load(bundle).card.digest  # the same bytes
    found = TextSearch.load(moved, Bundle.load(moved).card.encoders)
    items, _ = found.ask("space", 3)
    assert all(item % 2 == 0 for item in items)  # "dark space opera"


def test_a_changed_cut_or_missing_file_is_refused_by_name(bundle: Path) -> None:
    for name in json.loads((bundle / CARD).read_text())["files"]:
        path, whole = bundle / name, (bundle / name).read_bytes()
        for broken in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
            path.write_bytes(broken)
            with pytest.raises(ArtifactError, match=path.name):
                Bundle.load(bundle)
        path.unlink()
        with pytest.raises(ArtifactError, match=path.name):
            Bundle.load(bundle)
        path.write_bytes(whole)
    Bundle.load(bundle)


def test_an_altered_card_is_refused(bundle: Path) -> None:
    card = json.loads((bundle / CARD).read_text())
    for change in ({"digest": "0" * 64}, {"schema_version": 2}, {"more": 1}):
        (bundle / CARD).write_text(json.dumps(card | change))
        with pytest.raises(ArtifactError, match=CARD):
            Bundle.load(bundle)
    (bundle / CARD).write_text("{")
    with pytest.raises(ArtifactError, match="json"):
        Bundle.load(bundle)


def test_a_killed_bundling_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy_of(bundle_of(), tmp_path / "b")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recsys.serving.make.describe_files", killed)
    with pytest.raises(KeyboardInterrupt):
        make_bundle(finished_run(), out)
    assert Bundle.load(out).card.digest == Bundle.load(bundle_of()).card.digest
    assert list(tmp_path.iterdir()) == [out]


def test_figures_of_other_towers_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run(), run)
    record = run / "index" / "stage.json"
    about = json.loads(record.read_text())
    about["outputs"]["index.json"] = "0" * 64
    record.write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match="not what its stage wrote"):
        make_bundle(run, tmp_path / "b")
    (run / "index" / "index.json").write_text("{}")
    about["outputs"] = digest_files(run / "index", leave_out=frozenset({"stage.json"}))
    record.write_text(json.dumps(about))  # the index was built again after evaluate
    with pytest.raises(ArtifactError, match="not what the report was measured on"):
        make_bundle(run, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_folder_that_is_neither_run_nor_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no report"):
        as_bundle(tmp_path)
    with pytest.raises(ArtifactError, match=r"holds no bundle\.json"):
        Bundle.load(tmp_path)
    assert as_bundle(bundle_of()).folder == bundle_of().resolve()


def test_search_refuses_an_encoder_that_did_not_make_the_vectors() -> None:
    with pytest.raises(ArtifactError, match="its vectors were made by other"):
        TextSearch.load(bundle_of(), {"text": "other"})


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds something else than a bundle"):
        make_bundle(finished_run(), tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"
