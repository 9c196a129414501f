"""Which encoder turns a text query into the space that other vectors lie in."""

from recsys.content.encoders import encoder_family
from recsys.content.random_networks import RANDOM, is_random
from recsys.errors import ConfigError

__all__ = ["has_texts_beside", "query_encoder"]

# the family of the items' encoder -> the encoder of queries
QUERIES = {"clip": "clip-text:{}", "clap": "clap-text:{}", "e5": "e5:query"}


def has_texts_beside(name: str) -> bool:
    """Whether the encoder of images or sounds has one of texts that puts them in the same space."""
    return name.removeprefix(RANDOM).partition(":")[0] in QUERIES


def query_encoder(name: str) -> str:
    """Return the name of the encoder whose vectors of queries compare with those of ``name``.

    Args:
        name: of the encoder of the items, such as ``"clip:openai/clip-vit-base-patch32"``.

    Raises:
        ConfigError: no text can be compared with such vectors.
    """
    family = encoder_family(name)
    prefix, _, model = name.removeprefix(RANDOM).partition(":")
    if prefix in QUERIES:
        return (RANDOM if is_random(name) else "") + QUERIES[prefix].format(model)
    if family.modality == "text":
        return name
    raise ConfigError(f"encoder {name!r}: its vectors have no texts beside them; clip:MODEL has")
