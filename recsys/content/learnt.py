"""What an encoder learnt on the catalogue is kept, and not learnt again from the same contents."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recsys.content.keys import key_of
from recsys.files import atomic_file

__all__ = ["Arrays", "digest_arrays", "digest_contents", "learn_once"]

Arrays = Mapping[str, NDArray[Any]]


def learn_once(keep: Path | None, key: str, learn: Callable[[], Arrays]) -> Arrays:
    """Return what ``learn`` makes, from a file if it was made before.

    Args:
        keep: the folder of such files; None learns every time.
        key: a digest of all that the result depends on: contents, settings, seed, starting weights.
        learn: makes arrays by name; texts go in as uint8 arrays of their utf-8.
    """
    path = None if keep is None else keep / f"{key}.safetensors"
    if path is not None and path.is_file():
        try:
            return load_file(path)
        except SafetensorError:
            path.unlink()  # damaged: learnt again
    arrays = {name: np.ascontiguousarray(array) for name, array in learn().items()}
    if path is not None:
        with atomic_file(path) as partial:
            save_file(arrays, partial)
    return arrays


def digest_contents(contents: Sequence[Any], settings: Mapping[str, Any]) -> str:
    """Return the sha256 of contents (files by their bytes) and json-able settings, as hex."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for content in contents:
        mark = repr(key_of(content)) if isinstance(content, Path) else repr(content)
        digest.update(hashlib.sha256(mark.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def digest_arrays(arrays: Arrays) -> str:
    """Return the sha256 of arrays by name, as hex."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
