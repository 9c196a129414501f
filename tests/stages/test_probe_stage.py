"""``recsys probe``: a table of all contents beside files that say the same."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recsys.cli import main

CONFIG = """
[data]
interactions = "log.csv"
items = "items.csv"

[content.good]
vectors = "good.npy"
ids = "items"

[content.noise]
vectors = "noise.npy"
ids = "items"

[content.kind]
columns = ["kind"]
encoder = "categories"
"""


def call(*words: str | Path) -> tuple[str, int]:
    stdout, code = io.StringIO(), 0
    with contextlib.redirect_stdout(stdout), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recsys", *map(str, words)])
        patch.setenv("COLUMNS", "120")
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
    return stdout.getvalue(), code


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """120 items of three kinds; each user likes one kind."""
    draw = np.random.default_rng(0)
    kinds = np.arange(120) % 3
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{item}"}
        for user in range(60)
        for item in draw.choice(np.flatnonzero(kinds == user % 3), 15, replace=False)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv", index=False)
    pd.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(120)],
            "kind": [f"kind {kind}|all" for kind in kinds],
            "title": [f"title {item}" for item in range(120)],
        }
    ).to_csv(tmp_path / "items.csv", index=False)
    good = np.eye(3, 8)[kinds] + 0.3 * draw.normal(size=(120, 8))
    np.save(tmp_path / "good.npy", good.astype(np.float32))
    np.save(tmp_path / "noise.npy", draw.normal(size=(120, 8)).astype(np.float32))
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "config.toml"


TEXTS = """
[content.plot]
columns = ["plot"]
encoder = "glove"
[content.plot.options]
width = 8
epochs = 1

[content.short]
columns = ["plot"]
encoder = "tf-idf"
reduce = "pca"
dim = 8

[content.picture]
columns = ["picture"]
encoder = "colour-histogram"
"""
WORDS = ["king", "queen", "man", "woman", "cat", "tiger", "book", "paper", "car", "train", "boy"]


@pytest.fixture
def wide(config: Path) -> Path:
    """The same items with plots, and pictures for every other one."""
    draw, folder = np.random.default_rng(1), config.parent
    items = pd.read_csv(folder / "items.csv")
    items["plot"] = [" ".join(draw.choice(WORDS, 12)) for _ in range(120)]
    items["picture"] = [f"{n}.png" if n % 2 else None for n in range(120)]
    items.to_csv(folder / "items.csv", index=False)
    for n in range(1, 120, 2):
        Image.fromarray(draw.integers(256, size=(6, 6, 3), dtype=np.uint8)).resize((48, 48)).save(
            folder / f"{n}.png"
        )
    config.write_text(CONFIG + TEXTS, encoding="utf-8")
    (folder / "pairs.csv").write_text(
        "a,b,score\nking queen,queen king,9\nking,book,1\ncat,tiger,7\ncar,zzz,3\n"
    )
    return config


def probe(config: Path, *words: str) -> dict[str, Any]:
    out = config.parent / "run"
    stdout, code = call("probe", config, "--out", out, "--json", "-q", *words)
    assert code == 0
    found: dict[str, Any] = json.loads(stdout)
    assert found == json.loads((out / "probe" / "probe.json").read_text())
    return found


def test_the_vectors_of_the_taste_win(config: Path) -> None:
    found = probe(config, "--map")
    assert (found["label"], found["rows"]) == ("kind", "train")
    good, noise = (found["contents"][name]["figures"] for name in ("good", "noise"))
    assert good["lift"]["low"] > 1.8 and noise["lift"]["value"] < 1.3
    assert good["linear"]["value"] > 0.9 and noise["linear"]["high"] < 0.75
    assert good["kmeans_cosine"]["value"] > 0.5 > noise["kmeans_cosine"]["value"]
    assert [about["reads_label"] for about in found["contents"].values()] == [False, False, True]
    for name in ("good", "noise", "kind"):
        with Image.open(config.parent / "run" / "probe" / f"map-{name}.png") as image:
            assert image.size[0] > 1000
            assert len(np.unique(np.asarray(image.convert("L")))) > 4


def test_the_table_says_what_the_files_say(config: Path) -> None:
    out = config.parent / "run"
    stdout, code = call("probe", config, "--run", out, "-q")
    assert code == 0
    figures = json.loads((out / "probe" / "probe.json").read_text())["contents"]["good"]["figures"]
    lift = f"{figures['lift']['value']:.2f}"
    markdown = (out / "probe" / "probe.md").read_text()
    for text in (stdout, markdown):
        assert lift in text
        assert "kind *" in text and "chance" in text and "no achievement" in text
        assert "macro-AUC over kind" in text
    assert max(map(len, stdout.splitlines())) <= 120


def test_it_is_done_again_only_when_something_changed(config: Path) -> None:
    probe(config)
    report = config.parent / "run" / "probe" / "probe.json"
    before = report.stat().st_mtime_ns
    probe(config)
    assert report.stat().st_mtime_ns == before
    assert probe(config, "--rows", "all")["rows"] == "all"
    assert report.stat().st_mtime_ns > before
    np.save(config.parent / "good.npy", np.load(config.parent / "noise.npy"))
    found = probe(config, "--rows", "all")["contents"]
    assert found["good"]["figures"]["lift"] == found["noise"]["figures"]["lift"]


def test_without_labels_only_the_lift_is_measured(config: Path) -> None:
    text = CONFIG[: CONFIG.index("[content.kind]")]
    config.write_text(text, encoding="utf-8")
    found = probe(config, "--map")
    assert found["label"] is None and "--label" in found["notes"][0]
    assert set(found["contents"]["good"]["figures"]) == {"lift", "near"}
    rare = probe(config, "--label", "title")
    assert "no label has 20 items" in rare["notes"][0]


def test_what_cannot_be_probed_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = config.parent / "run"
    _, code = call("probe", config, "--out", out, "-q", "--label", "colour")
    assert code == 2
    assert "no such column; its columns: kind, title" in capsys.readouterr().err.replace("\n", "")
    config.write_text(CONFIG[: CONFIG.index("[content.good]")], encoding="utf-8")
    _, code = call("probe", config, "--out", out, "-q")
    assert code == 2


def test_encoders_are_asked_for_copies_pairs_and_words(wide: Path) -> None:
    pytest.importorskip("gensim")
    found = probe(wide, "--copies", "20", "--pairs", str(wide.parent / "pairs.csv"))
    figures = {name: about["figures"] for name, about in found["contents"].items()}
    assert [name for name, of in figures.items() if "copies" in of] == ["plot", "short", "picture"]
    assert [name for name, of in figures.items() if "pairs" in of] == ["plot", "short"]
    copies = figures["picture"]["copies"]
    assert (copies["n"], copies["chance"]) == (20, 1 / 60)
    assert 0.25 < figures["short"]["copies"]["value"] <= 1  # reduced as the content's vectors are
    assert figures["plot"]["pairs"]["n"] == 3
    assert "plot: 3 of 4 pairs could be compared." in found["notes"]
    assert list(found["words"]) == ["plot"]
    similar = found["words"]["plot"]["wordsim353"]
    assert found["words"]["plot"]["vocabulary"] == len(WORDS)
    assert 2 <= similar["known"] < similar["asked"] == 353
    markdown = (wide.parent / "run" / "probe" / "probe.md").read_text()
    assert f"{similar['known']} of 353" in markdown and "SVM" in markdown
    stdout, _ = call("probe", wide, "--run", wide.parent / "run", "-q", "--copies", "20",
                     "--pairs", wide.parent / "pairs.csv")  # fmt: skip
    assert f"{similar['known']} of 353" in stdout and "SVM, DBSCAN: in probe/probe.md" in stdout
    assert {"copies", "pairs", "WordSim353", "analogies"} <= set(stdout.split())


def test_copies_and_pairs_are_asked_again_when_they_change(wide: Path) -> None:
    pairs, report = wide.parent / "pairs.csv", wide.parent / "run" / "probe" / "probe.json"
    found = probe(wide)
    assert not {"copies", "pairs"} & set(found["contents"]["plot"]["figures"])
    asked = ("--copies", "8", "--pairs", str(pairs))
    first = probe(wide, *asked)["contents"]["plot"]["figures"]
    before = report.stat().st_mtime_ns
    probe(wide, *asked)
    assert report.stat().st_mtime_ns == before
    pairs.write_text("king queen,queen king,1\nking,book,9\ncat,tiger,3\n")
    second = probe(wide, *asked)["contents"]["plot"]["figures"]
    assert second["pairs"]["value"] == pytest.approx(-first["pairs"]["value"])
    assert second["copies"] == first["copies"]
    assert probe(wide, "--copies", "9")["contents"]["plot"]["figures"]["copies"]["n"] == 9


def test_nobody_is_asked_what_nobody_can_answer(config: Path) -> None:
    (config.parent / "pairs.csv").write_text("a,b,1\nc,d,2\n")
    found = probe(config, "--copies", "5", "--pairs", str(config.parent / "pairs.csv"))
    assert found["notes"] == [
        "copies: no [content.NAME] has an encoder of text, images or sounds.",
        "pairs: no [content.NAME] has an encoder of text.",
    ]
    assert found["words"] == {}


def test_bad_pairs_are_told_before_anything_is_done(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = config.parent / "run"
    (config.parent / "pairs.csv").write_text("a,b,1\nc,d\n")
    for name, reason in (("pairs.csv", "line 2: 'c,d' is 2 cells"), ("no.csv", "cannot be read")):
        _, code = call("probe", config, "--out", out, "-q", "--pairs", config.parent / name)
        assert code == 1
        assert reason in capsys.readouterr().err.replace("\n", " ")
    assert not (out / "data").exists()
    _, code = call("probe", config, "--out", out, "-q", "--copies", "-1")
    assert code == 2
