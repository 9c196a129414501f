"""The README's examples, run as they stand there."""

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from recsys.cli import main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str, holding: str) -> str:
    """The one fenced block of a language that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return str(found)


def write_files(folder: Path) -> None:
    """Files as the README's config and example name them."""
    random = np.random.default_rng(0)
    names = ["anna", "berta", *(f"guest-{n}" for n in range(38))]
    rows = ["customer,sku,ts,stars"]
    for number, name in enumerate(names):
        taken = random.choice(20, size=12, replace=False) * 2 + number % 2
        rows += [f"{name},tea-{n},{1_600_000_000 + s * 86_400},5" for s, n in enumerate(taken)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    items = ["sku,name,description"]
    items += [f"tea-{n},Tea {n},{['black', 'green'][n % 2]} leaves" for n in range(40)]
    (folder / "items.csv").write_text("\n".join(items) + "\n")


def test_the_config_and_the_example_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    (tmp_path / "my.toml").write_text(block("toml", "interactions ="))
    words = ["run", "my.toml", "-q", "training.epochs=5", "tracking.kind=none"]
    monkeypatch.setattr("sys.argv", ["recsys", *words])
    with contextlib.chdir(tmp_path):
        with contextlib.suppress(SystemExit):
            main()
        names: dict[str, object] = {}
        exec(block("python", "import recsys"), names)  # noqa: S102
        table = names["recommender"].recommend(["anna", "berta"], k=5)  # type: ignore[attr-defined]
        served = names["served"].recommend(["anna"], k=5)  # type: ignore[attr-defined]
    assert table["user_id"].tolist() == ["anna"] * 5 + ["berta"] * 5
    assert len(served) == 5


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    from recsys.cli import app

    commands = getattr(get_command(app), "commands", {})
    assert len(commands) >= 11
    for name in commands:
        assert re.search(rf"recsys [\w|\\]*\b{name}\b|\\\|{name}\b", README), name


def test_make_targets_are_there() -> None:
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
