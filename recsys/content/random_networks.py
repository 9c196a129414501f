"""Networks of two small layers with seeded random weights, for tests: nothing is read or fetched.

Their tokenizers know single letters or bytes, so that every text means something to them.
"""

import string
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["RANDOM", "SIDE", "is_random", "random_network", "random_tokenizer", "seeded"]

RANDOM = "random:"  # how the name of an encoder or model with random weights begins
Made = TypeVar("Made")
Settings = dict[str, Any]

SEED = 0
SIDE = 32  # pixels of an image; 16 patches of 8
LONGEST = 64  # tokens
WIDTH = 32
LAYERS: Settings = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
START, END = "<|startoftext|>", "<|endoftext|>"


def is_random(model: str) -> bool:
    """Whether the name of an encoder or model asks for random weights."""
    return model.startswith(RANDOM)


def seeded(make: Callable[[], Made], seed: int = SEED) -> Made:
    """Call what draws from torch's random numbers, the same ones every time; others go on."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def random_network(family: str) -> Any:
    """Return a network of transformers: bert, distilbert, gpt2, vit or clip, in eval mode."""
    import transformers as t

    words: Settings = {"vocab_size": len(_letters()), "max_position_embeddings": LONGEST}
    bytewise: Settings = {"vocab_size": 257, "bos_token_id": 256, "eos_token_id": 256}
    text = LAYERS | {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513}
    image = LAYERS | {"image_size": SIDE, "patch_size": 8}
    distil: Settings = {"dim": WIDTH, "hidden_dim": 2 * WIDTH, "n_layers": 2, "n_heads": 2}
    gpt: Settings = {"n_positions": LONGEST, "n_embd": WIDTH, "n_layer": 2, "n_head": 2}
    both: Settings = {"text_config": text, "vision_config": image, "projection_dim": WIDTH}
    networks: dict[str, tuple[Any, Any]] = {
        "bert": (t.BertModel, t.BertConfig(**words, **LAYERS)),
        "distilbert": (t.DistilBertModel, t.DistilBertConfig(**words, **distil)),
        "gpt2": (t.GPT2Model, t.GPT2Config(**bytewise, **gpt)),
        "vit": (t.ViTModel, t.ViTConfig(**image)),
        "clip": (t.CLIPModel, t.CLIPConfig(**both)),
    }
    network, config = networks[family]
    return seeded(lambda: network(config)).eval()


def random_tokenizer(family: str) -> Any:
    """Return the tokenizer that belongs to a random network that reads texts."""
    import transformers as t

    if family == "gpt2":
        return t.GPT2Tokenizer(vocab=_bytes(END), merges=[], model_max_length=LONGEST)
    if family == "clip":
        vocabulary = _bytes(START, END, with_ending=True)
        return t.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    return t.BertTokenizer(vocab=_letters(), model_max_length=LONGEST)


def _letters() -> dict[str, int]:
    """The vocabulary of BERT's tokenizer: special tokens, letters that begin a word or do not."""
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    return {token: number for number, token in enumerate(tokens)}


def _bytes(*special: str, with_ending: bool = False) -> dict[str, int]:
    """The vocabulary of byte-level tokenizers: the bytes, those that end a word, special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())  # its own order changes from run to run
    ending = [f"{byte}</w>" for byte in alphabet] if with_ending else []
    return {token: number for number, token in enumerate([*alphabet, *ending, *special])}
