import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from recsys.config import Config
from recsys.config_file import to_toml
from recsys.errors import ConfigError
from recsys.files import digest_files
from recsys.stages.command import CONFIG_FILE
from recsys.stages.embed import ABSENT, print_stats
from recsys.stages.pipeline import perform_stages
from recsys.stages.run import Run
from recsys.stages.search import search_table
from recsys.stages.stage import RECORD, read_record

N = 8


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Items 500..507 with posters of one colour each; 503 has none, 504 is broken, 505 is gone."""
    shop = tmp_path / "shop"
    (shop / "posters").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for item in range(500, 500 + N):
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        Image.new("RGB", (20, 30), colour).save(shop / "posters" / f"{item}.png")
    (shop / "posters" / "504.png").write_bytes(b"<html>not found</html>")
    (shop / "posters" / "505.png").unlink()
    cells = [f"posters/{item}.png" if item != 503 else "" for item in range(500, 500 + N)]
    items = {"sku": range(500, 500 + N), "title": [f"Film {n}" for n in range(N)], "poster": cells}
    pd.DataFrame(items).to_csv(shop / "items.csv", index=False)
    log = {"u": np.repeat(np.arange(90, 98), 5), "sku": [500 + n * 3 % N for n in range(40)]}
    pd.DataFrame(log).drop_duplicates().to_csv(shop / "log.csv", index=False)
    config = Config.model_validate(
        {
            "data": {
                "interactions": shop / "log.csv",
                "user": "u",
                "item": "sku",
                "items": shop / "items.csv",
            },
            "content": {"poster": {"columns": ["poster"], "encoder": "colour-histogram"}},
        }
    )
    out = tmp_path / "runs" / "shop"
    out.mkdir(parents=True)
    (out / CONFIG_FILE).write_text(to_toml(config), encoding="utf-8")
    return Run(config, out, (0,))


def embed(run: Run) -> dict[str, object]:
    facts = perform_stages(run, ("prepare", "embed"), tell=lambda _: None)
    (block,) = facts["embed"]["blocks"]
    return {key: block[key] for key in ("encoded", "cached", "missing", "unreadable")}


def test_files_are_looked_at_again_and_only_what_changed_is_encoded(run: Run) -> None:
    assert embed(run) == {"encoded": 5, "cached": 0, "missing": 1, "unreadable": 2}
    before = digest_files(run.folder("content"), leave_out=frozenset({RECORD}))
    assert embed(run) == {"encoded": 0, "cached": 5, "missing": 1, "unreadable": 2}
    assert digest_files(run.folder("content"), leave_out=frozenset({RECORD})) == before
    posters = run.config.data.items.parent / "posters"  # type: ignore[union-attr]
    Image.new("RGB", (20, 30), "white").save(posters / "505.png")
    assert embed(run) == {"encoded": 1, "cached": 5, "missing": 1, "unreadable": 1}
    (block,) = read_record(run.folder("content"))["facts"]["blocks"]
    assert block["why"] == {"a web page, not an image": 1}


def test_what_cannot_be_read_is_listed_with_its_reason(run: Run) -> None:
    embed(run)
    absent = pd.read_parquet(run.folder("content") / ABSENT)
    assert absent["item_id"].tolist() == ["503", "504", "505"]
    assert absent["read"].tolist()[1:] == ["posters/504.png", "posters/505.png"]
    assert absent["reason"][0] == "missing" and "no such file" in absent["reason"][2]
    told = io.StringIO()
    print_stats(run, Console(file=told, width=120))
    assert "poster: item 504: a web page, not an image (posters/504.png)" in told.getvalue()
    print_stats(run, Console(file=told, width=120), shown=1)
    assert "and 1 more" in told.getvalue()


def test_an_image_finds_itself(run: Run) -> None:
    embed(run)
    posters = run.config.data.items.parent / "posters"  # type: ignore[union-attr]
    told = io.StringIO()
    table = search_table(run.out, posters / "502.png", None, 2)
    Console(file=told, width=100).print(table)
    rows = [line for line in told.getvalue().splitlines() if "Film" in line]
    assert len(rows) == 2 and "Film 2" in rows[0] and "1.000" in rows[0]


def test_a_text_cannot_ask_colours(run: Run) -> None:
    embed(run)
    with pytest.raises(ConfigError, match="no content of this run can be asked by a text"):
        search_table(run.out, "dark space opera", None, 2)
    with pytest.raises(ConfigError, match=r"there is no \[content.plot\]; those that can: poster"):
        search_table(run.out, Path("a.png"), "plot", 2)
