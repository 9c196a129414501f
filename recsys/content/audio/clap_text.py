"""Texts in the space of CLAP's sounds (Wu et al., 2023): a query finds music."""

from functools import partial
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
from recsys.content.random_networks import RANDOM, is_random, seeded
from recsys.content.text.text_encoder import TextEncoder
from recsys.content.weights.find import find_weights

__all__ = ["clap_text_encoder"]

OFFSET = 2  # places that RoBERTa keeps for padding before the first token
LONGEST = 64  # tokens of the tiny random network


def clap_text_encoder(wanted: Wanted) -> TextEncoder:
    """Find CLAP's text side, and load it when the first text is encoded.

    Vectors are of unit length; texts are cut at the network's limit (512 tokens).

    Args:
        wanted: its model is listed, a folder or a name on the hub, or begins with ``"random:"``:
            the same as that of the sound encoder.

    Raises:
        ConfigError: there is no such model, or it is no CLAP.
    """
    ending = precision(wanted.device)
    if is_random(wanted.model):
        return TextEncoder(f"{RANDOM}clap-text:tiny{ending}", partial(_load, None, wanted.device))
    folder = find_weights(wanted.model)
    check_architecture(folder, "clap")
    name = f"clap-text:{Path(wanted.model).name}@{digest_folder(folder)}{ending}"
    return TextEncoder(name, partial(_load, folder, wanted.device))


def _load(folder: Path | None, device: str) -> Model:
    import torch
    from torch.nn import functional as F
    from transformers import ClapTextModelWithProjection

    from recsys.device import autocast

    if folder is None:
        network, tokenizer = _random()
    else:
        network = load_pretrained(ClapTextModelWithProjection, folder)
        tokenizer = load_tokenizer(folder)
    network = network.to(device)
    longest = network.config.max_position_embeddings - OFFSET

    def forward(texts: list[str]) -> NDArray[np.float32]:
        tokens = tokenizer(
            texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(device)
        with torch.inference_mode(), autocast(torch.device(device)):
            embeds = network(tokens["input_ids"], tokens["attention_mask"]).text_embeds
            vectors = F.normalize(embeds.float(), dim=-1)
        numbers: NDArray[np.float32] = vectors.cpu().numpy()
        return numbers

    return Model(int(network.config.projection_dim), forward)


def _random() -> tuple[Any, Any]:
    """Return a tiny network with seeded random weights, and a tokenizer of single bytes."""
    import transformers as t
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = t.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=LONGEST)
    config = t.ClapTextConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST + OFFSET,
        projection_dim=32,
    )
    network: Any = seeded(lambda: t.ClapTextModelWithProjection(config))
    return network.eval(), tokenizer
