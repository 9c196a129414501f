"""Networks of two small layers with seeded random weights, for tests: nothing is read or fetched.

Their tokenizers know single letters or bytes, so that every text means something to them.
"""

import string
from typing import Any

__all__ = ["RANDOM", "is_random", "random_network", "random_tokenizer"]

RANDOM = "random:"  # how a model's name begins that stands for random weights
SEED = 0
SIDE = 32  # pixels of an image; 16 patches of 8
WIDTH = 32
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
LAYERS = SIZES | {"intermediate_size": 64}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
START, END = "<|startoftext|>", "<|endoftext|>"


def is_random(model: str) -> bool:
    """Whether a model's name asks for random weights."""
    return model.startswith(RANDOM)


def random_network(family: str) -> Any:
    """Return a network of transformers: bert, distilbert, gpt2, vit or clip, in eval mode."""
    import torch
    import transformers as t

    letters, n_bytes = len(_letters()), len(_bytes(END))
    text = LAYERS | {"vocab_size": len(_bytes("</w>", START, END)), "max_position_embeddings": 77}
    ends = {"bos_token_id": text["vocab_size"] - 2, "eos_token_id": text["vocab_size"] - 1}
    image = LAYERS | {"image_size": SIDE, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network: Any
        match family:
            case "bert":
                config: Any = t.BertConfig(vocab_size=letters, max_position_embeddings=64, **LAYERS)
                network = t.BertModel(config)
            case "distilbert":
                config = t.DistilBertConfig(
                    vocab_size=letters, max_position_embeddings=64, dim=WIDTH, n_layers=2, n_heads=2
                )
                network = t.DistilBertModel(config)
            case "gpt2":
                config = t.GPT2Config(
                    vocab_size=n_bytes, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=2
                )
                network = t.GPT2Model(config)
            case "vit":
                network = t.ViTModel(t.ViTConfig(**image))
            case _:
                config = t.CLIPConfig(
                    text_config=text | ends, vision_config=image, projection_dim=WIDTH
                )
                network = t.CLIPModel(config)
    return network.eval()


def random_tokenizer(family: str) -> Any:
    """Return the tokenizer that belongs to a random network that reads texts."""
    import transformers as t

    if family == "gpt2":
        return t.GPT2Tokenizer(vocab=_bytes(END), merges=[], model_max_length=64)
    if family == "clip":
        vocabulary = _bytes("</w>", START, END)
        return t.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    return t.BertTokenizer(vocab=_letters(), model_max_length=64)


def _letters() -> dict[str, int]:
    """The vocabulary of BERT's tokenizer: special tokens, letters that begin a word or do not."""
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    return {token: number for number, token in enumerate(tokens)}


def _bytes(*further: str) -> dict[str, int]:
    """The vocabulary of byte-level tokenizers: the bytes, those that end a word, further tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())  # a set: its own order changes from run to run
    ending = [f"{byte}</w>" for byte in alphabet] if "</w>" in further else []
    tokens = [*alphabet, *ending, *(token for token in further if token != "</w>")]
    return {token: number for number, token in enumerate(tokens)}
