"""The package as a whole: cheap to import, and its docstring true."""

import re
import subprocess
import sys

import recsys

HEAVY = {"torch", "pandas", "numpy", "mlflow", "implicit", "sentence_transformers"}
HEAVY |= {"pydantic", "pyarrow"}


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(','.join(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.strip().splitlines()[-1].split(","))


def test_importing_recsys_and_asking_for_help_load_nothing_heavy() -> None:
    assert not loaded_by("import recsys") & HEAVY
    help_text = (
        "import recsys.cli, contextlib\n"
        "sys.argv = ['recsys', '--help']\n"
        "with contextlib.suppress(SystemExit): recsys.cli.main()"
    )
    assert not loaded_by(help_text) & HEAVY


def test_every_public_name_can_be_had() -> None:
    for name in recsys.__all__:
        assert getattr(recsys, name) is not None


def test_the_docstring_names_packages_that_exist() -> None:
    from importlib.util import find_spec

    names = re.findall(r"^    (\w+)  ", recsys.__doc__ or "", flags=re.MULTILINE)
    assert names[:4] == ["data", "content", "probing", "towers"]
    assert len(names) >= 10
    for name in names:
        assert find_spec(f"recsys.{name}") is not None, name
