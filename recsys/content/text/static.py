"""Texts as means of token vectors that were distilled from language models (WordLlama, 2024).

Only data is taken from the package `wordllama`: a table of 32,000 vectors and a tokenizer. Its own
code looks for the tokenizer in a folder that it does not have, and pads a batch to its longest
text, gigabytes for a long one.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.content.encoder import Model
from recsys.content.family import Wanted
from recsys.content.text.text_encoder import TextEncoder
from recsys.errors import ConfigError
from recsys.files import digest_file, digest_json

__all__ = ["wordllama_encoder"]

TABLE = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


def wordllama_encoder(wanted: Wanted) -> TextEncoder:  # noqa: ARG001  (has nothing to choose)
    """Make the encoder; the table is loaded with the first text.

    Raises:
        ConfigError: the package is not installed, or lacks a file.
    """
    spec = importlib.util.find_spec("wordllama")  # found, not imported
    places = spec.submodule_search_locations if spec is not None else None
    folder = Path(places[0]) if places else Path()
    paths = folder / TABLE, folder / TOKENIZER
    for path in paths:
        if not path.is_file():
            raise ConfigError(f'encoder wordllama: no {path}: pip install "recsys[text]"')
    table, tokenizer = paths
    digest = digest_json([digest_file(path) for path in paths])[:12]
    return TextEncoder(f"wordllama@{digest}", lambda: _load(table, tokenizer))


def _load(table_path: Path, tokenizer_path: Path) -> Model:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    (stored,) = load_file(table_path).values()
    table = stored.astype(np.float32)  # (tokens, width)
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def forward(texts: list[str]) -> NDArray[np.float32]:
        vectors = np.full((len(texts), table.shape[1]), np.nan, dtype=np.float32)
        for row, text in enumerate(tokenizer.encode_batch(texts, add_special_tokens=False)):
            known = [token for token in text.ids if token < len(table)]
            if known:
                vectors[row] = table[known].mean(axis=0)
        return vectors

    return Model(table.shape[1], forward)
