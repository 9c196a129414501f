"""Notebooks: found in a folder, executed from top to bottom, written as pages of HTML."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys.errors import ConfigError, RecsysError

__all__ = ["execute_notebook", "find_notebooks", "question_of", "with_parameters"]

PARAMETERS = "parameters"  # the tag of the cell that others' values come behind, as in papermill
KERNEL = "python3"  # of this very environment
START = 300  # seconds that a busy machine may take to start a process
INSTALL = 'pip install "recsys[notebooks]"'


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of a folder in the order of their names, all or those that are named.

    Args:
        folder: that holds ``*.ipynb``.
        names: such as ``4_index``, ``4``, or ``4_index.ipynb``.

    Raises:
        ConfigError: there are none, or not one of that name.
    """
    there = sorted(folder.glob("*.ipynb"))
    if not there:
        raise ConfigError(f"{folder}: holds no notebooks; say where they are with --folder FOLDER")
    by_name = {path.stem: path for path in there}
    by_name |= {path.stem.split("_")[0]: path for path in there}
    wanted = [name.removesuffix(".ipynb") for name in names]
    for name in wanted:
        if name not in by_name:
            known = ", ".join(path.stem for path in there)
            raise ConfigError(f"notebook: none is called {name!r}; there are {known}")
    return [by_name[name] for name in wanted] or there


def question_of(path: Path) -> str:
    """The question that a notebook opens with; "" if it asks none."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join(cells[0]["source"]) if cells else ""
    found = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\n|$)", text, flags=re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def with_parameters(notebook: Any, values: Mapping[str, Any]) -> Any:
    """Put a cell that sets names behind the one with a notebook's own values.

    Args:
        notebook: of nbformat; it is changed.
        values: name -> what ``repr`` writes so that Python reads it back.

    Raises:
        ConfigError: no cell is tagged ``parameters``.
    """
    import nbformat

    cells = notebook.cells
    tagged = [n for n, of in enumerate(cells) if PARAMETERS in of.metadata.get("tags", ())]
    if values and not tagged:
        raise ConfigError(f"notebook: no cell is tagged {PARAMETERS!r}; nothing can be set")
    if values:
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        given = nbformat.v4.new_code_cell("\n".join(["# Given on the command line.", *lines]))
        cells.insert(tagged[0] + 1, given)
    return notebook


def execute_notebook(path: Path, out: Path, values: Mapping[str, Any] | None = None) -> Path:
    """Execute a notebook in its folder, in a process of its own; write it as one page of HTML.

    Args:
        path: of the notebook, which stays as it is.
        out: the folder that gets ``NAME.html``.
        values: names that its parameters are set to.

    Returns:
        The page.

    Raises:
        ConfigError: the extra ``notebooks`` is not installed.
        RecsysError: a cell fails; the page is written up to that cell.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
        from nbconvert import HTMLExporter
        from traitlets.config import Config
    except ImportError as error:
        raise ConfigError(f"notebook: {error.name} is not installed; {INSTALL}") from None
    notebook = with_parameters(nbformat.read(path, as_version=4), values or {})
    page, failure = out / f"{path.stem}.html", None
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        config = Config()
        if os.name == "posix":  # talk to the process through files: no port is opened
            config.KernelManager.transport = "ipc"
            config.KernelManager.ip = str(Path(folder) / "socket")
        place = {"metadata": {"path": str(path.parent)}}
        client = NotebookClient(
            notebook, config=config, kernel_name=KERNEL, timeout=None, startup_timeout=START,
            resources=place,
        )  # fmt: skip
        try:
            client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore:IProgress not found"})
        except DeadKernelError:
            failure = "its process died, as one does that has no memory left"
        except CellExecutionError as error:
            failure = f"{error.ename}: {error.evalue}"
    html, _ = HTMLExporter().from_notebook_node(notebook)
    page.write_text(html, encoding="utf-8")
    if failure is not None:
        raise RecsysError(f"{path}: a cell failed: {failure}; {page} shows how far it came")
    return page
