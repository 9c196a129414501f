"""Models of the Hugging Face hub: out of its local cache, or downloaded into it."""

import json
import os
import re
from pathlib import Path

from recsys.errors import ConfigError

__all__ = ["cached_snapshot", "download_snapshot", "is_offline", "is_repository"]

# Weights of other frameworks and programs.
NOT_NEEDED = ["onnx/*", "openvino/*", "coreml/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite"]
# Beside model.safetensors these are the same again; those in sub-folders may be all there is.
PICKLED = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]
REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")


def is_repository(name: str) -> bool:
    """Whether the name reads ``OWNER/NAME``."""
    return REPOSITORY.fullmatch(name) is not None


def is_offline() -> bool:
    """Whether the environment forbids downloads (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}


def cached_snapshot(repository: str) -> Path | None:
    """Return the folder of a model in the hub's local cache; None if it is not there, or in part.

    The cache's layout is public: ``refs/main`` names the folder in ``snapshots``. It is read here
    because importing the hub's own reader takes longer than listing all encoders.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE).expanduser() / f"models--{repository.replace('/', '--')}"
    try:
        snapshot = folder / "snapshots" / (folder / "refs" / "main").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return snapshot if _holds_weights(snapshot) else None


def _holds_weights(folder: Path) -> bool:
    """Whether the weights are there, with every part of what is cut into parts.

    They are the last to arrive: where a download was killed, they are missing.
    """
    for index in folder.glob("*.index.json"):
        parts = json.loads(index.read_text("utf-8")).get("weight_map", {})
        if not all((folder / part).is_file() for part in set(parts.values())):
            return False
    return any(
        path.is_file() for ending in ("*.safetensors", "*.bin") for path in folder.rglob(ending)
    )


def download_snapshot(repository: str) -> Path:
    """Download a model into the hub's local cache and return its folder.

    Raises:
        ConfigError: that is forbidden, there is no network, or no such model.
    """
    if is_offline():
        raise _not_had(repository, "HF_HUB_OFFLINE is set")
    from huggingface_hub import snapshot_download  # here: slow to import, seldom needed

    folder = Path()
    for unwanted in ([*NOT_NEEDED, *PICKLED], NOT_NEEDED):
        try:
            folder = Path(snapshot_download(repository, ignore_patterns=unwanted))
        # no network, no such repository, no such name: all are OSError or these
        except (OSError, ValueError, RuntimeError) as error:
            raise _not_had(repository, str(error).strip().partition("\n")[0]) from None
        if any(folder.glob("*.safetensors")):
            break
    if not _holds_weights(folder):
        raise _not_had(repository, "it holds no *.safetensors and no *.bin")
    return folder


def _not_had(repository: str, reason: str) -> ConfigError:
    return ConfigError(
        f"weights {repository!r} are not here and cannot be downloaded ({reason}): "
        f"recsys weights fetch {repository} where there is a network, or give a path"
    )
