"""Texts in the space of CLIP's images (Radford et al., 2021): a query finds pictures."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.pretrained import (
    check_architecture,
    digest_folder,
    load_pretrained,
    load_tokenizer,
    precision,
)
from recsys.content.random_networks import RANDOM, is_random, random_network, random_tokenizer
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.weights.find import find_weights

__all__ = ["clip_text_encoder"]


def clip_text_encoder(wanted: Wanted) -> TextEncoder:
    """Find CLIP's text side, and load it when the first text is encoded.

    Vectors are of unit length; texts are cut after 77 tokens.

    Args:
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``:
            the same as that of the image encoder.

    Raises:
        ConfigError: there is no such model, or it is no CLIP.
    """
    if is_random(wanted.model):
        network = _TextSide(None, wanted.device)
        name = f"{RANDOM}clip-text:tiny"
    else:
        folder = find_weights(wanted.model)
        check_architecture(folder, "clip")
        network = _TextSide(folder, wanted.device)
        name = f"clip-text:{Path(wanted.model).name}@{digest_folder(folder)}"
    name += precision(wanted.device)
    return TextEncoder(name, network.as_model, lengths=network.lengths)


class _TextSide:
    """CLIP's text network with its tokenizer, loaded when it is needed."""

    def __init__(self, folder: Path | None, device: str) -> None:
        """Take a folder; None makes a tiny random network."""
        self._folder = folder
        self._device = device

    @cached_property
    def network(self) -> Any:
        """The network, in single precision."""
        if self._folder is None:
            return random_network("clip").to(self._device)
        from transformers import CLIPModel

        return load_pretrained(CLIPModel, self._folder).to(self._device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return random_tokenizer("clip") if self._folder is None else load_tokenizer(self._folder)

    def as_model(self) -> Model:
        """Texts (n) -> vectors ``(n, dim)``."""
        return Model(int(self.network.config.projection_dim), self._forward)

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text, ``(n,)``, cut at the limit."""
        tokens = self.tokenizer(list(texts), truncation=True, max_length=self._longest)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)

    @property
    def _longest(self) -> int:
        return int(self.network.text_model.config.max_position_embeddings)

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional as F

        from recsys.device import autocast

        network = self.network
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode(), autocast(torch.device(self._device)):
            pooled = network.text_model(tokens["input_ids"], tokens["attention_mask"]).pooler_output
            vectors = F.normalize(network.text_projection(pooled).float(), dim=-1)
        numbers: NDArray[np.float32] = vectors.cpu().numpy()
        return numbers
