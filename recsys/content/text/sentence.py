"""Texts as vectors by sentence-transformers (Reimers and Gurevych, 2019)."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.pretrained import digest_folder, precision, quiet_loading
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.weights.find import find_weights
from recsys.errors import ConfigError

__all__ = ["sentence_encoder"]

BATCH = 16  # texts of about equal length: what stays in the cache of a core is fastest
BATCH_CUDA = 128


def sentence_encoder(wanted: Wanted) -> TextEncoder:
    """Find a sentence-transformers model, and load it when the first text is encoded.

    Long texts are cut at the model's own limit; vectors are as long as the model makes them.

    Args:
        wanted: its model is listed, a folder, or a name on the hub (sentence-transformers' own
            if no owner is named).

    Raises:
        ConfigError: the model is in none of these places.
    """
    folder = find_weights(wanted.model, hub_owner="sentence-transformers")
    name = f"sbert:{Path(wanted.model).name}@{digest_folder(folder)}{precision(wanted.device)}"
    network = _Sentences(name, folder, wanted.device)
    batch = BATCH if wanted.device == "cpu" else BATCH_CUDA
    return TextEncoder(
        name, network.as_model, batch=batch, lengths=network.lengths, halve=network.halve
    )


class _Sentences:
    """A model of sentence-transformers, loaded when it is needed."""

    def __init__(self, name: str, folder: Path, device: str) -> None:
        self._name = name
        self._folder = folder
        self._device = device

    @cached_property
    def network(self) -> Any:
        """The loaded model, in single precision."""
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer  # here: importing it takes seconds

        with quiet_loading():
            try:
                network = SentenceTransformer(
                    str(self._folder), device=self._device, local_files_only=True
                )
            except (OSError, ValueError, SafetensorError) as error:
                said = str(error).strip().partition("\n")[0]
                raise ConfigError(
                    f"{self._name}: {self._folder} is not a sentence-transformers model: {said}"
                ) from None
        return network.float().eval()

    def as_model(self) -> Model:
        """Texts (n) -> vectors ``(n, dim)``."""
        return Model(int(self.network.get_embedding_dimension()), self._forward)

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        from recsys.device import autocast

        with autocast(self.network.device):
            vectors = self.network.encode(
                texts, batch_size=len(texts), show_progress_bar=False, convert_to_tensor=True
            )
        numbers: NDArray[np.float32] = vectors.float().cpu().numpy()
        return numbers

    def halve(self, layers: int) -> Any:
        """Cut below the last layers; see `recsys.content.text.tail.halve`."""
        from recsys.content.text.tail import SentenceHead, halve

        network = self.network
        if network.default_prompt_name is not None or network.truncate_dim is not None:
            raise ConfigError(f"{self._name}: finetune does not go with a prompt or truncate_dim")
        inner = getattr(network[0], "auto_model", None)
        if inner is None:
            raise ConfigError(f"{self._name}: finetune needs layers; it is no transformer")
        return halve(self._name, inner, layers, network.preprocess, SentenceHead(list(network)[1:]))

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Length of each text in tokens (in letters where the model has no such tokenizer), (n,).

        Batches of equal length are not padded: a third less work than in order of letters.
        """
        tokenizer = self.network.tokenizer
        if not callable(tokenizer):
            return np.array([len(text) for text in texts], dtype=np.int64)
        tokens = tokenizer(list(texts), truncation=True, max_length=self.network.max_seq_length)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)
