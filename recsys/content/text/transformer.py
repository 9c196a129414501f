"""Texts as vectors by BERT, DistilBERT and GPT-2, through transformers.

A text's tokens go through the network, and their hidden vectors are pooled to one:

========  ==================================================================================
mean      mean of all real tokens' last hidden vectors (padding is masked)
max       largest value of each dimension
cls       the first token's: BERT's ``[CLS]``
last      the last real token's: the only one that has seen the whole text in GPT-2
pooler    BERT's ``[CLS]`` through the layer that was trained on next-sentence prediction
static    mean of the words' vectors in the embedding table, before position, segment, context
========  ==================================================================================
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

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
from recsys.errors import ConfigError

__all__ = ["POOLINGS", "EmbeddingTables", "embedding_tables", "transformer_encoder"]

BATCH = 16  # what stays in the cache of a core is fastest (measured with MiniLM)
BATCH_CUDA = 64
POOLINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(  # of each family; first its default
    {
        "bert": ("mean", "max", "cls", "last", "pooler", "static"),
        "distilbert": ("mean", "max", "cls", "last", "static"),
        "gpt2": ("last", "mean", "max", "static"),
    }
)


def transformer_encoder(family: str, wanted: Wanted) -> TextEncoder:
    """Find a network, and load it when the first text is encoded.

    Texts are cut at the network's own limit of tokens.

    Args:
        family: one of ``POOLINGS``.
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``.

    Raises:
        ConfigError: there is no such model, it is of another family, or has no such pooling.
    """
    poolings = POOLINGS[family]
    pooling = wanted.options.pooling or poolings[0]
    if pooling not in poolings:
        raise ConfigError(
            f"encoder {family}: pooling = {pooling!r}: expected one of {', '.join(poolings)}"
        )
    network = _find(family, wanted.model, pooling, wanted.device)
    batch = BATCH if wanted.device == "cpu" else BATCH_CUDA
    name = network.name + precision(wanted.device)
    return TextEncoder(
        name, network.as_model, batch=batch, lengths=network.lengths, halve=network.halve
    )


def _find(family: str, model: str, pooling: str, device: str) -> "_Network":
    """Find a network, without loading it."""
    if is_random(model):
        return _Network(f"{RANDOM}{family}:tiny/{pooling}", family, None, pooling, device)
    folder = find_weights(model)
    check_architecture(folder, family)
    name = f"{family}:{Path(model).name}@{digest_folder(folder)}/{pooling}"
    return _Network(name, family, folder, pooling, device)


class _Network:
    """A network with its tokenizer, loaded when it is needed."""

    def __init__(
        self, name: str, family: str, folder: Path | None, pooling: str, device: str
    ) -> None:
        """Take a folder; None makes a tiny random network."""
        self.name = name
        self._family = family
        self._folder = folder
        self._pooling = pooling
        self._device = device

    @cached_property
    def network(self) -> Any:
        """The network, in single precision; BERT's pooler may be missing if it is not wanted."""
        if self._folder is None:
            return random_network(self._family).to(self._device)
        from transformers import AutoModel

        may_lack = () if self._pooling == "pooler" else ("pooler.",)
        return load_pretrained(AutoModel, self._folder, may_lack).to(self._device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; GPT-2 has no token for padding, so one is taken that is then masked."""
        tokenizer = (
            random_tokenizer(self._family) if self._folder is None else load_tokenizer(self._folder)
        )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def as_model(self) -> Model:
        """Texts (n) -> vectors ``(n, width)``."""
        return Model(int(self.network.config.hidden_size), self._forward)

    @property
    def longest(self) -> int:
        """Tokens that a text may have, with those put around it."""
        positions = int(self.network.config.max_position_embeddings)
        return min(positions, int(self.tokenizer.model_max_length))

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text, ``(n,)``, cut at the limit."""
        tokens = self.tokenizer(list(texts), truncation=True, max_length=self.longest)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)

    def halve(self, layers: int) -> Any:
        """Cut below the last layers; see `recsys.content.text.tail.halve`."""
        from recsys.content.text.tail import PoolingHead, halve

        def tokenize(texts: list[str]) -> Any:
            return self.tokenizer(
                texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
            )

        head = PoolingHead(partial(_pool, pooling=self._pooling))
        return halve(self.name, self.network, layers, tokenize, head)

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        """Return vectors ``(n, width)``; NaN where ``static`` finds no token."""
        import torch

        from recsys.device import autocast

        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.longest,
            return_special_tokens_mask=True,
            return_tensors="pt",
        ).to(self.network.device)
        special = tokens.pop("special_tokens_mask")
        mask = tokens["attention_mask"]
        with torch.inference_mode(), autocast(self.network.device):
            if self._pooling == "static":
                table = self.network.get_input_embeddings()
                vectors = _mean(table(tokens["input_ids"]), mask * (1 - special))
            elif self._pooling == "pooler":
                vectors = self.network(**tokens).pooler_output
            else:
                vectors = _pool(self.network(**tokens).last_hidden_state, mask, self._pooling)
        numbers: NDArray[np.float32] = vectors.float().cpu().numpy()
        return numbers


def _pool(hidden: Any, mask: Any, pooling: str) -> Any:
    """Pool hidden ``(n, tokens, width)`` where ``mask`` ``(n, tokens)`` is 1, to ``(n, width)``."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[range(len(hidden)), mask.sum(dim=1) - 1]
    if pooling == "max":
        return hidden.masked_fill(mask[..., None] == 0, -float("inf")).amax(dim=1)
    return _mean(hidden, mask)


def _mean(hidden: Any, mask: Any) -> Any:
    """Mean over the tokens where ``mask`` is 1, in single precision; NaN where there is none."""
    weights = mask[..., None].float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)


class EmbeddingTables(NamedTuple):
    """What a network adds up for each token before its first layer, float32."""

    tokens: NDArray[np.float32]  # (vocabulary, width)
    positions: NDArray[np.float32]  # (longest text, width)
    segments: NDArray[np.float32]  # (segments, width): BERT's first and second text; else none


def embedding_tables(name: str) -> EmbeddingTables:
    """Read a network's embedding tables.

    Args:
        name: of an encoder, such as ``"bert:bert-base-uncased"`` or ``"random:bert:tiny"``.

    Raises:
        ConfigError: there is no such model, or no such family.
    """
    family, _, model = name.removeprefix(RANDOM).partition(":")
    if family not in POOLINGS:
        raise ConfigError(f"encoder {name!r}: has no tables; expected {', '.join(POOLINGS)}")
    prefix = RANDOM if is_random(name) else ""
    network = _find(family, prefix + model, "static", "cpu").network
    if family == "gpt2":
        tables = [network.wte, network.wpe, None]
    else:
        layer = network.embeddings
        segments = getattr(layer, "token_type_embeddings", None)
        tables = [layer.word_embeddings, layer.position_embeddings, segments]
    width = network.config.hidden_size
    return EmbeddingTables(
        *(
            np.zeros((0, width), np.float32) if table is None else table.weight.detach().numpy()
            for table in tables
        )
    )
