"""Folders of pretrained networks: known by their content, loaded in quiet, never half random."""

import hashlib
import importlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError
from recsys.files import digest_file

__all__ = [
    "check_architecture",
    "digest_folder",
    "load_pretrained",
    "load_tokenizer",
    "precision",
    "quiet_loading",
]

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")  # at least one of them
SETTINGS = ("*.json", "*.txt", "*.model")  # of networks, tokenizers and preprocessing


def digest_folder(folder: Path) -> str:
    """Return 12 hex digits of the sha256 over a folder's weights and settings.

    A ``.bin`` beside a ``.safetensors`` does not count: it holds the same weights and is not read.

    Raises:
        ConfigError: the folder holds no weights.
    """
    weights = set(folder.rglob("*.safetensors"))
    doubled = {path.parent for path in weights}
    weights |= {path for path in folder.rglob("*.bin") if path.parent not in doubled}
    if not weights:
        raise ConfigError(
            f"{folder}: holds no weights (*.safetensors or *.bin); "
            "name a folder that transformers or sentence-transformers saved"
        )
    digest = hashlib.sha256()
    settings = [path for pattern in SETTINGS for path in folder.rglob(pattern)]
    for path in sorted({*weights, *settings}):
        digest.update(f"{path.relative_to(folder)} {digest_file(path)}\n".encode())
    return digest.hexdigest()[:12]


def precision(device: str) -> str:
    """What a neural encoder's name says of how exactly it computes; "" for single precision.

    It agrees with `recsys.device.autocast`, which cannot be asked without importing torch.
    """
    return "/bf16" if device.startswith("cuda") else ""


def check_architecture(folder: Path, expected: str) -> dict[str, Any]:
    """Return a folder's ``config.json`` if it is of the expected architecture.

    Raises:
        ConfigError: there is no such file, or it describes another network.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder}: no readable config.json ({error}); name a folder that transformers saved"
        ) from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != expected:
        raise ConfigError(f"{folder}: holds {found!r}, expected {expected!r} (config.json)")
    return dict(config)


def load_pretrained(network: Any, folder: Path, may_lack: Collection[str] = ()) -> Any:
    """Return a network with all its weights from a folder, in single precision and eval mode.

    Args:
        network: a class of transformers, with ``from_pretrained``.
        folder: as ``save_pretrained`` leaves it.
        may_lack: parts, by the start of their names, that are not computed with; transformers
            fills whatever the files lack with random numbers.

    Raises:
        ConfigError: the folder cannot be read, or lacks weights.
    """
    import torch
    from safetensors import SafetensorError

    with quiet_loading():
        try:
            model, report = network.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{folder}: transformers cannot load it: {said}") from None
    lacks = sorted(key for key in report["missing_keys"] if not key.startswith(tuple(may_lack)))
    if lacks:
        raise ConfigError(
            f"{folder}: lacks {len(lacks)} weights, {lacks[0]} first; name a folder with all"
        )
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder, which pads behind the text.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARIES):  # it would know no word
        raise ConfigError(f"{folder}: holds no tokenizer ({', '.join(VOCABULARIES)})")
    with quiet_loading():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, padding_side="right"
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{folder}: transformers cannot read its tokenizer: {said}") from None
    return tokenizer


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' own bars and load reports off the terminal."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
