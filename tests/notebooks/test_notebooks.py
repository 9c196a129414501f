"""The notebooks: stripped in the repository, and executed from top to bottom on small data."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from recsys.errors import ConfigError, RecsysError
from recsys.report.execute import (
    execute_notebook,
    find_notebooks,
    question_of,
    with_parameters,
)

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = [  # in the order of the packages
    "1_log",
    "2_content",
    "3_towers",
    "4_index",
    "5_recommendations",
    "6_evaluation",
    "7_cold_start",
]
ALLOWED = {"matplotlib", "numpy", "pandas", "pathlib", "recsys"}
CONFIG = """
[data]
source = "synthetic"
[data.synthetic]
users = 60
items = 50
per_user = 12
[content.text]
columns = ["text"]
encoder = "tf-idf"
[content.image]
columns = ["image"]
encoder = "colour-histogram"
[towers]
dim = 8
[training]
epochs = 2
score_every = 1
[index]
trees = 5
[evaluation]
tune_baselines = false
baselines = ["popularity", "content-cosine"]
"""


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")))


def code(book: dict[str, Any]) -> str:
    sources = ["".join(of["source"]) for of in book["cells"] if of["cell_type"] == "code"]
    return re.sub(r"^%.*$", "", "\n".join(sources), flags=re.MULTILINE)


def test_they_are_those_and_in_this_order() -> None:
    assert [path.stem for path in find_notebooks(FOLDER)] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stripped_without_classes_and_with_a_question_and_an_answer(name: str) -> None:
    book = read(name)
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert cell["metadata"] in ({}, {"tags": ["parameters"]})
    tree = ast.parse(code(book))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= ALLOWED
    assert question_of(FOLDER / f"{name}.ipynb").endswith("?")
    assert book["cells"][-2]["source"][0].strip() == "## Answer"
    assert "print(" in "".join(book["cells"][-1]["source"])


@pytest.mark.timeout(900)  # seven processes that import torch; a busy machine takes its time
def test_all_run_from_top_to_bottom_on_small_data(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    values: dict[str, Any] = {"CONFIG": str(config), "OUT": str(tmp_path / "runs")}
    values["OVERRIDES"] = ["training.epochs=2"]
    for path in find_notebooks(FOLDER):
        page = execute_notebook(path, tmp_path / "runs", values).read_text(encoding="utf-8")
        assert "Traceback" not in page
        pictures = len(re.findall(r"data:image/png;base64,", page))
        assert pictures >= code(read(path.stem)).count("figure, ")
        assert str(config) in page  # what was given is shown
    assert {path.name for path in (tmp_path / "runs").glob("*.html")} == {
        f"{name}.html" for name in NAMES
    }


def test_a_failing_cell_is_named_and_the_page_shows_how_far_it_came(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in ("print(6 * 7)", "1 / 0", "print('no')")]
    book = tmp_path / "9_bad.ipynb"
    book.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    with pytest.raises(RecsysError, match=r"9_bad\.ipynb: a cell failed: ZeroDivisionError"):
        execute_notebook(book, tmp_path)
    page = (tmp_path / "9_bad.html").read_text(encoding="utf-8")
    assert ">42" in page


def test_given_values_come_behind_the_notebooks_own() -> None:
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("A = 1"), nbformat.v4.new_code_cell("print(A)")]
    )
    with pytest.raises(ConfigError, match="parameters"):
        with_parameters(book, {"A": 2})
    book.cells[0].metadata["tags"] = ["parameters"]
    sources = [cell.source for cell in with_parameters(book, {"A": [2, "x"]}).cells]
    assert sources == ["A = 1", "# Given on the command line.\nA = [2, 'x']", "print(A)"]


def test_notebooks_are_found_by_number_and_name() -> None:
    found = find_notebooks(FOLDER, ["7", "4_index.ipynb"])
    assert [path.stem for path in found] == ["7_cold_start", "4_index"]
    with pytest.raises(ConfigError, match="none is called '8'"):
        find_notebooks(FOLDER, ["8"])
    with pytest.raises(ConfigError, match="--folder"):
        find_notebooks(FOLDER / "absent")
