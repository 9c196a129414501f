"""A text encoder cut in two: layers that stay as they are, and the last ones, which learn.

What comes out of the lower part is computed once for all texts; a step of training then costs the
last layers alone (as the upper layers of BERT are those that fine-tuning changes: Merchant et al.,
BlackboxNLP 2020).
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.config import FinetuneConfig
from recsys.content.encoder import ContentBlock
from recsys.errors import ConfigError

__all__ = [
    "Halves",
    "Packed",
    "PoolingHead",
    "SentenceHead",
    "States",
    "Tail",
    "TunableBlock",
    "halve",
    "packed_rows",
]

STACKS = {  # where networks of transformers keep their layers, by model_type
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
    "distilbert": "transformer.layer",
}
READ = ("input_ids", "attention_mask", "token_type_ids")  # of what tokenizers return


class Packed(NamedTuple):
    """Hidden vectors of some texts, padded at the end."""

    hidden: Tensor  # (n, tokens, width)
    mask: Tensor  # int64 (n, tokens): 1 where there is a token


class Tail(nn.Module):
    """The last layers of a network, its pooling, and whatever follows it.

    It is never in training mode: without dropout, a text has one vector at one state of training.
    """

    def __init__(self, layers: Sequence[nn.Module], head: nn.Module, config: Any) -> None:
        """Take copies.

        Args:
            layers: of a network of transformers, lowest first.
            head: maps last hidden vectors ``(n, tokens, width)`` and a mask ``(n, tokens)`` to
                vectors ``(n, dim)``.
            config: of the network.
        """
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(layer) for layer in layers)
        self.head = deepcopy(head)
        self.config = config
        self.eval().requires_grad_(True)

    def forward(self, states: Packed) -> Tensor:
        """Return vectors float32 ``(n, dim)`` of what the lower part made of texts."""
        from transformers.masking_utils import create_bidirectional_mask

        hidden, mask = states
        attended = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden, attention_mask=mask
        )
        for layer in self.layers:
            hidden = layer(hidden, attended)
        vectors: Tensor = self.head(hidden, mask).float()
        return vectors

    def train(self, mode: bool = True) -> "Tail":  # noqa: ARG002  (see the class)
        """Stay in evaluation mode."""
        return super().train(False)


class PoolingHead(nn.Module):
    """A pooling without weights."""

    def __init__(self, pool: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take a function of hidden ``(n, tokens, width)`` and mask ``(n, tokens)``."""
        super().__init__()
        self.pool = pool

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return vectors ``(n, width)``."""
        return self.pool(hidden, mask)


class SentenceHead(nn.Module):
    """The modules of a sentence-transformers model that follow its transformer."""

    def __init__(self, parts: Iterable[Any]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return vectors ``(n, dim)`` of hidden ``(n, tokens, width)``, ``mask`` 1 at tokens."""
        features = {"token_embeddings": hidden, "attention_mask": mask}
        for part in self.parts:
            features = part(features)
        return features["sentence_embedding"]


class Halves(NamedTuple):
    """An encoder cut in two."""

    width: int  # of hidden vectors
    lower: Callable[[list[str]], Packed]  # n texts -> their hidden vectors
    tail: Tail


def halve(
    name: str, network: Any, layers: int, tokenize: Callable[[list[str]], Any], head: nn.Module
) -> Halves:
    """Cut a network of transformers below its last ``layers``.

    Args:
        name: of the encoder, for errors.
        network: without a head.
        layers: how many learn.
        tokenize: makes of texts what the network takes.
        head: see `Tail`.

    Raises:
        ConfigError: it is no network of ``STACKS``, or has fewer layers.
    """
    kind = getattr(network.config, "model_type", None)
    if kind not in STACKS:
        raise ConfigError(
            f"encoder {name}: finetune knows no layers of {kind!r}; expected {', '.join(STACKS)}"
        )
    stack = network.get_submodule(STACKS[kind])
    if layers > len(stack):
        raise ConfigError(
            f"encoder {name}: finetune.layers = {layers}, but it has {len(stack)} layers; set at "
            "most as many"
        )

    def lower(texts: list[str]) -> Packed:
        tokens = tokenize(texts)
        read = {key: tokens[key].to(network.device) for key in READ if key in tokens}
        with torch.no_grad():
            output = network(**read, output_hidden_states=True)
        return Packed(output.hidden_states[-1 - layers], read["attention_mask"])

    return Halves(
        int(network.config.hidden_size), lower, Tail(stack[-layers:], head, network.config)
    )


@dataclass(frozen=True, eq=False)
class States:
    """What the lower part made of the texts of all items, one after the other.

    Attributes:
        hidden: float16 ``(tokens, width)``, maybe mapped from a file.
        starts: where each item's begin and the last one's end, ``(n_items + 1,)``; an item without
            text has none.
    """

    hidden: NDArray[np.float16]
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each item, ``(n_items,)``."""
        return np.diff(self.starts)

    def take(self, items: NDArray[np.int64], device: torch.device) -> Packed:
        """Return the states of items ``(b,)``, hidden in float32."""
        lengths = self.lengths[items]
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        hidden = np.zeros((*mask.shape, self.hidden.shape[1]), dtype=np.float32)
        hidden[mask] = self.hidden[packed_rows(self.starts[items], lengths)]
        return Packed(torch.from_numpy(hidden).to(device), torch.from_numpy(mask).long().to(device))


def packed_rows(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``starts[0], starts[0] + 1, ...``, ``lengths[0]`` of them, then those of the next."""
    before = np.cumsum(lengths) - lengths
    rows: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    return rows


@dataclass(frozen=True, eq=False)
class TunableBlock(ContentBlock):
    """A block whose vectors the towers may change, by the last layers of their encoder.

    Attributes:
        tail: as it was trained elsewhere; who changes it takes a copy.
        states: of all items, in front of the tail.
        finetune: how it learns.
    """

    tail: Tail
    states: States
    finetune: FinetuneConfig
