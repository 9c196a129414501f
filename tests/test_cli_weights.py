"""``recsys encoders`` and ``recsys weights ...`` as they are typed."""

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest

from recsys.cli import main
from recsys.content.encoders import ENCODERS
from recsys.content.weights.known import KNOWN


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0) -> tuple[str, str]:
    """Run ``recsys`` in this process; return what it said on both channels."""
    monkeypatch.setattr(sys, "argv", ["recsys", *words])
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as leaving,
    ):
        main()
        sys.exit(0)
    assert leaving.value.code == code, stderr.getvalue()
    return stdout.getvalue(), stderr.getvalue()


def put_vggish(folder: Path) -> Path:
    file = folder / "vggish" / KNOWN["vggish"].inside
    file.parent.mkdir()
    file.write_bytes(b"1234")
    (file.parent / "fetched.json").write_text(f'{{"files": {{"{file.name}": {{"size": 4}}}}}}')
    return file


def test_encoders_are_readable_at_a_hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    told, _ = call(monkeypatch, "encoders")
    assert all(len(line) <= 100 for line in told.splitlines())
    for prefix, family in ENCODERS.items():
        for model in family.models:
            name = f"{prefix}:{model.model}" if model.model else prefix
            assert name in told
    assert "[content.X.options]" in told  # not taken for markup


def test_encoders_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["name"]: row for row in json.loads(call(monkeypatch, "encoders", "--json")[0])}
    row = rows["sbert:all-MiniLM-L6-v2"]
    assert row["modality"] == "text" and row["width"] == 384
    assert "recsys weights fetch all-MiniLM-L6-v2" in row["install"]
    assert rows["categories"]["offline"] is True


def test_weights_list(no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here() -> str:
        rows = json.loads(call(monkeypatch, "weights", "list", "--json")[0])
        assert [row["name"] for row in rows] == list(KNOWN)
        (said,) = (row["here"] for row in rows if row["name"] == "vggish")
        return str(said)

    assert here() == "no"
    file = put_vggish(no_weights)
    assert here() == "yes"
    file.write_bytes(b"12")
    assert here() == "damaged"
    told, _ = call(monkeypatch, "weights", "list")
    assert all(len(line) <= 100 for line in told.splitlines())
    assert "CC-BY-4.0" in told and "damaged" in told


def test_weights_path(no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put_vggish(no_weights)
    assert call(monkeypatch, "weights", "path", "vggish")[0] == f"{file}\n"
    _, error = call(monkeypatch, "weights", "path", "resnet50", code=2)
    assert error.count("\n") == 1 and "recsys weights fetch resnet50" in error
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)  # not called
    _, error = call(monkeypatch, "weights", "path", "some/model", code=2)
    assert "recsys weights fetch some/model" in error


def test_weights_fetch(no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put_vggish(no_weights)
    assert call(monkeypatch, "weights", "fetch", "vggish")[0] == f"vggish: {file}\n"
    _, error = call(monkeypatch, "weights", "fetch", "vggish", "vgish", code=2)
    assert error.count("\n") == 1 and "did you mean vggish" in error
